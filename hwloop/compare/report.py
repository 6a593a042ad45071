"""Reports: one self-contained HTML file of text, tables and inline SVG plots; no network, no script.

    Report("Title").add_section("Heading", "Text.", tables=[Table(...)], figures=[raster(...)]).write("report.html")

Every table and figure states where its data ran. The ready-made figures are importable from here. In all of them
colours are colour-blind-safe and mean the same (simulated blue, measured red), and position, marker or text says it too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .accuracy_figures import AccuracyRow as AccuracyRow
from .accuracy_figures import accuracy_bars as accuracy_bars
from .accuracy_figures import training_curves as training_curves
from .map_figures import MapPanel as MapPanel
from .map_figures import Matrix as Matrix
from .map_figures import confusion as confusion
from .map_figures import neuron_map as neuron_map
from .source import Figure as Figure
from .source import Source as Source
from .source import Sources as Sources
from .source import program_line, source_line
from .spike_figures import ErrorSet as ErrorSet
from .spike_figures import error_histogram as error_histogram
from .spike_figures import raster as raster

if TYPE_CHECKING:
    from jinja2 import Template

#: A cell: text as given, whole numbers as they are, floats to four digits, ``-`` for None.
Cell: TypeAlias = "str | int | float | None"

#: Digits of a float in a table cell.
CELL_DIGITS = 4


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    caption : str
        One sentence: what to look for.
    columns : names with units
    rows : sequence of rows of cells
    source : Source or several
        Where the data ran.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    source: Sources

    @property
    def source_line(self) -> str:
        """Where the data ran, in one line."""
        return source_line(self.source)

    @property
    def program_line(self) -> str:
        """Which programs ran, for who asks."""
        return program_line(self.source)

    @property
    def cells(self) -> list[list[str]]:
        """Rows as printed."""
        return [[_cell(value) for value in row] for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Columns that hold numbers, with or without a unit: they are set flush right."""
        columns = list(zip(*self.cells, strict=True)) if self.rows else [() for _ in self.columns]
        return [bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells) for cells in columns]


_NUMBER = re.compile(r"-|none|[+-]?\d[\d.,]*(e[+-]?\d+)?( (%|s|ms|us|µs|ns|[1-9]/s|Hz|kHz|MiB|V))?")


def _cell(value: Cell) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value:.{CELL_DIGITS}g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _Section:
    heading: str
    text: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    number: int

    @property
    def paragraphs(self) -> list[str]:
        return [part.strip() for part in self.text.split("\n\n") if part.strip()]


@dataclass
class Report:
    """A report, built section by section.

    Attributes
    ----------
    title : str
    subtitle : str
        One sentence below it.
    facts : mapping of name to value
        Shown in a box at the top: device, program, seeds, versions.
    footer : str
    links : mapping of name to path
        Reports that stand beside this one, relative to it.
    """

    title: str
    subtitle: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    footer: str = "Made by hwloop."
    links: Mapping[str, str] = field(default_factory=dict)
    _sections: list[_Section] = field(default_factory=list, repr=False)

    def add_section(
        self, heading: str, text: str = "", tables: Sequence[Table] = (), figures: Sequence[Figure] = ()
    ) -> Report:
        """Append a section; blank lines in ``text`` part paragraphs. Returns the report itself."""
        self._sections.append(_Section(heading, text, tuple(tables), tuple(figures), len(self._sections)))
        return self

    def html(self) -> str:
        """The page; all text is escaped."""
        facts = [(name, _cell(value)) for name, value in self.facts.items()]
        return _template().render(
            title=self.title, subtitle=self.subtitle, facts=facts, sections=self._sections, footer=self.footer,
            links=self.links,
        )  # fmt: skip

    def write(self, path: Path | str) -> None:
        """Write the page to ``path`` in one step; raises :class:`DataError` where that fails."""
        from ..storage import write_bytes

        write_bytes(path, self.html().encode())


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("hwloop.compare", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("report.html.jinja")
