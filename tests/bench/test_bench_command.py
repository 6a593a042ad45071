"""``hwloop bench``: its workloads run, its tables and files hold what was measured, and nothing is left out in silence."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from hwloop.bench import growth
from hwloop.bench.peers import PEERS, REFERENCE, Unavailable, build, tune
from hwloop.bench.results import Row
from hwloop.bench.timed_rows import run_workload, verdict
from hwloop.bench.workloads import WORKLOADS

from ..cli_runs import done, refused

#: CPU seconds of a slice in tests: nothing is concluded from the speed.
SLICE = 0.002


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwloop.bench.timing.SLICE", SLICE)


@pytest.mark.parametrize("name", ["YY", "CONV", "RECURRENT", "DELAYS"])
def test_hwloop_spikes_as_often_as_the_workload_says(name: str) -> None:
    peer = build(REFERENCE, WORKLOADS[name], 0)
    tune(peer, WORKLOADS[name].rate)
    peer.step()
    assert peer.rates() == pytest.approx([WORKLOADS[name].rate] * 2, rel=0.15)
    gradients = peer.gradients()
    assert gradients is not None
    assert all(float(abs(gradient).max()) > 0 for gradient in gradients)


def test_delays_and_loops_change_the_spikes() -> None:
    from dataclasses import replace

    for name in ("RECURRENT", "DELAYS"):
        workload = WORKLOADS[name]
        peers = [build(REFERENCE, one, 0) for one in (workload, replace(workload, kind="plain"))]
        for peer in peers:
            peer.scale([1.0, 1.0])
        assert peers[0].rates() != peers[1].rates()


@pytest.mark.parametrize("peer, name", [("cumsum", "CONV"), ("dense", "DELAYS"), ("cumsum", "MULTI")])
def test_a_peer_that_lacks_something_says_what(peer: str, name: str) -> None:
    with pytest.raises(Unavailable, match=r"has no|by construction"):
        build(peer, WORKLOADS[name], 0)


def test_every_peer_asked_for_has_a_row() -> None:
    rows = run_workload(WORKLOADS["YY"], list(PEERS), 1, 0)
    assert [row.peer for row in rows] == list(PEERS)
    for row in rows:
        assert (row.description is None) == (row.reason is not None)
    measured = {row.peer: row for row in rows if row.description is not None}
    assert measured[REFERENCE].ratios == [1.0]
    assert measured["dense"].description is not None
    assert measured["dense"].description.gradient == "exact (no spikes)"


def test_rows_where_hwloop_is_behind_are_named() -> None:
    from hwloop.bench.peers.base import Description

    what = Description("1", "float32", "exact", None, 1)
    rows = [Row("YY", "norse", what, ratios=(0.5,)), Row("YY", "cumsum", what, ratios=(3.0,), goal=4)]
    lines = verdict(rows)
    assert lines[0] == "ahead of spiking peers in 1 of 2 rows; not ahead: norse on YY (0.5)"
    assert lines[1] == "goals reached: 0 of 1; missed: cumsum on YY"


def test_the_command_prints_and_writes_speed_exactness_and_growth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "AXES", {"events": (25, 50), "depth": (1, 3), "batch": (1, 5)})
    monkeypatch.setattr("hwloop.bench.bench_page.AXES", growth.AXES)
    cores, variables = os.sched_getaffinity(0), dict(os.environ)
    result = done("bench", "--part", "speed", "--part", "exactness", "--part", "scaling", "--workload", "YY", "--peer", "cumsum",
                  "--peer", "norse", "--rounds", 2, "--json", tmp_path / "all.json", "--out", tmp_path / "out")  # fmt: skip
    assert os.sched_getaffinity(0) == cores
    assert dict(os.environ) == variables
    assert "YY: 5-120-3" in result.stdout
    assert "goals reached" in result.stdout
    document = json.loads((tmp_path / "all.json").read_text())
    assert document == json.loads((tmp_path / "out/bench.json").read_text())
    assert (document["format"], document["version"]) == ("hwloop-bench", 2)
    assert document["machine"]["threads"] == 1
    assert document["machine"]["clock"] == "process CPU time"
    assert [row["peer"] for row in document["rows"]] == ["hwloop", "norse", "cumsum"]
    assert [row["peer"] for row in document["exactness"]] == ["hwloop", "hwloop-float64", "norse", "cumsum"]
    points = document["scaling"]
    assert {(p["axis"], p["value"]) for p in points} == {(a, v) for a, values in growth.AXES.items() for v in values}
    assert all(p["seconds"] > 0 for p in points if p["peer"] == "hwloop")
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<svg") == 2
    for text in ("cumsum", "gradient error", "process CPU time", "input events a sample"):
        assert text in page


@pytest.mark.parametrize("option, name", [("--peer", "nors"), ("--workload", "XY"), ("--part", "all")])
def test_unknown_names_are_refused_with_those_that_exist(option: str, name: str) -> None:
    refused(2, rf"{option} '{name}'; allowed: ", "bench", option, name)


def test_the_threads_of_before_are_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    done("bench", "--part", "exactness", "--peer", "cumsum")
    assert torch.get_num_threads() == before
