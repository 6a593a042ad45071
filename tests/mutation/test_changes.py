from __future__ import annotations

import ast

import pytest

from .changes import changes


def slips(text: str, kind: type[ast.AST]) -> set[str]:
    """All texts that may stand in the place of the first node of ``kind``."""
    node = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, kind))
    return {ast.unparse(ast.fix_missing_locations(other)) for _, other in changes(node)}


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("a < b", ast.Compare, {"a <= b", "a >= b"}),
        ("0 < a <= 1", ast.Compare, {"0 <= a <= 1", "0 >= a <= 1", "0 < a < 1", "0 < a > 1"}),
        ("a is None", ast.Compare, {"a is not None"}),
        ("a in b", ast.Compare, {"a not in b"}),
        ("a == b", ast.Compare, {"a != b"}),
        ("a + b", ast.BinOp, {"a - b", "a"}),
        ("a / b", ast.BinOp, {"a * b", "a"}),
        ("2 ** a", ast.BinOp, {"2 * a"}),
        ("a << b", ast.BinOp, {"a >> b"}),
        ("a @ b", ast.BinOp, set()),
        ("'a' + b", ast.BinOp, set()),
        ("a += b", ast.AugAssign, {"a -= b", "pass"}),
        ("a and b", ast.BoolOp, {"a or b", "a", "b"}),
        ("a or b or c", ast.BoolOp, {"a and b and c", "a or b", "a or c", "b or c"}),
        ("-a", ast.UnaryOp, {"a"}),
        ("not a", ast.UnaryOp, {"a"}),
        ("1", ast.Constant, {"2", "0"}),
        ("127", ast.Constant, {"126", "128", "254"}),
        ("0", ast.Constant, {"1"}),
        ("0.5", ast.Constant, {"1.0", "0.25"}),
        ("0.0", ast.Constant, {"1.0"}),
        ("True", ast.Constant, {"False"}),
        ("'max'", ast.Constant, {"'max_'"}),
        ("None", ast.Constant, set()),
        ("if a:\n    b", ast.If, {"if not a:\n    b"}),
        ("while a:\n    b", ast.While, {"while not a:\n    b"}),
        ("a if b else c", ast.IfExp, {"a if not b else c", "a"}),
        ("[a for a in b if c]", ast.comprehension, {" for a in b if not c", " for a in b"}),
        ("min(a)", ast.Call, {"max(a)"}),
        ("np.rint(a)", ast.Call, {"np.trunc(a)"}),
        ("abs(a)", ast.Call, {"a"}),
        ("range(n)", ast.Call, {"range(n - 1)"}),
        ("f(a, b, c)", ast.Call, {"f(b, a, c)", "f(a, c, b)"}),
        ("f(a, a)", ast.Call, set()),
        ("min(a, b)", ast.Call, {"max(a, b)"}),
        ("f(*a, b)", ast.Call, set()),
        ("a[b:c]", ast.Slice, {"b - 1:c", "b:c - 1"}),
        ("a[1:-1]", ast.Slice, {"1:-1 - 1"}),
        ("tau_mem", ast.Name, {"tau_syn"}),
        ("tau_mem = 1", ast.Name, set()),
        ("a.low", ast.Attribute, {"a.high"}),
        ("f()", ast.Expr, {"pass"}),
        ("a", ast.Expr, set()),
        ("raise a", ast.Raise, {"pass"}),
        ("continue", ast.Continue, {"pass"}),
        ("break", ast.Break, {"pass"}),
        ("a.b = c", ast.Assign, {"pass"}),
        ("a = c", ast.Assign, set()),
        (
            "try:\n    a\nexcept (b, c):\n    d",
            ast.ExceptHandler,
            {"except (c,):\n    d", "except (b,):\n    d"},
        ),
    ],
)
def test_each_slip_is_the_one_it_says(text: str, kind: type[ast.AST], expected: set[str]) -> None:
    assert {found.strip("\n") for found in slips(text, kind)} == expected
