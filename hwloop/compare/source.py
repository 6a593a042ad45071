"""Figures and where their data ran."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ..record import RanOn, Record, Recording

if TYPE_CHECKING:
    from markupsafe import Markup

#: Characters of a digest that identify a program to a reader.
DIGEST_DIGITS = 12

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
    for source in _each(sources):
        known = devices.setdefault(source.ran_on, [])
        if source.device_id and source.device_id not in known:
            known.append(source.device_id)
    return "Ran on: " + "; ".join(_group(ran_on, names) for ran_on, names in devices.items())


def program_line(sources: Sources) -> str:
    """Which programs ran, such as "program 3fa9c1d7e2b8 on emulator:7"; empty where none did."""
    found = dict.fromkeys((s.program_digest[:DIGEST_DIGITS], s.device_id) for s in _each(sources) if s.program_digest)
    shown = [f"program {digest}" + (f" on {device}" if device else "") for digest, device in found]
    more = [f"{len(shown) - NAMED_DEVICES} more"] if len(shown) > NAMED_DEVICES else []
    return "; ".join([*shown[:NAMED_DEVICES], *more])


def _each(sources: Sources) -> Sequence[Source]:
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
    """

    svg: str
    caption: str
    source: Sources

    @property
    def source_line(self) -> str:
        """Where the data ran, in one line."""
        return source_line(self.source)

    @property
    def program_line(self) -> str:
        """Which programs ran, for who asks."""
        return program_line(self.source)

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
