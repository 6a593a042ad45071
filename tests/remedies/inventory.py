"""Every error that the sources make, and every one that a test provokes in order to follow its remedy."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .support import SOURCES, is_at, module_of, pattern

#: Calls of :mod:`.support` whose first two arguments name an error.
NAMING = ("Case", "Said", "option", "refused")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Made:
    """An error that a source file makes: where (dotted), and its text with ``{}`` for what is filled in."""

    path: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True)
class Entry:
    """A test that provokes the error with ``text`` of ``at`` and follows its remedy."""

    at: str
    text: str
    test: str

    def is_of(self, made: Made) -> bool:
        return is_at(self.at, made.where) and re.search(pattern(self.text), made.text, re.DOTALL) is not None


def made() -> list[Made]:
    """All errors of the sources that carry a text."""
    found = []
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            relative = path.relative_to(ROOT)
            for where, call in _errors(ast.parse(path.read_text()), ()):
                text = " ".join(filter(None, map(_text, (*call.args, *(k.value for k in call.keywords)))))
                if text.replace("{}", "").strip():
                    found.append(Made(str(relative), ".".join((module_of(relative), *where)), text))
    return found


def provoked() -> list[Entry]:
    """What the tests of this folder provoke: the first two arguments of each call in ``NAMING``."""
    found = []
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        tree = ast.parse(path.read_text())
        named = _named_texts(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMING:
                at, text = (_constant(argument, named) for argument in (*node.args, None, None)[:2])
                if at is not None and text is not None:
                    found.append(Entry(at, text, str(path.relative_to(ROOT))))
    return found


def _named_texts(tree: ast.Module) -> dict[str, list[tuple[int, str]]]:
    """Texts that were given a name, with their lines."""
    found: dict[str, list[tuple[int, str]]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                found.setdefault(name, []).append((node.lineno, text))
    return found


def _constant(node: ast.expr | None, named: dict[str, list[tuple[int, str]]]) -> str | None:
    """The text of an argument, written down or given a name above."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name):
            return max(((line, text) for line, text in named.get(name, ()) if line < node.lineno), default=(0, None))[1]
    return None


def _errors(node: ast.AST, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    for child in ast.iter_child_nodes(node):
        inside = where
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            inside = (*where, child.name)
        raised = child.exc if isinstance(child, ast.Raise) else None
        if isinstance(child, ast.Call) and _is_error(child):
            yield where, child
        elif isinstance(raised, ast.Call) and not _is_error(raised) and any(map(_text, raised.args)):
            yield where, raised  # raise kind(f"...")
        yield from _errors(child, inside)


def _is_error(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name.endswith("Error") or name == "explain"  # makes one of all that a document got wrong


def _text(node: ast.AST) -> str:
    """The text that an expression prints, as far as it is written down."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) if isinstance(part, ast.Constant) else "{}" for part in parts)
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return f"{_text(body)} {_text(orelse)}"
    return ""
