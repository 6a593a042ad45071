"""How much is tried: a little on every push, the long column of the table where HWLOOP_SOAK says so (`make soak`)."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest


@pytest.fixture
def rounds() -> Callable[[int, int], int]:
    """``rounds(push, long)``: how often to try; HWLOOP_SOAK=1 is the long column, .1 a tenth of it."""
    share = float(os.environ.get("HWLOOP_SOAK", "0"))
    return lambda push, long: max(push, int(share * long))
