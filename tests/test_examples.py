"""The examples run as their docstrings say, and the third-party backend is found like any other."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.datasets import Dataset, Task
from hwloop.device import registry as target
from hwloop.errors import CompileError, InputError, OptionError, TargetError

from .remedies.data_files import written

EXAMPLES = Path(__file__).parents[1] / "examples"
BACKEND = EXAMPLES / "third_party_backend"
STUDIES = EXAMPLES.parent / "studies"
LONGER = EXAMPLES / "longer"
SCRIPTS = sorted([*EXAMPLES.glob("*.py"), *LONGER.glob("*.py"), *BACKEND.glob("*.py"), *STUDIES.glob("*.py")])


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def mychip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example backend as if installed: importable, with the entry points of its own pyproject.toml."""
    entries = tomllib.loads((BACKEND / "pyproject.toml").read_text())["project"]["entry-points"]
    info = tmp_path / "hwloop_mychip-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hwloop-mychip\nVersion: 0.1.0\n")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in entries.items()]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(BACKEND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "hwloop_mychip", raising=False)
    return importlib.import_module("hwloop_mychip")


def small_network(n_in: int = 3) -> hl.Network:
    dense = hl.Dense(n_in, 4, generator=torch.Generator().manual_seed(1)).init_normal_(1.5, 0.5, torch.Generator())
    return hl.Network([dense, hl.LIF(4, 10e-3, 5e-3)])


def small_spikes(samples: int = 6) -> hl.Spikes:
    rng = np.random.default_rng(0)
    events = [(np.sort(rng.uniform(0, 20e-3, 10)), rng.integers(0, 3, 10)) for _ in range(samples)]
    return hl.Spikes.from_events(events, n_units=3, t_stop=40e-3)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_example_says_what_it_does(script: Path) -> None:
    text = ast.get_docstring(ast.parse(script.read_text()))
    assert text is not None
    assert len(text.splitlines()[0]) > 40


# -- the scripts ----------------------------------------------------------------------------------


def test_a_network_goes_to_loihi_and_into_a_netx_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(LONGER / "to_loihi.py").main(["--netx", str(tmp_path / "a.net"), "--samples", "40"])
    printed = capsys.readouterr().out
    assert "<- chosen" in printed
    assert "headroom" in printed
    assert "read back and run again, equal: True" in printed
    assert (tmp_path / "a.net").stat().st_size > 1000


def test_third_party_backend_script_runs(mychip: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    load(BACKEND / "try_it.py").main(["--quick"])
    assert "after one changed weight: 1 cell written" in capsys.readouterr().out


# -- the backend ----------------------------------------------------------------------------------


def test_third_party_backend_is_listed_and_opened_by_name(mychip: ModuleType) -> None:
    assert target.available()["mychip"] == "hwloop_mychip:MyChipTarget"
    with target.open("mychip:1") as chip:
        assert isinstance(chip, mychip.MyChipDevice)
        assert chip.device_id == "mychip/0001"


def test_third_party_backend_returns_the_program_s_spikes_on_its_clock(mychip: ModuleType) -> None:
    net, spikes, tick = small_network(), small_spikes(), 50e-6
    with target.open("mychip:0", tick=tick) as chip:
        program = target.compile(net, chip)
        chip.load(program)
        measured = chip.run(spikes, repeats=2)
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.from_numpy(program.layers[0].weight()))
        expected = net(target.repeat(spikes, 2)).output
    assert int(expected.counts.sum()) > 20
    assert torch.equal(measured.output.times, torch.floor(expected.times / tick) * tick)
    assert torch.equal(measured.output.units, expected.units)
    assert measured.program_digest == program.digest


def test_third_party_backend_refuses_what_its_limits_exclude(mychip: ModuleType) -> None:
    with pytest.raises(CompileError, match="fan-in|fan_in|128"):
        target.compile(small_network(n_in=129), target.find("mychip:0"))
    with pytest.raises(TargetError, match="mychip:7 does not exist; allowed: mychip:0, mychip:1"):
        target.open("mychip:7")
    with pytest.raises(OptionError, match="'speed'; it has: tick"):
        target.open("mychip:0", speed=3)
    with pytest.raises(InputError, match="tick = 0.0 s"):
        target.open("mychip:0", tick=0.0)


def test_third_party_backend_that_is_closed_runs_nothing(mychip: ModuleType) -> None:
    with target.open("mychip:0") as chip:
        chip.load(target.compile(small_network(), chip))
    with pytest.raises(TargetError, match="is closed"):
        chip.run(small_spikes())


def test_a_loop_learns_what_a_layer_cannot(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["timed_xor.py", "--seeds", "1", "--epochs", "5"])
    assert load(STUDIES / "timed_xor.py").main() == 0
    with_loop, without = capsys.readouterr().out.splitlines()
    accuracy = [float(line.split("accuracy ")[1].split("%")[0]) for line in (with_loop, without)]
    assert accuracy[0] > 85
    assert accuracy[1] < 75


def test_spoken_digits_are_learnt_by_every_kind_of_network_and_a_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWLOOP_DATA", str(written(tmp_path)))
    monkeypatch.setattr(
        sys, "argv", ["spoken_digits.py", "--seeds", "1", "--epochs", "1", "--held-out", "bob", "--out", str(tmp_path)]
    )
    example = load(LONGER / "spoken_digits.py")
    assert example.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[1] for line in lines] == list(example.KINDS)
    assert all("of 24, validation" in line for line in lines)
    assert example.main() == 0
    assert capsys.readouterr().out.splitlines() == lines


def test_delays_that_moved_into_the_data_leave_every_hidden_spike_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LONGER)
    example, chips = (importlib.import_module(name) for name in ("spoken_digits", "spoken_digits_chips"))
    rng = np.random.default_rng(0)
    events = [(np.sort(rng.uniform(0, 0.25, 150)), rng.integers(0, 40, 150)) for _ in range(4)]
    data = Dataset(hl.Spikes.from_events(events, 40, 0.3, torch.float64), torch.arange(4))
    task = Task("drawn", data, data, data, 40, 10, 0.3)
    net = example.network("axonal", 0).double()
    chain, on_lines = chips.for_chips(net, task)
    expected, found = net(data.inputs)[0], chain.double()(on_lines.train.inputs)[0]
    assert int(expected.counts.min()) > 50
    assert torch.equal(expected.unit_counts(), found.unit_counts())
    # the same sums of weights, in another order where events come at one time
    torch.testing.assert_close(found.times[found.valid], expected.times[expected.valid], rtol=1e-9, atol=1e-12)
