"""How kernels are compiled: strict arithmetic, without the interpreter lock, kept in Numba's cache.

Numba keeps a compiled function until its own file changes, though code of other files is compiled into it: after an edit
of ``scalar`` the cached forward pass would go on with the old arithmetic. Here a change of any file of this package
makes all its kernels stale.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile at first use; ``options`` are Numba's (``fastmath``, ``inline``)."""

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = njit(cache=True, nogil=True, error_model="numpy", **options)(function)
        kept = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
        if kept is not None:  # None where caching is off, or pure Python is asked for (NUMBA_DISABLE_JIT)
            kept._source_stamp = _stamp()
        return compiled

    return decorate


@cache
def _stamp() -> tuple[tuple[str, int, int], ...]:
    """Name, time of change and size of every file of this package."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
