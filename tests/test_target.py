from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from hwloop.device import registry as target
from hwloop.errors import InputError, OptionError, TargetError
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes

ROOT = Path(__file__).parents[1]


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Backends that do not import, each in its own way."""
    (tmp_path / "broken_vendor.py").write_text("import a_vendor_package_that_is_not_here\n")
    (tmp_path / "empty_vendor.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    known = target._entry_points()
    for name, value in (("broken", "broken_vendor:Target"), ("empty", "empty_vendor:Target")):
        known[name] = metadata.EntryPoint(name, value, target.ENTRY_POINT_GROUP)
    monkeypatch.setattr(target, "_entry_points", lambda: known)


def test_the_emulator_is_found_by_its_entry_point() -> None:
    assert target.available()["emulator"].startswith("hwloop_emulator")
    assert target.find("emulator:7").name == "emulator:7"


def test_the_example_of_the_public_surface_compiles_for_bss2() -> None:
    net = Network([
        Dense(3, 4), LIF(4, tau_mem=10e-3, tau_syn=5e-3, v_th=1.0, v_leak=0.0, v_reset=0.0, t_ref=0.0, reset="value"),
        Dense(4, 2), LIF(2, tau_mem=10e-3, tau_syn=5e-3),
    ])  # fmt: skip
    with target.open("emulator:7", preset="bss2") as chip:
        assert "6 of 512 neurons" in str(target.compile(net, chip).report())


def test_an_unknown_target_is_refused_with_those_available() -> None:
    with pytest.raises(TargetError, match=r"unknown target 'loihi3:0'; available: .*emulator"):
        target.open("loihi3:0")


@pytest.mark.usefixtures("register")
def test_a_backend_that_does_not_import_shows_its_own_reason() -> None:
    with pytest.raises(TargetError, match=r"ModuleNotFoundError: No module named 'a_vendor_package_that_is_not_here'"):
        target.open("broken:0")
    with pytest.raises(TargetError, match=r"empty_vendor:Target.*has no attribute 'Target'"):
        target.open("empty:0")


def test_an_unknown_option_is_refused_with_those_known() -> None:
    with pytest.raises(OptionError, match=r"no option 'present'; it has: preset, spread"):
        target.open("emulator:7", present="bss2")


def test_compiling_for_what_is_no_target_is_refused() -> None:
    net = Network([Dense(1, 1), LIF(1, 10e-3, 5e-3)])
    with pytest.raises(InputError, match=r"cannot compile for str; give what hwloop.open"):
        target.compile(net, "emulator:7")  # type: ignore[arg-type]


def test_the_core_imports_no_backend() -> None:
    code = "import sys, hwloop.device.registry; print([m for m in sys.modules if m.startswith('hwloop_')])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("folder", ["hwloop", "calibration", "examples"])
def test_nobody_asks_the_oracle(folder: str) -> None:
    """The chip's secrets are for tests: no source outside the emulator names the oracle or the chip's insides."""
    names = ("hwloop_emulator.oracle", "Oracle", "hwloop_emulator.chip", "hwloop_emulator.silicon", "._chip")
    for file in (ROOT / folder).rglob("*.py"):
        text = file.read_text("utf-8")
        assert not [name for name in names if name in text], file


def test_the_core_does_not_name_a_backend_in_an_import() -> None:
    backends = [folder.name for folder in (ROOT / "backends").iterdir() if (folder / "__init__.py").exists()]
    assert "hwloop_emulator" in backends
    named = tuple(f"{word} {name}" for name in backends for word in ("import", "from"))
    for file in (ROOT / "hwloop").rglob("*.py"):
        for line in file.read_text("utf-8").splitlines():
            assert not line.strip().startswith(named), file


@pytest.mark.parametrize("cut", ["samples", "layers"])
def test_an_answer_of_another_shape_than_the_question_is_refused(monkeypatch: pytest.MonkeyPatch, cut: str) -> None:
    net = Network([Dense(2, 3), LIF(3, 10e-3, 5e-3), Dense(3, 2), LIF(2, 10e-3, 5e-3)])
    spikes = Spikes.from_events([([0.001], [0]), ([0.002], [1])], n_units=2, t_stop=0.05)
    with target.open("emulator:0", preset="ideal") as chip:
        chip.load(target.compile(net, chip))
        answer = chip._execute(chip.program, spikes, 1).populations
        fewer = tuple(p[:1] for p in answer) if cut == "samples" else answer[:1]
        monkeypatch.setattr(chip, "_execute", lambda *_: target.Measured(fewer))
        with pytest.raises(
            TargetError, match=r"emulator:0.* answered with .*; expected \[\(2, 3, 0.05\), \(2, 2, 0.05\)\]"
        ):
            chip.run(spikes)
