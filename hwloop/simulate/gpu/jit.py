"""How kernels are compiled for the device: strict arithmetic, and the interpreter where ``TRITON_INTERPRET`` asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton


def device_kernel(function: Callable[..., Any]) -> Any:
    """Decorator of kernels and of the functions they call.

    Arguments are plain ones and many: tuples of arrays reach a kernel in recent versions of Triton alone.
    """
    return triton.jit(function)
