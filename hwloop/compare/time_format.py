"""Times and counts as people read them; data stay in seconds."""

from __future__ import annotations

import math

#: Multiples of the second that are printed, from large to small.
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


def time_unit(scale: float) -> tuple[float, str]:
    """``(factor, name)``: the unit in which a time of size ``scale`` (s) reads well; ``seconds / factor``."""
    size = abs(scale)
    if not (math.isfinite(size) and size > 0):
        return _UNITS[0]
    for factor, name in _UNITS:
        # .9995: a value that rounds up to 1000 of the smaller unit belongs to this one
        if size >= 0.9995 * factor:
            return factor, name
    return _UNITS[-1]


def format_time(seconds: float | None, digits: int = 3, micro: str = "us") -> str:
    """``seconds`` with unit and ``digits`` significant digits, such as ``3.21 ms``; ``-`` where undefined.

    ``micro`` spells the microsecond: ``us`` in terminals and JSON, ``µs`` in reports.
    """
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds == 0:
        return "0 s"
    factor, name = time_unit(seconds)
    value = float(f"{seconds / factor:.{digits - 1}e}")  # 9.9996 counts its digits as 10.0
    before = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    text = f"{value:.{max(0, digits - before)}f}" if abs(value) >= 1e-3 else f"{value:.{digits}g}"
    return f"{text} {micro if name == 'us' else name}"


def format_share(part: int, whole: int) -> str:
    """``part`` of ``whole`` with percentage, such as ``12 of 500 (2.4 %)``."""
    return f"{part} of {whole} ({100 * part / whole:.1f} %)" if whole else f"{part} of 0"
