"""Numbers as users write them, Python's, NumPy's or torch's; what is no number is refused by name."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch

from .errors import InputError


def whole(name: str, value: Any, least: int = 1) -> int:
    """``value`` as an int: Python's, NumPy's, or a tensor of one; :class:`InputError` where it is none, or < ``least``."""
    if not is_bool(value):
        try:
            number = operator.index(value)
        except (TypeError, RuntimeError):
            pass
        else:
            if number >= least:
                return number
    raise InputError(f"{name} = {shown(value)}; allowed: a whole number >= {least}")


def shown(value: Any) -> str:
    """``value`` for a message: short, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_bool(value: Any) -> bool:
    """Whether ``value`` is a truth value, of Python, NumPy or torch."""
    return isinstance(value, bool) or getattr(value, "dtype", None) in (torch.bool, np.dtype(bool))
