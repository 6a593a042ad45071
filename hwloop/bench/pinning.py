"""One core, one thread: what has to be set before any numerical library is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

#: Thread counts that libraries read once, at import.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

#: XLA's own thread pool, which no OMP variable reaches.
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


@contextmanager
def one_core() -> Iterator[int | None]:
    """:func:`pin_to_one_core` inside; the cores and variables of before again after."""
    names = (*THREAD_VARIABLES, "XLA_FLAGS", "JAX_PLATFORMS")
    variables = {name: os.environ.get(name) for name in names}
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        yield pin_to_one_core()
    finally:
        if cores is not None:
            os.sched_setaffinity(0, cores)
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def pin_to_one_core() -> int | None:
    """Bind this process to one core and its libraries to one thread.

    Returns the core, or None where the system has no affinity call (then the thread counts alone hold).
    """
    for name in THREAD_VARIABLES:
        os.environ[name] = "1"
    os.environ["XLA_FLAGS"] = XLA_FLAGS
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core
