"""How many cases each test takes: some on every push, many where ``HWLOOP_SOAK`` says so (1: all of them; ``make soak``)."""

from __future__ import annotations

import os


def cases(push: int, long: int) -> int:
    """``push`` cases, or a share of ``long`` ones where that is more."""
    return max(push, int(float(os.environ.get("HWLOOP_SOAK", "0")) * long))
