"""Reports: one self-contained HTML file of text, tables and inline SVG plots, which asks no network for anything.

    Report("Title").add_section("Heading", "Text.", tables=[Table(...)], figures=[raster(...)]).write("report.html")

Every table and figure states where its data ran, and the last section names devices and programs in full. Every plot can be saved
from the page, as SVG, PNG and CSV; the page's only script does that, and its content security policy allows no other. The ready-made
figures are importable from here. In all of them colours are colour-blind-safe and mean the same (simulated blue, measured red), and position, marker or text says it too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import DataError
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
from .source import each, source_line
from .spike_figures import ErrorSet as ErrorSet
from .spike_figures import error_histogram as error_histogram
from .spike_figures import raster as raster

if TYPE_CHECKING:
    from markupsafe import Markup

#: A cell: text as given, whole numbers as they are, floats to four digits, ``-`` for None.
Cell: TypeAlias = "str | int | float | None"

#: Endings of the files that a plot is written as.
PLOT_KINDS = (".svg", ".png", ".csv")

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
class Folded:
    """What a section shows only where it is opened: the line that opens it, and text, tables and figures below."""

    line: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()

    @property
    def paragraphs(self) -> list[str]:
        """Paragraphs of the text."""
        return _paragraphs(self.text)


@dataclass(frozen=True)
class Section:
    """A section as a page shows it; see :meth:`Report.add_section` and :meth:`Report.add_chapter`."""

    heading: str
    text: str
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    number: int
    folded: Folded | None = None
    chapter: str = ""

    @property
    def paragraphs(self) -> list[str]:
        """Paragraphs of the text."""
        return _paragraphs(self.text)

    @property
    def all_tables(self) -> list[Table]:
        """Those shown, then those folded."""
        return [*self.tables, *(self.folded.tables if self.folded else ())]

    @property
    def all_figures(self) -> list[Figure]:
        """Those shown, then those folded."""
        return [*self.figures, *(self.folded.figures if self.folded else ())]

    @property
    def content(self) -> Markup:
        """Sections of another page, with headings and ids that fit this one."""
        from .report_page import inside

        return inside(self.chapter, f"c{self.number}", re.sub(r"[^a-z0-9]+", "-", self.heading.lower()).strip("-"))


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]


@dataclass
class Report:
    """A report, built section by section.

    Attributes
    ----------
    title : str
    subtitle : str
        One sentence below it.
    facts : mapping of name to value
        Shown in a box at the top: target, seeds, what was asked.
    footer : str
    links : mapping of name to path
        Reports that stand beside this one, relative to it.
    provenance : mapping of name to value
        Shown in the last section beside devices and programs: digests, versions, firmware.
    """

    title: str
    subtitle: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    footer: str = "Made by hwloop."
    links: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    _sections: list[Section] = field(default_factory=list, repr=False)

    def add_section(
        self,
        heading: str,
        text: str = "",
        tables: Sequence[Table] = (),
        figures: Sequence[Figure] = (),
        *,
        folded: Folded | None = None,
    ) -> Report:
        """Append a section; blank lines in ``text`` part paragraphs. Returns the report itself.

        ``folded``: what is shown only where the section is opened.
        """
        self._sections.append(Section(heading, text, tuple(tables), tuple(figures), len(self._sections), folded))
        return self

    def add_chapter(self, heading: str, text: str, folded: str, page: str) -> Report:
        """Append the sections of another report's ``page`` (its HTML), folded below the line ``folded``; the report itself.

        Raises :class:`DataError` for a page that no report wrote.
        """
        from .report_page import sections_of

        number = len(self._sections)
        self._sections.append(Section(heading, text, (), (), number, Folded(folded), chapter=sections_of(page)))
        return self

    def plots(self) -> Iterator[tuple[str, Figure]]:
        """Every figure, with the stem that its files are called by."""
        figures = [figure for section in self._sections for figure in section.all_figures]
        yield from ((f"{number:02d}-{figure.name}", figure) for number, figure in enumerate(figures, 1))

    def html(self) -> str:
        """The page; all text is escaped."""
        from .report_page import page_of

        stems = {id(figure): stem for stem, figure in self.plots()}
        facts = [(name, _cell(value)) for name, value in self.facts.items()]
        return page_of(
            title=self.title, subtitle=self.subtitle, facts=facts, sections=[*self._sections, *self._where_from()],
            footer=self.footer, links=self.links, stems=stems,
        )  # fmt: skip

    def _where_from(self) -> list[Section]:
        """The section that names devices and programs in full; none where there is nothing to name."""
        shown: list[Table | Figure] = []
        for section in self._sections:
            shown += [*section.all_tables, *section.all_figures]
        sources = list(dict.fromkeys(source for part in shown for source in each(part.source)))
        with_program = {source.device_id for source in sources if source.program_digest}
        rows: list[tuple[Cell, ...]] = [
            (s.ran_on, s.device_id or "-", s.program_digest or "-")
            for s in sources
            if s.program_digest or (s.device_id and s.device_id not in with_program)
        ]
        tables = []
        if rows:
            tables.append(
                Table("Devices and programs behind tables and plots.", ("ran on", "device", "program"), rows, sources)
            )
        if self.provenance:
            said = [(name, _cell(value)) for name, value in self.provenance.items()]
            tables.append(
                Table("What else this report rests on.", ("what", "value"), said, sources or Source("simulator"))
            )
        folded = Folded("Devices, programs, versions", tables=tables)
        return [Section("Provenance", "", (), (), len(self._sections), folded)] if tables else []

    def write(self, path: Path | str, plots: Path | str | None = None) -> None:
        """Write the page to ``path`` in one step, and every plot into the folder ``plots``, as SVG, PNG and CSV.

        Raises :class:`DataError` where that fails.
        """
        from ..storage import write_bytes

        if plots is not None:
            self._write_plots(Path(plots))
        write_bytes(path, self.html().encode())

    def _write_plots(self, folder: Path) -> None:
        """Every plot into ``folder``; plots of an earlier report there go."""
        named = list(self.plots())
        stems = {stem for stem, _ in named}
        try:
            if named:
                folder.mkdir(parents=True, exist_ok=True)
            for old in folder.glob("[0-9][0-9]-*.*"):
                if old.suffix in PLOT_KINDS and old.stem not in stems:
                    old.unlink()
        except OSError as error:
            raise DataError(f"cannot write into {folder}: {error.strerror or error}; name another folder") from error
        for stem, figure in named:
            figure.save(folder, stem)
