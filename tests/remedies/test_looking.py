"""Plots, membranes, summaries and logs: what each refusal says to do is done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.record import Record
from hwloop.training import CsvLog, Epoch, Evaluation, TensorBoardLog

from .support import Case, refused


@pytest.fixture(scope="module")
def net() -> hl.Network:
    return hl.Network.graph(
        {"in": hl.Input(2), "hidden": hl.IF(3), "out": hl.LI(2, 20e-3)},
        [hl.Projection("in", "hidden", hl.Dense(2, 3)), hl.Projection("hidden", "out", hl.Dense(3, 2))],
    )


def spikes() -> hl.Spikes:
    return hl.Spikes.from_events([([1e-3, 3e-3], [0, 1])] * 2, 2, 1e-2)


def test_membranes_are_asked_for_as_the_messages_say(net: hl.Network) -> None:
    record = net(spikes())
    bare = Record(record.populations, record.inputs, names=record.names)
    for case in (
        Case("membrane_traces._called", "no population is called {}; there are: {}", lambda: net.membranes(record, "hiden"),
             (lambda: net.membranes(record, "hidden"), lambda: net.membranes(record, "out"))),
        Case("traces_of", "neurons = {}; allowed: at least one of 0..{}", lambda: net.membranes(record, "hidden", []),
             (lambda: net.membranes(record, "hidden", [0]), lambda: net.membranes(record, "hidden", [2]))),
        Case("traces_of", "is an input, which has no membrane; allowed: a population", lambda: net.membranes(record, "in"),
             lambda: net.membranes(record, "hidden")),
        Case("traces_of", "the record holds no membranes of {}; allowed: the record of a run of this network",
             lambda: net.membranes(bare, "out"), lambda: net.membranes(net(spikes()), "out")),
        Case("membrane_traces._check_window", "allowed: 0 to t_stop = {} s", lambda: net.membranes(record, "hidden").at(torch.tensor([2e-2])),
             lambda: net.membranes(record, "hidden").at(torch.tensor([0.0, 1e-2]))),
        Case("draw_record", "beside spikes of sample {}; allowed: of the same",
             lambda: record.plot(0, membranes=net.membranes(record, "hidden", sample=1)),
             lambda: record.plot(1, membranes=net.membranes(record, "hidden", sample=1))),
    ):  # fmt: skip
        case.follow()


def test_a_summary_is_made_for_what_is_a_target(net: hl.Network) -> None:
    Case("network_summary._fit", "allowed: the name of a target, a target, or an opened device", lambda: net.summary(3),
         lambda: net.summary("emulator:7")).follow()  # fmt: skip


def test_a_drawing_is_saved_under_a_name_that_says_what_it_is(tmp_path: Path) -> None:
    drawing = spikes().plot()
    Case("Drawing.save", "allowed: a file that ends in {}", lambda: drawing.save(tmp_path / "x.jpeg"),
         tuple(lambda name=name: drawing.save(tmp_path / name) for name in ("x.svg", "x.png", "x.pdf"))).follow()  # fmt: skip


def test_epochs_are_logged_where_a_table_of_them_stands_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = Epoch(1, 1e-3, 0.5, 0.5, 0, Evaluation(0.5, 2, 0, 0.5), 0.1)
    Case(
        "CsvLog.__init__",
        "allowed: a file that ends in .csv",
        lambda: CsvLog(tmp_path / "x.txt"),
        lambda: CsvLog(tmp_path / "x.csv"),
    ).follow()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    refused(
        "CsvLog._before",
        "holds another table; allowed: one of columns {}, or name a new file",
        lambda: CsvLog(tmp_path / "other.csv")(epoch),
    )
    CsvLog(tmp_path / "new.csv")(epoch)
    header = (tmp_path / "new.csv").read_text().splitlines()[0]
    (tmp_path / "other.csv").write_text(header + "\n")
    CsvLog(tmp_path / "other.csv")(epoch)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as where it is not installed
    said = refused(
        "TensorBoardLog.__init__",
        "install it: pip install 'hwloop[tensorboard]', or log to a .csv: CsvLog",
        lambda: TensorBoardLog(tmp_path),
    )
    assert "TensorBoard cannot be imported" in said

    module: Any = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = object
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)  # as where it is
    TensorBoardLog(tmp_path)
