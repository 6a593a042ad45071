"""Compiling: masks, scales, programs; networks in steps on fixed point; who holds a folder.

What the compilers ask a network's author to change is followed in ``tests/mapping/test_remedies.py`` and, for fixed point,
in ``tests/backends/loihi/test_remedies.py`` and ``test_step_remedies.py``.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules, storage
from hwloop.device.registry import find
from hwloop.mapping import Capabilities, compile_network
from hwloop.ownership import FORMAT, RECORD, VERSION, held
from hwloop_emulator import EmulatorTarget
from hwloop_loihi import soft_device, step_codes, write_netx

from .support import Case, option, refused

CHIP = Capabilities(name="small", n_neurons=8, fan_in=4, weight_bits=6)
SHARED = Capabilities(name="shared", n_neurons=8, fan_in=8, uniform=("tau_mem",))
SPIKES = hl.Spikes.from_events([([1e-3, 2e-3], [0, 1])], 3, 0.02)


def network(n_in: int = 3, hidden: int = 4, dtype: torch.dtype = torch.float64, **lif: Any) -> hl.Network:
    generator = torch.Generator().manual_seed(0)
    values = {"tau_mem": 10e-3, "tau_syn": 5e-3, **lif}
    first, second = (hl.Dense(a, b, generator=generator) for a, b in ((n_in, hidden), (hidden, 2)))
    return hl.Network([first, hl.LIF(hidden, **values), second, hl.LIF(2, 10e-3, 5e-3)]).to(dtype)


def compiled(net: hl.Network | None = None, limits: Capabilities = CHIP, **options: Any) -> hl.Program:
    return compile_network(network() if net is None else net, limits, **options)


def weighted(value: float) -> hl.Network:
    net = network()
    with torch.no_grad():
        net.blocks[0][0].weight[0, 0] = value
    return net


OTHER = compiled(limits=SHARED)

COMPILING = [
    Case("as_array", "allowed: float32 or float64, convert with .float()", lambda: compiled(network().half()), lambda: compiled(network().half().float())),
    Case("_check_like", "compile once without like= for this target", lambda: compiled(like=OTHER), lambda: compiled(like=compiled())),
    Case("_check_like", "compile it once without like=", lambda: compiled(network(hidden=3), like=compiled()), lambda: compiled(network(hidden=3), like=compiled(network(hidden=3)))),
    Case("_check_weights", "feed it from at most {} units", lambda: compiled(network(n_in=5)), lambda: compiled(network(n_in=4))),
    Case("_check_weights", "finite weights", lambda: compiled(weighted(float("nan"))), lambda: compiled(weighted(0.5))),
    Case("_check_uniform", "build the layer with one {}, such as the mean {}", lambda: compiled(network(tau_mem=[1e-2, 1e-2, 1e-2, 2e-2]), SHARED),
         lambda said: compiled(network(tau_mem=float(said.split("the mean ")[1].split(",")[0])), SHARED)),
    Case("placement.place", "mask names neuron {}; the device has neurons 0..{}", lambda: compiled(mask=[8]), lambda: compiled(mask=[7])),
    Case("_physical", "e.g. np.flatnonzero(mask)", lambda: compiled(mask=np.array([True, False])), lambda: compiled(mask=np.flatnonzero([True, False]))),
    Case("_physical", "allowed: whole numbers, those of physical neurons", lambda: compiled(mask=[0.5]), lambda: compiled(mask=[0, 1])),
    Case("Program.placed", "whole numbers, {} of them, one array a layer", lambda: compiled().placed([np.arange(4)]), lambda: compiled().placed([np.arange(4), np.arange(4, 6)])),
    Case("Program.placed", "allowed: different ones of 0..{}", lambda: compiled().placed([np.arange(4), np.array([0, 8])]), lambda: compiled().placed([np.arange(4), np.array([7, 4])])),
    option("scale_of", "allowed: a finite model weight of 1 LSB > 0", compiled, "weight_scale", -1.0, 0.1),
    option("scale_rules", "give one for each", compiled, "weight_scale", ["max"], ["max", "max"]),
    option("_one_rule", "or a number > 0, for all layers or one each", compiled, "weight_scale", None, "max", "quantile:0.99", 0.1, ["max", 0.1]),
    option("_quantile", "allowed: 'max', 'quantile:Q' with 0 < Q <= 1, or a number > 0", compiled, "weight_scale", "min", "max", "quantile:1", 0.1),
    option("_quantile", "allowed: 'quantile:Q' with 0 < Q <= 1, e.g. 'quantile:0.999'", compiled, "weight_scale", "quantile:2", "quantile:1", "quantile:0.999"),
    option("compile_quietly", "allowed: a list of physical neurons, e.g. [{}]", lambda mask: hl.compile(network(), find("emulator:7"), mask=mask), "mask", 3, [3]),
]  # fmt: skip


@pytest.mark.parametrize("case", COMPILING, ids=str)
def test_what_compiling_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_program_is_loaded_again_after_a_write_that_broke_off(monkeypatch: pytest.MonkeyPatch) -> None:
    device = EmulatorTarget("7", session=0).open()
    program = hl.compile(network().float(), device)
    with monkeypatch.context() as broken:
        broken.setattr(device._chip, "write", lambda program: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            device.load(program)
    refused(
        "DeviceBase._loaded",
        "the last write failed or was interrupted, and what arrived of it is not known; load again",
        lambda: device.run(SPIKES),
    )
    device.load(program)
    device.run(SPIKES)


# -- fixed point ----------------------------------------------------------------------------------


def test_a_window_runs_at_the_step_that_is_printed() -> None:
    fast = {"tau_mem": 1e-5, "tau_syn": 5e-6}
    net = hl.Network([hl.Dense(1, 1), hl.LIF(1, **fast)]).double()
    silence = hl.Spikes.from_events([([], [])], 1, 0.2)

    def run(dt: float) -> None:
        with hl.open("loihi", dt=dt) as device:
            device.load(hl.compile(net, device))
            device.run(silence)

    said = refused("checked_ticks", "Open the target with dt={} or more", lambda: run(1e-8))
    run(float(said.split("dt=")[1].split()[0]))


def test_a_program_of_the_same_target_is_loaded() -> None:
    with hl.open("loihi") as device, hl.open("emulator:7", preset="ideal") as chip:
        program = hl.compile(network(), chip)
        foreign = copy.copy(program)
        object.__setattr__(foreign, "capabilities", device.capabilities)
        refused(
            "hwloop_loihi.device._graph_of", "runs programs compiled for loihi; got {}", lambda: device.load(foreign)
        )
        device.load(hl.compile(network(), device))


def crowd(factor: float = 1.0, value: float = 1.0) -> None:
    first = hl.Dense(3000, 2).init_normal_(factor, 0.0)
    second = hl.Dense(2, 2).init_normal_(1.0, 0.0)
    layers = [first, rules.LeakyNeurons(3.0, t_ref=0), second, rules.LeakyNeurons(3.0, t_ref=0)]
    net = rules.StepNetwork(layers, in_shape=3000, steps=40)
    with rules.open_network(net, "loihi") as device:
        device.run(rules.Values(torch.full((1, 3000), value), torch.zeros(1, dtype=torch.int64)))


def factor_of(said: str) -> float:
    return float(said.split(" by ")[1].split()[0])


def test_currents_that_would_wrap_are_made_smaller_by_the_factor_that_is_printed() -> None:
    said = refused("_behind", "multiply its weights by {} or less, or send fewer input spikes", crowd)
    crowd(factor_of(said))
    crowd(value=factor_of(said))


def signed(theta: float = 1.0, weight: float = 1.0, n_in: int = 4) -> None:
    first, second = hl.Dense(n_in, 3).init_normal_(weight, 0.0), hl.Dense(3, 2)
    net = rules.StepNetwork([first, rules.SignedNeurons(theta), second, rules.SignedNeurons()], in_shape=n_in, steps=1)
    with rules.open_network(net, "loihi", spikes="signed") as device:
        device.run(rules.Values(torch.ones(1, n_in), torch.zeros(1, dtype=torch.int64)))


def test_sums_that_would_wrap_are_made_smaller_by_the_factor_that_is_printed() -> None:
    message = "{} currents went beyond 2^23, where they would change sign; {}"
    said = refused("_overflowed", message, lambda: signed(n_in=4000, theta=100.0))
    assert "multiply the weights before it by" in said
    signed(n_in=4000, weight=factor_of(said), theta=100.0)


def test_neurons_that_fire_on_are_given_the_theta_that_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soft_device, "MOST_TICKS", 64)
    message = "raise theta to {} or more, so that fewer spikes are needed"
    said = refused("SoftDevice._counts", message, lambda: signed(theta=0.02))
    signed(theta=float(said.split("theta to ")[1].split()[0]))


def test_a_connection_of_the_size_that_is_printed_is_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(n: int) -> None:
        net = rules.StepNetwork([hl.Dense(n, 10), rules.LeakyNeurons(3.0, t_ref=0)], in_shape=n, steps=40)
        rules.open_network(net, "loihi").close()

    monkeypatch.setattr(step_codes, "MOST_WEIGHTS", 100)
    said = refused("dense_weight", "make its maps smaller: inputs times neurons up to {}", lambda: opened(11))
    opened(int(said.split("up to ")[-1]) // 10)


def test_a_network_with_delays_is_written_without_or_deployed(tmp_path: Path) -> None:
    def delayed(delay: float | None) -> hl.Network:
        return hl.Network([hl.Dense(3, 2, delay=delay), hl.LIF(2, 10e-3, 5e-3)]).double()

    message = "build Dense without delay, or deploy to loihi or lava, which have delays of 0..63 ticks"
    refused("_check_writable", message, lambda: write_netx(tmp_path / "net.net", delayed(1e-3), dt=1e-4))
    write_netx(tmp_path / "net.net", delayed(None), dt=1e-4)
    for target in ("loihi", "lava"):
        hl.compile(delayed(1e-3), find(target, dt=1e-4))


# -- folders --------------------------------------------------------------------------------------


def hold(folder: Path) -> None:
    with held(folder):
        pass


def test_a_folder_of_an_owner_that_has_ended_is_given_back(tmp_path: Path) -> None:
    record = {"pid": os.getpid(), "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00", "command": "hwloop"}
    storage.write_json(tmp_path / RECORD, record, kind=FORMAT, version=VERSION)
    said = refused("_take_over", "If it has ended, remove {}; if not, name another folder", lambda: hold(tmp_path))
    hold(tmp_path / "another")
    Path(said.split("remove ")[1].split(";")[0]).unlink()
    hold(tmp_path)


def test_a_folder_that_can_be_made_is_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused("ownership.held", "name another folder", lambda: hold(tmp_path / "file" / "run"))
    hold(tmp_path / "another")
