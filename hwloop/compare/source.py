"""Figures, the data that they show, and where those ran."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote

from ..drawing.drawn import Drawing
from ..drawing.plot_data import PlotData
from ..record import RanOn, Record, Recording
from ..storage import write_bytes

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure as Canvas

#: Devices named in a line before the rest is counted.
NAMED_DEVICES = 4


@dataclass(frozen=True)
class Source:
    """Where data ran: simulator, emulator or hardware, with device and program."""

    ran_on: RanOn
    device_id: str = ""
    program_digest: str = ""

    @classmethod
    def of(cls, record: Record) -> Source:
        """The source of a record; one without provenance was simulated."""
        if isinstance(record, Recording):
            return cls(record.ran_on, record.device_id, record.program_digest)
        return cls("simulator")


#: One source, or several where a figure sets runs side by side.
Sources: TypeAlias = "Source | Sequence[Source]"


def source_line(sources: Sources) -> str:
    """One line for a caption, such as "Ran on: simulator; emulator, emulator:7"; of many devices the first are named."""
    devices: dict[str, list[str]] = {}
    for source in each(sources):
        known, name = devices.setdefault(source.ran_on, []), called(source.device_id)
        if name and name not in known:
            known.append(name)
    return "Ran on: " + "; ".join(_group(ran_on, names) for ran_on, names in devices.items())


def called(device_id: str) -> str:
    """A device as a reader knows it, such as "emulator:7/bss2": without the digest of its parameters, which is provenance."""
    return re.sub(r"/[0-9a-f]{8,}$", "", device_id)


def each(sources: Sources) -> Sequence[Source]:
    """The sources one by one."""
    return [sources] if isinstance(sources, Source) else sources


def _group(ran_on: str, names: list[str]) -> str:
    more = [f"{len(names) - NAMED_DEVICES} more"] if len(names) > NAMED_DEVICES else []
    return ", ".join([ran_on, *names[:NAMED_DEVICES], *more])


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes
    ----------
    svg : str
        An ``<svg>`` element.
    caption : str
        One sentence: what to look for.
    source : Source or several
    name : str
        What its files are called.
    data : PlotData
        What is drawn.
    drawing : Drawing, optional
        To be saved as another kind of picture.
    """

    svg: str
    caption: str
    source: Sources
    name: str = "plot"
    data: PlotData = field(default_factory=PlotData)
    drawing: Drawing | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, canvas: Canvas, caption: str, source: Sources, name: str, data: PlotData) -> Figure:
        """The plot on ``canvas``, which was drawn in :func:`hwloop.drawing.plotting.style`."""
        drawing = Drawing(canvas)
        return cls(drawing.svg(), caption, source, name, data, drawing)

    @property
    def source_line(self) -> str:
        """Where the data ran, in one line."""
        return source_line(self.source)

    @property
    def csv_link(self) -> str:
        """The data as a link that needs no request."""
        return "data:text/csv;charset=utf-8," + quote(self.data.csv())

    def save(self, folder: Path, stem: str) -> None:
        """Write ``stem.svg``, ``stem.csv`` and, of a drawing, ``stem.png`` into ``folder``."""
        write_bytes(folder / f"{stem}.svg", self.svg.encode())
        write_bytes(folder / f"{stem}.csv", self.data.csv().encode())
        if self.drawing is not None:
            self.drawing.save(folder / f"{stem}.png")

    def inline(self, figure: int, section: int) -> Markup:
        """The plot with ids of its own, so that several stand on one page, and its caption for screen readers."""
        from markupsafe import Markup, escape

        prefix = f"s{section}f{figure}-"
        seen: Counter[str] = Counter()

        def unique(found: re.Match[str]) -> str:
            # matplotlib gives equal parts of one figure equal ids; references mean the first, which looks the same
            seen[found[1]] += 1
            return f'id="{prefix}{found[1]}{f"-{seen[found[1]]}" if seen[found[1]] > 1 else ""}"'

        svg = re.sub(r'\bid="([^"]*)"', unique, self.svg)
        svg = re.sub(r'href="#', f'href="#{prefix}', svg)
        svg = re.sub(r"url\(#", f"url(#{prefix}", svg)
        return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(self.caption)}" ', 1))
