"""What may go wrong at one place of a program: small changes of an expression or a statement, each a slip of the pen.

:func:`changes` takes a node of a syntax tree and returns the nodes that may stand in its place, each with the name of
the slip. It looks at the node alone; what surrounds it (messages, annotations) is judged in :mod:`.places`.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Any, TypeAlias

#: Name of the slip, and what then stands in the place.
Change: TypeAlias = tuple[str, ast.AST]

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
#: Operators of which one operand may be forgotten.
FORGETTABLE = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.BitAnd, ast.BitOr)


def _both_ways(**pairs: str) -> dict[str, str]:
    return {**pairs, **{b: a for a, b in pairs.items()}}


#: Functions and methods that are taken for each other.
FUNCTIONS = _both_ways(
    min="max", any="all", argmin="argmax", floor="ceil", minimum="maximum", zeros="ones", zeros_like="ones_like"
) | {"rint": "trunc", "round": "int", "expm1": "exp", "log2": "log"}
#: Functions that are forgotten: the argument itself takes their place.
FORGOTTEN = {"abs", "relu", "sorted", "reversed"}
#: Names and attributes that are taken for each other.
NAMES = _both_ways(
    tau_mem="tau_syn", low="high", lower="upper", n_in="n_out", v_th="v_leak", missing="extra", wanted="others"
) | {"v_reset": "v_leak", "du": "dv"}


def changes(node: ast.AST) -> list[Change]:
    """All that may stand in the place of ``node``; empty where nothing is known to go wrong."""
    kind = getattr(_Changes, type(node).__name__, None)
    return [] if kind is None else list(kind(node))


def _with(node: Any, **fields: Any) -> Any:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def _negated(test: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.Not(), test)


class _Changes:
    """One static method for each type of node, named as the type."""

    @staticmethod
    def Compare(node: ast.Compare) -> Iterator[Change]:
        for i, operator in enumerate(node.ops):
            for other in COMPARISONS[type(operator)]:
                yield "comparison", _with(node, ops=[*node.ops[:i], other(), *node.ops[i + 1 :]])

    @staticmethod
    def BinOp(node: ast.BinOp) -> Iterator[Change]:
        other = ARITHMETIC.get(type(node.op))
        if other is None or any(_is_text(side) for side in (node.left, node.right)):
            return
        yield "arithmetic", _with(node, op=other())
        if isinstance(node.op, FORGETTABLE):
            yield "forgotten operand", node.left

    @staticmethod
    def AugAssign(node: ast.AugAssign) -> Iterator[Change]:
        other = ARITHMETIC.get(type(node.op))
        if other is not None:
            yield "arithmetic", _with(node, op=other())
        yield "removed statement", ast.Pass()

    @staticmethod
    def BoolOp(node: ast.BoolOp) -> Iterator[Change]:
        yield "and for or", _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for i in range(len(node.values)):
            rest = [*node.values[:i], *node.values[i + 1 :]]
            yield "forgotten condition", rest[0] if len(rest) == 1 else _with(node, values=rest)

    @staticmethod
    def UnaryOp(node: ast.UnaryOp) -> Iterator[Change]:
        if isinstance(node.op, ast.USub | ast.Not | ast.Invert):
            yield "forgotten sign or not", node.operand

    @staticmethod
    def Constant(node: ast.Constant) -> Iterator[Change]:
        value = node.value
        if isinstance(value, bool):
            yield "constant", ast.Constant(not value)
        elif isinstance(value, int):
            for other in sorted({value + 1, abs(value - 1), 2 * value} - {value}):
                yield "constant", ast.Constant(other)
        elif isinstance(value, float):
            for scaled in (2 * value, value / 2) if value else (1.0,):
                yield "constant", ast.Constant(scaled)
        elif isinstance(value, str):
            yield "text", ast.Constant(value + "_")

    @staticmethod
    def If(node: ast.If) -> Iterator[Change]:
        yield "negated condition", _with(node, test=_negated(node.test))

    @staticmethod
    def While(node: ast.While) -> Iterator[Change]:
        yield "negated condition", _with(node, test=_negated(node.test))

    @staticmethod
    def IfExp(node: ast.IfExp) -> Iterator[Change]:
        yield "negated condition", _with(node, test=_negated(node.test))
        yield "forgotten condition", node.body

    @staticmethod
    def comprehension(node: ast.comprehension) -> Iterator[Change]:
        if node.ifs:
            yield "negated condition", _with(node, ifs=[_negated(node.ifs[0]), *node.ifs[1:]])
            yield "forgotten condition", _with(node, ifs=node.ifs[1:])

    @staticmethod
    def Call(node: ast.Call) -> Iterator[Change]:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in FUNCTIONS:
            yield "other function", _with(node, func=_renamed(node.func, FUNCTIONS[name]))
        plain = [arg for arg in node.args if not isinstance(arg, ast.Starred)]
        if name in FORGOTTEN and len(plain) == 1:
            yield "forgotten function", plain[0]
        if name == "range":
            yield "off by one", _with(node, args=[*node.args[:-1], _one_less(node.args[-1])])
        if len(plain) == len(node.args) >= 2 and name not in ("isinstance", "min", "max", "getattr", "hasattr"):
            for i in range(len(plain) - 1):
                swapped = [*plain[:i], plain[i + 1], plain[i], *plain[i + 2 :]]
                if ast.dump(plain[i]) != ast.dump(plain[i + 1]):
                    yield "swapped arguments", _with(node, args=swapped)

    @staticmethod
    def Slice(node: ast.Slice) -> Iterator[Change]:
        for end in ("lower", "upper"):
            value = getattr(node, end)
            if value is not None and not isinstance(value, ast.Constant):
                yield "off by one", _with(node, **{end: _one_less(value)})

    @staticmethod
    def Name(node: ast.Name) -> Iterator[Change]:
        if isinstance(node.ctx, ast.Load) and node.id in NAMES:
            yield "other name", _renamed(node, NAMES[node.id])

    @staticmethod
    def Attribute(node: ast.Attribute) -> Iterator[Change]:
        if isinstance(node.ctx, ast.Load) and node.attr in NAMES:
            yield "other name", _renamed(node, NAMES[node.attr])

    @staticmethod
    def Expr(node: ast.Expr) -> Iterator[Change]:
        if isinstance(node.value, ast.Call):
            yield "removed statement", ast.Pass()

    @staticmethod
    def Raise(node: ast.Raise) -> Iterator[Change]:
        yield "removed statement", ast.Pass()

    @staticmethod
    def Break(node: ast.Break) -> Iterator[Change]:
        yield "removed statement", ast.Pass()

    @staticmethod
    def Continue(node: ast.Continue) -> Iterator[Change]:
        yield "removed statement", ast.Pass()

    @staticmethod
    def Assign(node: ast.Assign) -> Iterator[Change]:
        if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            yield "removed statement", ast.Pass()

    @staticmethod
    def ExceptHandler(node: ast.ExceptHandler) -> Iterator[Change]:
        if isinstance(node.type, ast.Tuple):
            for i in range(len(node.type.elts)):
                rest = [*node.type.elts[:i], *node.type.elts[i + 1 :]]
                yield "forgotten exception", _with(node, type=ast.Tuple(rest, ast.Load()))


def _renamed(node: ast.expr, name: str) -> ast.expr:
    return _with(node, attr=name) if isinstance(node, ast.Attribute) else ast.Name(name, ast.Load())


def _one_less(value: ast.expr) -> ast.expr:
    return ast.BinOp(value, ast.Sub(), ast.Constant(1))


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
