"""How much is tried: a little on every push, the long column of the table where HWLOOP_SOAK says so (`make soak`)."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


def rounds_of(push: int, long: int) -> int:
    """``push``, or a share of ``long`` where that is asked for and more."""
    return max(push, int(float(os.environ.get("HWLOOP_SOAK", "0")) * long))


@pytest.fixture
def rounds() -> Callable[[int, int], int]:
    """``rounds(push, long)``: how often to try; HWLOOP_SOAK=1 is the long column, .1 a tenth of it."""
    return rounds_of
