"""Lava-nc 0.10 on Python 3.11 and later: the one thing that breaks, mended on an unmodified wheel.

``lava.magma.compiler.var_model`` gives dataclass fields a default of class ``ByteEncoder``, itself a dataclass with
``__eq__`` and therefore not hashable, which dataclasses refuse since 3.11. While that one module is imported, that one
class is made hashable.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

_MODULE, _CLASS = "lava.magma.compiler.var_model", "ByteEncoder"


def import_lava() -> None:
    """Import what breaks, so that everything else of Lava can be imported."""
    original: Any = dataclasses.dataclass

    def dataclass(cls: Any = None, /, **options: Any) -> Any:
        def wrap(found: Any) -> Any:
            hashable = {"unsafe_hash": True} if (found.__module__, found.__name__) == (_MODULE, _CLASS) else {}
            return original(found, **{**options, **hashable})

        return wrap if cls is None else wrap(cls)

    replaced: Any = dataclasses
    replaced.dataclass = dataclass
    try:
        importlib.import_module(_MODULE)
    finally:
        replaced.dataclass = original
