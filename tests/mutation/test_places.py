from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .places import Mutant, SourceFile

SOURCE = '''"""A module: 1 < 2."""
import logging
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import a1

_log = logging.getLogger(__name__)
__all__ = ["f"]
Array: TypeAlias = "list[int]"
LIMIT = 63
UNIT = "ms"


@dataclass(frozen=True)
class Thing:
    """Doc."""

    width: int = 8

    def f(self, x: "int", mode: str = "max", *, n: int = 3) -> "float":
        """Doc of f."""
        _log.info("%d of it", 5)
        if x > self.width and mode == "sum":
            raise ValueError(f"x = {x}; allowed: up to {self.width - 1}, not 7", 9)
        for a, b in zip(x, mode, strict=True):
            print(b"bytes", f"{a:>10}")
        return table["key"] * 2.0
'''


@pytest.fixture
def source(tmp_path: Path) -> SourceFile:
    (tmp_path / "toy.py").write_text(SOURCE)
    return SourceFile(tmp_path, "toy.py")


def every(source: SourceFile) -> list[Mutant]:
    return [mutant for place in source.places for mutant in source.mutants(place)]


def test_what_means_something_is_a_place_and_what_does_not_is_none(source: SourceFile) -> None:
    found = {(mutant.before, mutant.after) for mutant in every(source)}
    message = "raise ValueError(f'x = {x}; allowed: up to {self.width - 1}, not 7', 9)"
    assert found == {
        ("LIMIT = 63", "LIMIT = 62"),
        ("LIMIT = 63", "LIMIT = 64"),
        ("LIMIT = 63", "LIMIT = 126"),
        ("UNIT = 'ms'", "UNIT = 'ms_'"),
        ("width: int = 8", "width: int = 7"),
        ("width: int = 8", "width: int = 9"),
        ("width: int = 8", "width: int = 16"),
        ("mode='max'", "mode='max_'"),
        ("n=3", "n=2"),
        ("n=3", "n=4"),
        ("n=3", "n=6"),
        ("if x > self.width and mode == 'sum':", "if not (x > self.width and mode == 'sum'):"),
        ("if x > self.width and mode == 'sum':", "if x > self.width or mode == 'sum':"),
        ("if x > self.width and mode == 'sum':", "if x > self.width:"),
        ("if x > self.width and mode == 'sum':", "if mode == 'sum':"),
        ("if x > self.width and mode == 'sum':", "if x >= self.width and mode == 'sum':"),
        ("if x > self.width and mode == 'sum':", "if x <= self.width and mode == 'sum':"),
        ("if x > self.width and mode == 'sum':", "if x > self.width and mode != 'sum':"),
        ("if x > self.width and mode == 'sum':", "if x > self.width and mode == 'sum_':"),
        (message, "pass"),
        (message, message.replace(" - 1", " + 1")),
        (message, message.replace(" - 1", "")),
        ("for a, b in zip(x, mode, strict=True):", "for a, b in zip(mode, x, strict=True):"),
        ("print(b'bytes', f'{a:>10}')", "pass"),
        ("print(b'bytes', f'{a:>10}')", "print(f'{a:>10}', b'bytes')"),
        ("return table['key'] * 2.0", "return table['key_'] * 2.0"),
        ("return table['key'] * 2.0", "return table['key'] / 2.0"),
        ("return table['key'] * 2.0", "return table['key']"),
        ("return table['key'] * 2.0", "return table['key'] * 4.0"),
        ("return table['key'] * 2.0", "return table['key'] * 1.0"),
    }


def test_a_place_names_its_function_and_the_lines_whose_run_reaches_it(source: SourceFile) -> None:
    lines = {place.line: (place.owner, place.lines) for place in source.places}
    numbers = {text.strip(): number for number, text in enumerate(SOURCE.splitlines(), 1)}
    assert lines[numbers["LIMIT = 63"]] == ("", range(0))  # run by the import
    assert lines[numbers["width: int = 8"]] == ("Thing", range(0))
    condition = numbers['if x > self.width and mode == "sum":']
    assert lines[condition] == ("Thing.f", range(condition, condition + 1))


def test_one_change_is_planted_and_the_tree_stays_what_it_was(source: SourceFile) -> None:
    before = ast.unparse(source.tree)
    for mutant in every(source):
        planted = source.planted(mutant)
        assert planted.rstrip("\n") != before
        compile(planted, "toy.py", "exec")
        changed = [pair for pair in zip(before.splitlines(), planted.splitlines(), strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1
        assert ast.unparse(source.tree) == before


def test_a_change_is_shown_as_a_patch_with_file_line_and_function(source: SourceFile) -> None:
    mutant = next(mutant for mutant in every(source) if mutant.after == "LIMIT = 64")
    assert mutant.diff() == "toy.py:11 in the module (constant)\n-LIMIT = 63\n+LIMIT = 64"
