"""Targets and devices: found, opened, loaded, run; trim cells."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device import registry as target
from hwloop.device.deploy import deploy
from hwloop.device.registry import Measured, repetitions
from hwloop.device.trim import TrimRange, check_codes
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset

from .support import Case, refused

SPIKES = hl.Spikes.from_events([([1e-3, 2e-3, 3e-3], [0, 1, 2])], n_units=3, t_stop=0.02)


def network(n_in: int = 3) -> hl.Network:
    generator = torch.Generator().manual_seed(0)
    return hl.Network([hl.Dense(n_in, 4, generator=generator), hl.LIF(4, 10e-3, 5e-3)])


def chip(number: int = 7, *, loaded: bool = True, **options: Any) -> EmulatorDevice:
    device = EmulatorTarget(str(number), **{"session": 0, **options}).open()
    if loaded:
        device.load(hl.compile(network(), device))
    return device


def closed() -> EmulatorDevice:
    device = chip()
    device.close()
    return device


def run_opened_again(said: str) -> None:
    name = said.split("hwloop.open('")[1].split("'")[0]
    with hl.open(name) as device:
        device.load(hl.compile(network(), device))
        device.run(SPIKES)


def load(device: EmulatorDevice, like: EmulatorDevice) -> None:
    device.load(hl.compile(network(), like))


def crowded(n: int) -> hl.Spikes:
    return hl.Spikes.from_events([(np.linspace(0, 0.01, n), np.zeros(n, int))], n_units=3, t_stop=0.02)


def few_events() -> EmulatorDevice:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["max_events"] = {"value": 5, "source": "test"}
    return chip(preset=Preset.model_validate(data))


DEVICES = [
    Case("DeviceBase.load", "compile the network for this device", lambda: load(chip(), chip(preset="ideal")),
         lambda: load(chip(), chip())),
    Case("DeviceBase._loaded", "holds no program; call load(program) first", lambda: chip(loaded=False).run(SPIKES),
         lambda: chip(loaded=True).run(SPIKES)),
    Case("arguments.whole", "{} = {}; allowed: a whole number >= {}", lambda: chip().run(SPIKES, repeats=0),
         lambda: chip().run(SPIKES, repeats=1)),
    Case("DeviceBase._check_open", "is closed; open it again with hwloop.open({}, ...)", lambda: closed().run(SPIKES),
         run_opened_again),
    Case("DeviceBase._check_inputs", "give spikes of the network that was compiled",
         lambda: chip().run(hl.Spikes.from_events([([], [])], 4, 0.02)), lambda: chip().run(SPIKES)),
    Case("DeviceBase._check_inputs", "takes {} a sample: send {} or fewer", lambda: few_events().run(crowded(6)),
         lambda said: few_events().run(crowded(int(said.split("send ")[1].split()[0])))),
    Case("registry.choose_dt", "leave --dt out, or name a target such as loihi",
         lambda: target.choose_dt(target.find("emulator:7"), network(), SPIKES),
         (lambda: hl.compile(network(), target.find("emulator:7")),
          lambda: target.choose_dt(target.find("loihi"), network(), SPIKES))),
    Case("compile_quietly", "give what hwloop.open(name) returns", lambda: hl.compile(network(), "emulator:7"),
         lambda: hl.compile(network(), hl.open("emulator:7"))),
    Case("repetitions", "allowed: a whole number that divides the {} samples recorded",
         lambda: repetitions(chip().run(SPIKES, repeats=6), 4),
         (lambda: repetitions(chip().run(SPIKES, repeats=6), 6), lambda: repetitions(chip().run(SPIKES, repeats=6), 1))),
    Case("registry._load", "unknown target {}; available: {}", lambda: target.find("loihi3"),
         lambda said: [target.find(f"{name}:7" if name == "emulator" else name)
                       for name in said.split("available: ")[1].split(", ") if name not in ("tiny", "replay", "serial")]),  # these then ask for a log, a port
    Case("registry._check_options", "has no option {}; it has: {}", lambda: target.find("emulator:7", seed=1),
         lambda said: all(name in EmulatorTarget.__init__.__kwdefaults__ for name in said.split("it has: ")[1].split(", "))),
    Case("deploy", 'give validation=..., or a rule such as "max"', lambda: deploy(network(), chip(loaded=False)),
         (lambda: deploy(network(), chip(loaded=False), weight_scale="max"),
          lambda: deploy(network(), chip(loaded=False), validation=hl.Dataset(SPIKES, torch.tensor([0]))))),
]  # fmt: skip


class Cut(EmulatorDevice):
    """A backend that loses the last sample."""

    def _execute(self, program: hl.Program, spikes: hl.Spikes, repeats: int) -> Measured:
        whole = super()._execute(program, spikes, repeats)
        return Measured(tuple(population[:1] for population in whole.populations))


def test_a_backend_that_is_at_fault_is_told_by_its_name() -> None:
    device = Cut(EmulatorTarget("7"), 0, 0)
    device.load(hl.compile(network(), device))
    said = refused(
        "_check_answer", "The backend is at fault: report it to its author", lambda: device.run(SPIKES, repeats=2)
    )
    assert device.device_id in said
    chip().run(SPIKES, repeats=2)  # its author mends what it adds, nothing else


def test_a_backend_is_there_once_the_module_that_it_lacks_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_backend.py").write_text("import my_vendor\nfrom hwloop_emulator import EmulatorTarget as Target\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    known = target._entry_points()
    known["mine"] = metadata.EntryPoint("mine", "my_backend:Target", target.ENTRY_POINT_GROUP)
    monkeypatch.setattr(target, "_entry_points", lambda: known)
    refused(
        "registry._load", "does not import: {}; install what it needs, or uninstall it", lambda: target.find("mine:7")
    )
    (tmp_path / "my_vendor.py").write_text("")
    assert target.find("mine:7").name == "emulator:7"


TRIMMED = TrimRange(0, 15, 8, "exponential", 0.01)


def codes(values: Any, neurons: Any = (0, 1)) -> Any:
    return check_codes(TRIMMED, "tau_mem", np.asarray(values), np.asarray(neurons), 4)


TRIM = [
    Case("TrimRange.codes", "allowed: {}", lambda: TRIMMED.codes(np.array([0.0])), lambda: TRIMMED.codes(np.array([5e-324]))),
    Case("known_parameter", "it has them for: {}", lambda: chip().trim_codes("colour"),
         lambda said: [chip().trim_codes(name) for name in said.split("has them for: ")[1].split(", ")]),
    Case("check_codes", "neurons of shape {}; allowed: [k] whole numbers", lambda: codes([1, 2], [[0, 1]]),
         lambda: codes([1, 2], [0, 1])),
    Case("check_codes", "codes of shape {} for {} neurons; allowed: one for each", lambda: codes([1]),
         lambda: codes([1, 1])),
    Case("check_codes", "neuron {}; allowed: 0..{}", lambda: codes([1, 1], [0, 4]),
         lambda: codes([1, 1], [0, 3])),
    Case("check_codes", "is named twice; allowed: once in a write", lambda: codes([1, 1], [0, 0]),
         lambda: (codes([1], [0]), codes([1], [0]))),
    Case("check_codes", "allowed: whole numbers (round them first)", lambda: codes([1.4, 2.0]),
         lambda: codes(np.rint([1.4, 2.0]).astype(int))),
    Case("check_codes", "neuron {}: code {}; allowed: {}..{}", lambda: codes([16, 0]), lambda: codes([15, 0])),
]  # fmt: skip


@pytest.mark.parametrize("case", [*DEVICES, *TRIM], ids=str)
def test_what_a_device_asks_for_is_accepted(case: Case) -> None:
    case.follow()
