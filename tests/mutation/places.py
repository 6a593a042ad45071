"""The places of a source file where a change is a change of behaviour, and the source with one change planted.

Left out: docstrings, annotations and type aliases, imports, decorators, ``__all__``, blocks for type checkers, log lines,
the wording of messages and tables (what they compute is kept), bytes, and ``strict=`` of ``zip``, a guard.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .changes import Change, changes

#: Where a text is compared or looked up, and so means something.
LOOK_UPS = {"get", "pop", "getattr", "hasattr", "setattr", "startswith", "endswith", "removeprefix", "compile"}
#: What may go wrong within a message: what it computes. Its words are free.
COMPUTED = (ast.BinOp, ast.Compare, ast.BoolOp, ast.IfExp, ast.Call, ast.comprehension)


@dataclass(frozen=True)
class Place:
    """One node of a file, and what may stand in its place.

    ``lines`` are those of the file whose being run says that the place was; empty where the module's import runs it.
    """

    path: str
    owner: str
    line: int
    lines: range
    changes: tuple[Change, ...]
    slot: tuple[ast.AST, str, int | None]
    statement: ast.stmt


@dataclass(frozen=True)
class Mutant:
    """A place with one of its changes."""

    place: Place
    slip: str
    node: ast.AST
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it while lines move: file, function, statement before and after."""
        return self.place.path, self.place.owner, self.before, self.after

    def diff(self) -> str:
        """As a patch of the statement, headed by file, line and function."""
        head = f"{self.place.path}:{self.place.line} in {self.place.owner or 'the module'} ({self.slip})"
        before, after = (
            "\n".join(sign + line for line in text.splitlines())
            for sign, text in (("-", self.before), ("+", self.after))
        )
        return f"{head}\n{before}\n{after}"


@dataclass(frozen=True)
class _Context:
    owner: str = ""
    in_function: bool = False
    message: bool = False
    meaning: bool = False
    statement: ast.stmt = field(default_factory=ast.Pass)


class SourceFile:
    """A parsed source file: its places, its mutants, and its text with one of them planted."""

    def __init__(self, root: Path, path: str) -> None:
        self.path = path
        self.text = (root / path).read_text()
        self.tree = ast.parse(self.text)
        self.places = list(self._block(self.tree, _Context()))

    def mutants(self, place: Place) -> list[Mutant]:
        """Every change of ``place``, with the statement before and after; those that change nothing are left out."""
        found = []
        for slip, node in place.changes:
            before, after = self._before_and_after(place, node)
            if before != after:
                found.append(Mutant(place, slip, node, before, after))
        return found

    def planted(self, mutant: Mutant) -> str:
        """The file's text with the change in it (comments lost)."""
        undo = _put(mutant.place.slot, mutant.node)
        try:
            return ast.unparse(ast.fix_missing_locations(self.tree)) + "\n"
        finally:
            _put(mutant.place.slot, undo)

    def _before_and_after(self, place: Place, node: ast.AST) -> tuple[str, str]:
        owner, name, index = place.slot
        if isinstance(owner, ast.arguments) and index is not None:  # a default: its argument, not the whole signature
            argument = _argument(owner, name, index)
            return f"{argument}={ast.unparse(getattr(owner, name)[index])}", f"{argument}={ast.unparse(node)}"
        return _differing(ast.unparse(place.statement), self._statement_with(place, node))

    def _statement_with(self, place: Place, node: ast.AST) -> str:
        owner, name, index = place.slot
        if index is not None and getattr(owner, name)[index] is place.statement:
            return ast.unparse(node)
        undo = _put(place.slot, node)
        try:
            return ast.unparse(ast.fix_missing_locations(place.statement))
        finally:
            _put(place.slot, undo)

    # -- the walk ----------------------------------------------------------------------------------

    def _block(self, node: ast.AST, context: _Context) -> Iterator[Place]:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_comment", "format_spec", "type_params"):
                continue
            for index, child in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(child, ast.AST) and not _left_out(child, node):
                    yield from self._node(child, (node, name, index if isinstance(value, list) else None), context)

    def _node(self, node: ast.AST, slot: tuple[ast.AST, str, int | None], context: _Context) -> Iterator[Place]:
        context = _entered(node, slot, context)
        if _may_change(node, slot[0], context):
            found = tuple(changes(node))
            if found:
                line = getattr(node, "lineno", None) or getattr(context.statement, "lineno", 0)
                yield Place(self.path, context.owner, line, _lines(node, context), found, slot, context.statement)
        yield from self._block(node, context)


