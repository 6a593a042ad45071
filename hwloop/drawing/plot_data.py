"""What a plot shows, as a table that any program reads: units in the names of its columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

#: A value of a row; None (or NaN) where there is none.
Value: TypeAlias = "str | int | float | None"


@dataclass(frozen=True)
class PlotData:
    """One table: names of columns, with units, and rows of values as they are drawn (times in seconds)."""

    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[Value, ...]] = ()

    def csv(self) -> str:
        """The table as CSV: a header, one line a row, floats to their last digit, nothing where there is no value."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return out.getvalue()


def _cell(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def bins(name: str, counts: Iterable[float], edges: Iterable[float]) -> list[tuple[Value, ...]]:
    """Rows ``(name, from, to, count)`` of a histogram."""
    ends = [float(edge) for edge in edges]
    return [(name, low, high, float(count)) for low, high, count in zip(ends, ends[1:], counts, strict=False)]
