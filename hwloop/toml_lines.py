"""In which line of a TOML document a key stands; Python's reader of TOML does not tell.

For documents that it has read without complaint: what is no TOML has been refused before.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Sequence
from typing import TypeAlias

#: Keys of tables and numbers of items on the way to a value.
Place: TypeAlias = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]*")


class TomlLines:
    """Lines (from 1) of the keys of the TOML document ``text``."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._places = text, 0, dict[Place, int]()
        self._ends = [found.start() for found in re.finditer("\n", text)]
        self._items: dict[Place, int] = {}  # tables so far in each list of tables
        table: Place = ()
        while self._skip(_BLANK) < len(text):
            line = self._line()
            if text.startswith("[", self._at):
                table = self._header()
                self._places[table] = line
            else:
                self._pair(table)

    def line(self, place: Sequence[str | int]) -> int | None:
        """The line of ``place``, or of the innermost table around it; None where the document says nothing of it."""
        for length in range(len(place), 0, -1):
            if (found := self._places.get(tuple(place[:length]))) is not None:
                return found
        return None

    # -- reading ------------------------------------------------------------------------------

    def _line(self) -> int:
        return bisect_left(self._ends, self._at) + 1

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _take(self, pattern: re.Pattern[str]) -> str:
        start = self._at
        return self._text[start : self._skip(pattern)]

    def _header(self) -> Place:
        """The table that ``[name]`` or ``[[name]]`` opens."""
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        place: Place = ()
        parts = self._key()
        for k, part in enumerate(parts):
            place = (*place, part)
            last = k == len(parts) - 1
            if many and last:
                self._items[place] = self._items.get(place, -1) + 1
            self._places.setdefault(place, self._line())  # also where no header of its own names it
            if place in self._items:
                place = (*place, self._items[place])
        self._at = self._text.index("]", self._at) + (2 if many else 1)
        return place

    def _key(self) -> list[str]:
        """A key with dots, as its parts."""
        parts = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                parts.append(str(tomllib.loads(f"x = {self._take(_STRING)}")["x"]))
            else:
                parts.append(self._take(_BARE_KEY))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return parts
            self._at += 1

    def _pair(self, table: Place) -> None:
        """``key = value``; every table that a key with dots makes has its line."""
        line = self._line()
        parts = self._key()
        for k in range(1, len(parts) + 1):
            self._places.setdefault((*table, *parts[:k]), line)
        self._at = self._text.index("=", self._at) + 1
        self._value((*table, *parts))

    def _value(self, place: Place) -> None:
        self._skip(_SPACE)
        opened = self._text[self._at : self._at + 1]
        if opened in ('"', "'"):
            self._skip(_STRING)
        elif opened in ("[", "{"):
            self._inside(place, "]" if opened == "[" else "}")
        else:
            self._skip(_BARE_VALUE)

    def _inside(self, place: Place, close: str) -> None:
        """The items of a list, or the pairs of a table in line."""
        self._at += 1
        number = 0
        while self._skip(_BLANK) < len(self._text) and not self._text.startswith(close, self._at):
            if close == "]":
                self._places.setdefault((*place, number), self._line())
                self._value((*place, number))
            else:
                self._pair(place)
            number += 1
            self._skip(_BLANK)
            if self._text.startswith(",", self._at):
                self._at += 1
        self._at += 1
