"""How kernels are compiled: strict arithmetic, without the interpreter lock, kept in Numba's cache, arrays not counted.

Numba counts the references to each array, with an atomic instruction wherever one is taken from a tuple or handed to another
function: in the loops of a simulation that was .2 to .4 of the time. A kernel that makes no array needs no count, for its caller
holds what it works on; so a kernel either works on arrays, or makes them (``allocates``) and hands them to one that works. The
compiler refuses the first line that would allocate where that was not said, and an array as a result.

Numba keeps a compiled function until its own file changes, though code of other files is compiled into it: after an edit
of ``scalar`` the cached forward pass would go on with the old arithmetic. Here a change of any file of this package, or of
the folder that a kernel stands in, makes the kernel stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit


def kernel(*, allocates: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: compile at first use; ``options`` are Numba's (``fastmath``, ``inline``, ``forceinline``)."""

    def decorate(function: Callable[..., Any]) -> Any:
        compiled = njit(cache=True, nogil=True, error_model="numpy", _nrt=allocates, **options)(function)
        kept = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
        if kept is not None:  # None where caching is off, or pure Python is asked for (NUMBA_DISABLE_JIT)
            kept._source_stamp = _stamp(Path(function.__code__.co_filename).parent)
        return compiled

    return decorate


@cache
def _stamp(folder: Path) -> str:
    """Digest of every file of this package and of ``folder``, where the kernel itself stands: names and contents.

    Neither times nor places: a second checkout with the same contents may take over the compiled kernels of the first.
    """
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for file in sorted({*here.glob("*.py"), *folder.glob("*.py")}):
        content = file.read_bytes()
        digest.update(f"{file.parent.name}/{file.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