def _entered(node: ast.AST, slot: tuple[ast.AST, str, int | None], context: _Context) -> _Context:
    """The context within ``node``."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        context = replace(context, owner=".".join(filter(None, (context.owner, node.name))), in_function=False)
    if slot[1] in ("body", "orelse", "finalbody", "handlers") and isinstance(slot[0], ast.FunctionDef):
        context = replace(context, in_function=True)
    if isinstance(node, ast.stmt):
        context = replace(context, statement=node, message=False)
    words = isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Call) and _name(node).endswith(("Error", "Warning"))
    )
    return replace(context, message=context.message or words, meaning=_has_meaning(node, slot))


def _has_meaning(node: ast.AST, slot: tuple[ast.AST, str, int | None]) -> bool:
    """Whether a text in this slot is compared or looked up."""
    parent, name, _ = slot
    if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        return False
    if isinstance(parent, ast.Call):
        return name == "args" and _name(parent) in LOOK_UPS
    if isinstance(parent, ast.arguments | ast.AnnAssign | ast.Assign | ast.keyword):
        return name in ("defaults", "kw_defaults", "value")
    return isinstance(parent, ast.Compare | ast.Subscript | ast.Dict)


def _may_change(node: ast.AST, parent: ast.AST, context: _Context) -> bool:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return context.meaning and not context.message
        return not context.message and isinstance(node.value, bool | int | float)
    if context.message:
        return isinstance(node, COMPUTED) and not (isinstance(node, ast.Call) and _name(node).endswith("Error"))
    return not (isinstance(node, ast.BinOp) and isinstance(parent, ast.Call) and _name(parent) == "isinstance")


def _left_out(node: ast.AST, parent: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or (
            isinstance(node.value, ast.Call) and _root(node.value.func) in ("_log", "log", "logger", "warnings")
        )
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    if isinstance(node, ast.AnnAssign):
        return node.value is None or "TypeAlias" in ast.unparse(node.annotation)
    if isinstance(node, ast.Assign):
        alias = isinstance(parent, ast.Module) and isinstance(node.value, ast.Subscript)
        return alias or any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _lines(node: ast.AST, context: _Context) -> range:
    statement = context.statement
    if not context.in_function:
        return range(0)
    body = getattr(statement, "body", None)
    end = body[0].lineno - 1 if isinstance(body, list) and body else statement.end_lineno or statement.lineno
    if isinstance(node, ast.ExceptHandler):
        return range(node.lineno, node.lineno + 1)
    return range(statement.lineno, max(statement.lineno, end) + 1)


def _put(slot: tuple[ast.AST, str, int | None], node: ast.AST) -> Any:
    """Put ``node`` into a slot of the tree; returns what stood there."""
    owner, name, index = slot
    if index is None:
        before = getattr(owner, name)
        setattr(owner, name, node)
        return before
    siblings = getattr(owner, name)
    before, siblings[index] = siblings[index], node
    return before


def _argument(arguments: ast.arguments, kind: str, index: int) -> str:
    """Name of the argument that a default belongs to; those of ``defaults`` are the last."""
    if kind == "kw_defaults":
        return arguments.kwonlyargs[index].arg
    plain = [*arguments.posonlyargs, *arguments.args]
    return plain[len(plain) - len(arguments.defaults) + index].arg


def _differing(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, without indentation."""
    lines = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    gone, come = ([line[2:].strip() for line in lines if line[0] == sign] for sign in "-+")
    return "\n".join(gone), "\n".join(come)


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return getattr(node, "id", "")
