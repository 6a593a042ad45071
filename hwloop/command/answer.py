"""What a command found: one object, said in words, or with ``--json`` printed as one document.

    {"format": "hwloop-answer", "version": 1, "command": "deploy", "result": {...}}
    {"format": "hwloop-answer", "version": 1, "command": "deploy", "error": {"kind": ..., "message": ..., "exit_status": 2}}

With ``--json`` the document is all that is on standard output: everything else that is said goes to standard error.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, is_dataclass
from json import dumps
from pathlib import PurePath
from typing import Any, TextIO

FORMAT, VERSION = "hwloop-answer", 1


@dataclass(frozen=True)
class Answer:
    """What a command found.

    Attributes
    ----------
    document : the ``result`` of the JSON document; what :func:`plain` takes
    words : says the same, but for what was said while the command worked
    passed : False where the command looked for a fault and found one: exit status 1
    """

    document: Mapping[str, Any]
    words: Callable[[], None]
    passed: bool = True


@dataclass(frozen=True)
class _Json:
    """Where the document goes, and what the command is called in it."""

    command: str
    stream: TextIO


_json: _Json | None = None


@contextmanager
def as_json(command: str) -> Iterator[None]:
    """Inside, :func:`give` prints the document of ``command``, and all else that is printed goes to standard error."""
    global _json
    before, _json = _json, _Json(command, sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _json = before


def give(answer: Answer) -> None:
    """Say ``answer``, or print its document."""
    if _json is None:
        answer.words()
    else:
        _print(_json.stream, _json.command, "result", answer.document)


def give_error(command: str, kind: str, message: str, exit_status: int) -> None:
    """Print the document of a command that failed."""
    _print(sys.stdout, command, "error", {"kind": kind, "message": message, "exit_status": exit_status})


def _print(stream: TextIO, command: str, key: str, value: Mapping[str, Any]) -> None:
    document = {"format": FORMAT, "version": VERSION, "command": command, key: plain(value)}
    stream.write(dumps(document, indent=1, allow_nan=False) + "\n")
    stream.flush()


def plain(value: Any) -> Any:
    """``value`` as JSON has it: no rounding; null for NaN and infinity; paths as text, dataclasses as objects.

    Raises :class:`TypeError` for anything that has no plain form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Sequence | set | frozenset):
        return [plain(item) for item in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if hasattr(value, "tolist"):  # a number or an array of numpy, a tensor
        return plain(value.tolist())
    raise TypeError(f"{type(value).__name__} in the answer of a command; allowed: numbers, text, lists, objects")
