"""Figures of epochs as they go: as a table, and for TensorBoard."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from hwloop.training import CsvLog, Epoch, Evaluation, TensorBoardLog


def epoch(number: int, loss: float = 0.5) -> Epoch:
    return Epoch(number, 1e-3, loss, 0.75, 2, Evaluation(0.8, 10, 1, 0.3), 0.1)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_has_a_row_for_every_epoch_with_the_figures_of_its_validation(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "x.csv")
    log(epoch(1, 1 / 3))
    log(epoch(2))
    assert [row["number"] for row in rows(log.path)] == ["1", "2"]
    assert float(rows(log.path)[0]["loss"]) == 1 / 3
    assert rows(log.path)[1]["validation.accuracy"] == "0.8"


def test_a_resumed_run_goes_on_in_its_table_and_a_new_one_begins_it_anew(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        CsvLog(tmp_path / "x.csv")(epoch(number, 1.0))
    CsvLog(tmp_path / "x.csv")(epoch(3, 2.0))
    assert [(row["number"], row["loss"]) for row in rows(tmp_path / "x.csv")] == [
        ("1", "1.0"),
        ("2", "1.0"),
        ("3", "2.0"),
    ]
    CsvLog(tmp_path / "x.csv")(epoch(1, 3.0))
    assert [(row["number"], row["loss"]) for row in rows(tmp_path / "x.csv")] == [("1", "3.0")]


def test_tensorboard_is_given_every_figure_at_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert (folder, purge_step) == (str(tmp_path), 4)  # a resumed run's points take the place of those there

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def flush(self) -> None:
            written.append(("flushed", 0.0, 0))

    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    log = TensorBoardLog(tmp_path)
    log(epoch(4))
    log(epoch(5))
    assert ("validation/accuracy", 0.8, 4) in written
    assert ("loss", 0.5, 5) in written
    assert written.count(("flushed", 0.0, 0)) == 2


def test_tensorboard_itself_reads_them(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TensorBoardLog(tmp_path)
    log(epoch(1, 1.0))
    log(epoch(2, 0.5))
    found = accumulator.EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(event.step, event.value) for event in found.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
