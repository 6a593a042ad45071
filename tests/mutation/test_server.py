"""A change of a function's body without another import: what is taken on, and what has to be imported anew."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import pytest

from .server import changed

TEXT = """
def plain(x):
    return x + 1

class Kind:
    @property
    def twice(self):
        return 2

    @staticmethod
    def each(values):
        return [value * 2 for value in values]

def outer(k):
    def inner(x):
        return x * k
    return inner
"""


def loaded(text: str = TEXT) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(text, "made.py", "exec"), names)  # noqa: S102  # the text above
    return names


def functions(names: dict[str, Any]) -> list[FunctionType]:
    kind = vars(names["Kind"])
    return [names["plain"], kind["twice"].fget, kind["each"].__func__, names["outer"]]


@pytest.mark.parametrize("blank", ["", "\n\n"], ids=["same lines", "other lines"])
def test_functions_get_the_code_that_they_have_in_the_changed_text(blank: str) -> None:
    names = loaded()
    after = blank + TEXT.replace("x + 1", "x - 1").replace("return 2\n", "return 3\n").replace("value * 2", "value / 2")
    assert changed(functions(names), TEXT, after.replace("x * k", "x + k"))
    assert (names["plain"](5), names["Kind"]().twice, names["Kind"].each([4]), names["outer"](7)(1)) == (4, 3, [2.0], 8)


def test_what_only_an_import_changes_is_not_taken_on() -> None:
    # a function that is not there any more; and a compiled one, which does not look at its code again
    assert not changed(functions(loaded()), TEXT, TEXT.replace("def plain", "def other"))
    compiled = "# numba" + TEXT
    assert changed(functions(loaded()), TEXT, TEXT)
    assert not changed(functions(loaded(compiled)), compiled, compiled)


def test_a_function_that_uses_other_variables_around_it_is_not_taken_on() -> None:
    inner = loaded()["outer"](3)
    assert not changed([inner], TEXT, TEXT.replace("x * k", "x"))
    assert changed([inner], TEXT, TEXT.replace("x * k", "x - k"))
    assert inner(5) == 2


def test_a_file_of_which_no_function_is_there_is_not_taken_on() -> None:
    assert not changed([], TEXT, TEXT)
