"""Errors and the remedies that they name: a case provokes the error, then does what its message says.

A case names the error by ``at``, the function that raises it (dotted, as much of the path as tells it from others), and
by a piece of its text, with ``{}`` for what is filled in. ``test_inventory.py`` compares these with the sources.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import pytest

from hwloop.errors import HwloopError

SOURCES = ("hwloop", "backends", "calibration")


class Said(NamedTuple):
    """An error by the function that raises it and a piece of its text, where several are followed in one way."""

    at: str
    text: str


@dataclass(frozen=True)
class Case:
    """``provoke()`` raises; each of ``remedies`` does what the message says, on the same case, and works.

    A remedy that takes an argument is given the message, to use what it prints. One that returns False has failed.
    """

    at: str
    text: str
    provoke: Callable[[], Any]
    remedies: Callable[..., Any] | tuple[Callable[..., Any], ...]

    def __str__(self) -> str:
        return f"{self.at}: {self.text}"

    def follow(self) -> None:
        """Provoke the error, then try every remedy."""
        message = refused(self.at, self.text, self.provoke)
        for remedy in self.remedies if isinstance(self.remedies, tuple) else (self.remedies,):
            done = remedy(message) if _asks(remedy) else remedy()
            assert done is not False, f"the remedy does not do it: {message}"


def option(at: str, text: str, build: Callable[..., Any], name: str, wrong: Any, *allowed: Any) -> Case:
    """The case of ``build(name=wrong)``, whose message allows each of ``allowed``: the ends of a range, or all names."""
    return Case(at, text, partial(build, **{name: wrong}), tuple(partial(build, **{name: value}) for value in allowed))


def refused(at: str, text: str, provoke: Callable[[], Any]) -> str:
    """The message of the error that ``provoke()`` raises, which has to hold ``text`` and to come from ``at``."""
    with pytest.raises(HwloopError) as caught:
        provoke()
    message = str(caught.value)
    assert re.search(pattern(text), message, re.DOTALL), f"{text!r} is not in {message!r}"
    origins = [where for error in _chain(caught.value) for where in _origins(error.__traceback__)]
    validated = any(type(error).__name__ == "ValidationError" for error in _chain(caught.value))  # it keeps no frames
    assert validated or any(is_at(at, where) for where in origins), f"{message!r} comes from none of {at}: {origins}"
    return message


def _asks(remedy: Callable[..., Any]) -> bool:
    return any(
        parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        for parameter in inspect.signature(remedy).parameters.values()
    )


def pattern(text: str) -> str:
    """``text`` as a regular expression: ``{}`` stands for anything."""
    return re.escape(text).replace(re.escape("{}"), ".*?")


def is_at(at: str, where: str) -> bool:
    """Whether the dotted parts of ``at`` stand in ``where``, in their order, the last one last."""
    parts = iter(where.split("."))
    return at.split(".")[-1] == where.split(".")[-1] and all(part in parts for part in at.split("."))


def module_of(path: Path) -> str:
    """``hwloop.network.lif`` for its file."""
    parts = list(path.with_suffix("").parts)
    first = max(index for index, part in enumerate(parts) if part in SOURCES)
    return ".".join(part for part in parts[first:] if part != "__init__")


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _origins(trace: TracebackType | None) -> Iterator[str]:
    """The functions that were running, and those of their files: one of these may have made what another raised."""
    while trace is not None:
        code, trace = trace.tb_frame.f_code, trace.tb_next
        path = Path(code.co_filename)
        if any(source in path.parts for source in SOURCES):
            yield f"{module_of(path)}.{code.co_qualname.replace('.<locals>', '')}"
            yield from (f"{module_of(path)}.{name}" for name in re.findall(r"^ *def (\w+)\(", path.read_text(), re.M))
