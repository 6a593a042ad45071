"""What does not fit the machine's memory is refused before it is asked for."""

from __future__ import annotations

import os

from .errors import InputError

#: Taken for the memory of a machine that does not tell (bytes).
ASSUMED = 2**40


def physical() -> int:
    """Bytes of memory that the machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return ASSUMED


def check_fits(what: str, size: int, allowed: str) -> None:
    """Raise :class:`InputError` where ``what`` of ``size`` bytes is larger than the machine's memory."""
    limit = physical()
    if size > limit:
        raise InputError(
            f"{what} takes {size / 1e9:,.1f} GB of memory; this machine has {limit / 1e9:,.1f} GB; allowed: {allowed}"
        )
