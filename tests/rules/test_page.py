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

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.fixture
def page() -> Iterator[ModuleType]:
    sys.path.insert(0, str(STUDIES))
    try:
        yield importlib.import_module("rules_page")
    finally:
        sys.path.remove(str(STUDIES))


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
    assert "Not measured yet: hm2bp, spikegrad, spide, exact." in text
    assert "moved, turned" not in text


def test_the_exact_rule_stands_beside_the_others(page: ModuleType) -> None:
    row = {"study": "software", "experiment": "mnist-784-350-10", "seed": 0}
    found = {"validation": 0.978, "test": 0.9793, "curve": [0.9, 0.978], "spikes_a_sample": [90.0, 3.0]}
    text = "\n".join(page._accuracy([(row, found)]))
    assert "| mnist-784-350-10-exact | 1 | 97.80 % | 97.93 % | 97.93 % | 2 | 90 + 3 |" in text
    assert "exact." not in text


def test_a_row_of_augmented_images_is_named(page: ModuleType) -> None:
    found = {"validation": 0.99, "test": 0.99, "curve": [0.99], "spikes_a_sample": [1.0]}
    rows = [({"study": "rule", "experiment": f"mnist-conv-{name}"}, found) for name in page.CONVOLUTIONAL]
    augmented = [f"mnist-conv-{name}" for name, recipe in page.CONVOLUTIONAL.items() if "augment" in recipe.fit]
    assert augmented
    assert f"scaled a little: {', '.join(augmented)};" in "\n".join(page._accuracy(rows))


def test_chips_stand_beside_their_ceiling_and_software_and_say_on_how_many_samples(page: ModuleType) -> None:
    common = {"experiment": "small-hm2bp", "seed": 0}
    chip = {"ran_on": "emulator", "device": "emulator:1/bss2/x", "as_is": 0.8, "tuned": 0.97}
    on = {"ran_on": "lava-nc", "device": "lava/fixed", "simulated": 0.99, "as_is": 0.98, "agreement": {"equal": 1.0}}
    rows = [
        ({**common, "study": "counting"}, {"test": 0.974}),
        ({**common, "study": "counting-chip", "variant": {}}, chip),
        ({**common, "study": "counting-chip", "variant": {"mismatch": False}}, chip),
        ({**common, "study": "rule-on", "samples": 200}, on),
    ]
    lines = page._deployed(rows)
    assert "| small-hm2bp | emulator:1/bss2/x | emulator | all | 97.40 % | 80.00 % |  | 97.00 % |" in lines
    assert sum("without mismatch: the ceiling" in line for line in lines) == 1
    assert "| small-hm2bp | lava/fixed | lava-nc | first 200 | 99.00 % | 98.00 % | 100.00 % |  |" in lines


def test_a_cell_does_not_break_its_table(page: ModuleType) -> None:
    assert page._table(["a"], [["e_i|j"]])[2] == "| e_i\\|j |"


def test_a_file_that_is_no_row_is_refused(page: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError):
        list(page._rows([tmp_path]))
