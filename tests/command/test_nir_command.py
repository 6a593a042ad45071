"""`hwloop nir check` says what a file means, who carries it and how far it moves; `hwloop nir export` writes a trained network."""

from __future__ import annotations

from pathlib import Path

import nir
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hwloop import LIF, Dense, Network
from hwloop.cli import app
from hwloop.command.folder import load_trained, opened
from hwloop.experiment import Experiment

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml").changed(network={"init_mean": [2.0, 1.0]})


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb"})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    with opened(tmp_path / "run", "train") as out:
        out.begin(TINY)
        out.save_network(TINY.build_network(), 0)
        out.finish(TINY)
    return tmp_path / "run"


def file_of(path: Path, **metadata: str) -> Path:
    graph = Network([Dense(3, 2).init_normal_(3.0, 0.1), LIF(2, 10e-3, 5e-3)]).to_nir()
    graph.metadata = dict(metadata)
    nir.write(path / "x.nir", graph)
    return path / "x.nir"


def test_check_says_what_was_found_and_why(tmp_path: Path) -> None:
    result = call("nir", "check", file_of(tmp_path, time_unit="s", spike="delta"))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "time unit s: metadata time_unit = 's'"
    assert lines[1] == "spikes: deltas, metadata spike = 'delta'"
    assert lines[2] == "reset: value, metadata reset"
    assert any(line.split() == ["0", "LIF", "2", "input:", "Dense"] for line in lines)
    carried = [line.split() for line in lines if line.split()[-1:] == ["yes"]]
    assert {row[0].partition(":")[0] for row in carried} >= {"emulator", "loihi"}
    literal, stepped = (line for line in lines if line.startswith("  to_nir("))
    assert "moved by 0 s at most, 0 more or fewer" in literal
    assert int(literal.split(": ")[1].split()[0]) > 5
    assert float(stepped.split("moved by ")[1].split()[0]) < 1e-9
    assert "0 more or fewer" in stepped


def test_check_takes_the_options_that_a_refusal_names(tmp_path: Path) -> None:
    path = file_of(tmp_path, time_unit="s")
    refused = call("nir", "check", path)
    assert refused.exit_code == 2
    assert "what a spike is in this graph is not evident" in refused.stderr
    for spike, said in (
        ("jump", "jumps by the weight"),
        ("delta", "deltas, given"),
        ("1e-4", "pulses of 0.0001 s, given"),
        ("jump,1e-4", "where there is no current pulses of 0.0001 s, given"),
    ):
        result = call("nir", "check", path, "--spike", spike, "--time-unit", "ms", "--reset", "subtract")
        assert result.exit_code == 0, result.output
        assert said in result.stdout
        assert "time unit ms: given by the caller" in result.stdout
        assert "reset: subtract, given by the caller" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["check", "{0}/none.nir"], 1, "cannot read .*none.nir: No such file"),
        (["check", "{0}/x.nir", "--spike", "soft"], 2, "spike = 'soft'; allowed: 'jump', 'delta'"),
        (["check", "{0}/x.nir", "--spike", "nan"], 2, "spike = nan; allowed"),
        (["check", "{0}/x.nir", "--reset", "soft"], 2, "reset = 'soft'; allowed"),
        (["check", "{0}/x.nir", "--time-unit", "min"], 2, "time_unit = 'min'; allowed"),
        (["check", "{0}/x.nir", "--output", "no"], 2, "output = 'no'; allowed: 'output', 'lif_0'"),
        (["export", "{0}/none"], 1, "none does not exist; give the folder of a run"),
        (["export", "{0}/run", "--dt", "-1"], 2, "dt = -1.0; allowed: None, or the time step"),
        (
            ["export", "{0}/run", "--out", "{0}/x.nir"],
            2,
            "x.nir exists; name another --out, or replace it with --force",
        ),
        (["export", "{0}/run", "--out", "{0}/no/x.nir"], 1, "cannot write .*No such file"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    tmp_path: Path, run: Path, arguments: list[str], status: int, message: str
) -> None:
    import re

    file_of(tmp_path, time_unit="s", spike="delta")
    before = sorted(path for path in tmp_path.rglob("*") if not path.name.endswith(".lock"))
    result = call("nir", *(part.format(tmp_path) for part in arguments))
    assert result.exit_code == status, result.output
    assert re.search(message, result.stderr), result.stderr
    assert sorted(path for path in tmp_path.rglob("*") if not path.name.endswith(".lock")) == before


def test_export_writes_the_trained_network_and_in_steps_where_asked(run: Path, tmp_path: Path) -> None:
    result = call("nir", "export", run)
    assert result.exit_code == 0, result.output
    assert "in its own numbers" in result.stdout
    net = load_trained(run).net
    back = Network.from_nir(run / "network.nir")
    for (dense, lif), (other, same) in zip(net.blocks, back.blocks, strict=True):
        assert dense.weight.equal(other.weight)
        assert lif.tau_mem.equal(same.tau_mem)
    result = call("nir", "export", run, "--dt", "1e-4", "--out", tmp_path / "steps.nir")
    assert result.exit_code == 0, result.output
    assert "in the numbers of steps of 0.0001 s" in result.stdout
    node = nir.read(tmp_path / "steps.nir", type_check=False).nodes["lif_0"]
    np.testing.assert_allclose(node.tau_mem / node.r, 1e-4, rtol=1e-6)
    assert call("nir", "export", run, "--force").exit_code == 0
