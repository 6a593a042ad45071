"""Numbers of few digits, as remedies name them: rounded to the side that works."""

from __future__ import annotations

import math


def rounded(value: float, digits: int) -> float:
    """``value`` to ``digits`` significant digits."""
    return float(f"{value:.{digits}g}")


def rounded_up(value: float, digits: int) -> float:
    """The least number of ``digits`` significant digits that is not below ``value``."""
    near = rounded(value, digits)
    if near >= value:
        return near
    return rounded(near + 10.0 ** (math.floor(math.log10(near)) - digits + 1), digits)


def rounded_down(value: float, digits: int) -> float:
    """The largest number of ``digits`` significant digits that is not above ``value > 0``."""
    near = rounded(value, digits)
    if near <= value:
        return near
    return rounded(near - 10.0 ** (math.floor(math.log10(near * (1 - 1e-9))) - digits + 1), digits)
