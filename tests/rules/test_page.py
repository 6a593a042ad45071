"""The page that compares the rules: complete, and made of what the study's rows hold."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from hwloop import rules, storage
from hwloop.errors import DataError

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def page() -> Iterator[ModuleType]:
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("rules_page")
    finally:
        sys.path.remove(str(EXAMPLES))


def write_row(folder: Path, recipe: str, test: float) -> None:
    row = {"study": "rule", "experiment": f"mnist-784-400-10-{recipe}", "recipe": recipe, "seed": 0}
    found = {"validation": test, "test": test, "curve": [0.5, test], "spikes_a_sample": [120.0, 5.0]}
    storage.write_json(folder / f"{recipe}.json", {"row": row, "found": found}, kind="hwloop-study", version=1)


def test_every_rule_has_its_needs_its_exactness_and_its_recipe(page: ModuleType) -> None:
    assert set(page.EXACT) == set(rules.names())
    needs, exactness = "\n".join(page._needs()), "\n".join(page._exactness())
    for name in rules.names():
        assert f"| `{name}` |" in needs
        assert f"| `{name}` |" in exactness
    assert set(rules.names()) - {"exact"} <= set(page.RECIPES)


def test_tests_named_as_evidence_exist(page: ModuleType) -> None:
    tests = Path(__file__).parents[1]
    for _, evidence in page.EXACT.values():
        folder = tests.parent / Path(evidence.split(",")[0]).parent
        for part in evidence.split(","):
            assert (folder / Path(part.strip()).name).exists()


def test_accuracies_are_those_of_the_rows_and_what_lacks_is_said(page: ModuleType, tmp_path: Path) -> None:
    write_row(tmp_path, "na", 0.9809)
    text = "\n".join(page._accuracy(list(page._rows([tmp_path]))))
    assert "| mnist-784-400-10-na | 1 | 98.09 % | 98.09 % | 98.09 % | 2 | 120 + 5 |" in text
    assert "Not measured yet: hm2bp, spikegrad, spide." in text


def test_a_cell_does_not_break_its_table(page: ModuleType) -> None:
    assert page._table(["a"], [["e_i|j"]])[2] == "| e_i\\|j |"


def test_a_file_that_is_no_row_is_refused(page: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError):
        list(page._rows([tmp_path]))
