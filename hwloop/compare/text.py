"""A comparison as text for a terminal."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import InputError
from .summary import (
    Rows,
    definitions,
    distance_table,
    error_table,
    flip_table,
    headline,
    input_table,
    origin_table,
    worst_table,
)

if TYPE_CHECKING:
    from .comparison import Comparison

#: Characters of a digest that are printed; JSON holds it in full.
DIGEST = 16
#: Narrower than this, the tables no longer hold their columns.
MIN_WIDTH = 60


def render(comparison: Comparison, width: int, color: bool) -> str:
    """``comparison`` as text, at most ``width`` columns wide; raises :class:`InputError` below 60 columns."""
    if width < MIN_WIDTH:
        raise InputError(f"width = {width} columns; allowed: >= {MIN_WIDTH}")
    out = io.StringIO()
    console = Console(
        file=out, width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    _print(console, "Simulated against measured spikes", "bold")
    _print(console, _ran_on(comparison))
    for line in headline(comparison):
        _print(console, line)
    _print(console, f"First divergence: {comparison.divergences.summary()}", "bold")
    first = comparison.divergences.earliest
    tables = [error_table(comparison), distance_table(comparison)]
    if first is not None:
        tables = [input_table(first), origin_table(comparison), *tables, flip_table(comparison)]
        tables += [worst_table(p) for p in comparison.populations]
    for rows in tables:
        _print_table(console, rows)
    _print(console, definitions(comparison), "dim")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _ran_on(comparison: Comparison) -> str:
    p = comparison.provenance
    named = [f"{name} {p[key]}" for name, key in (("device", "device_id"), ("firmware", "firmware")) if p.get(key)]
    digests = (("program", "program_digest"), ("calibration", "calibration_id"))
    known = [*named, *(f"{name} {str(p[key])[:DIGEST]}" for name, key in digests if p.get(key))]
    events = [
        f"{p[key]} {name} events" for name, key in (("lost", "lost_events"), ("late", "late_events")) if p.get(key)
    ]
    shape = f"{comparison.n_samples} samples, {len(comparison.populations)} layers"
    return "; ".join([f"measured on: {p['ran_on']}", *known, *events, shape])


def _print(console: Console, line: str, style: str = "") -> None:
    # Text, never markup: a device may be called [red]
    console.print(Text(line, style=style), soft_wrap=False)


def _print_table(console: Console, rows: Rows) -> None:
    heading, names, body = rows
    if not body:
        return
    _print(console, heading, "bold")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in names:
        table.add_column(Text(name), justify="right")
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
