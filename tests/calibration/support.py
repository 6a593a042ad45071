"""Small emulated chips, programs for them, and what the oracle says, in the calibration's own units."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import hwloop as hl
from hwloop.mapping import Program
from hwloop_calibration.characterise.bench import Bench, targets_of
from hwloop_calibration.characterise.model import Neurons
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset
from hwloop_emulator.oracle import Oracle

#: Device seconds are a thousandth of the model's on this chip type.
SPEEDUP = 1000.0


def preset(n_neurons: int = 64, channels: int = 0, **effects: float) -> Preset:
    """``bss2`` with fewer neurons, and with other effects where named."""
    data = Preset.load("bss2").model_dump(exclude_unset=True)
    data["limits"]["n_neurons"] = {"value": n_neurons, "source": "test"}
    data["limits"]["membrane_channels"] = {"value": channels, "source": "test"}
    result = Preset.model_validate(data)
    for name in sorted(effects, key=lambda key: not key.endswith(("_rate", "_time", "_exponent"))):
        result = result.with_effect(name, effects[name])
    return result


def quiet(chip: Preset) -> Preset:
    """Without the rounding of time stamps; noise is switched off by ``trial_noise=False``."""
    return chip.with_effect("time_stamp", 0.0)


def opened(chip: Preset, number: int = 3, **options: Any) -> EmulatorDevice:
    """Chip ``number`` in session 0."""
    return EmulatorTarget(str(number), preset=chip, **{"session": 0, **options}).open()


def network(n_in: int = 4, hidden: int = 8, n_out: int = 3, t_ref: float = 2e-3) -> hl.Network:
    """A small network at the usual operating point."""
    generator = torch.Generator().manual_seed(5)
    first = hl.Dense(n_in, hidden, generator=generator).init_normal_(1.6, 0.8, generator)
    second = hl.Dense(hidden, n_out, generator=generator).init_normal_(0.8, 0.4, generator)
    settings = {"tau_mem": 10e-3, "tau_syn": 5e-3, "t_ref": t_ref}
    return hl.Network([first, hl.LIF(hidden, **settings), second, hl.LIF(n_out, **settings)]).double()


def program_for(device: EmulatorDevice, **options: Any) -> Program:
    """The small network, compiled for ``device``."""
    return hl.compile(network(**options), device)


def truth(device: EmulatorDevice) -> Neurons:
    """The chip's own parameters in swing units, of the neurons and columns of the loaded program."""
    oracle = Oracle(device)
    value = {name: oracle.parameter(0, name) for name in ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref")}
    swing = value["v_th"] - value["v_reset"]
    limits = device.capabilities
    return Neurons(
        value["tau_mem"], value["tau_syn"], (value["v_leak"] - value["v_reset"]) / swing, value["t_ref"],
        np.full(len(swing), limits.latency * limits.speedup), oracle.weight(0) / swing[:, None],
    )  # fmt: skip


def errors(found: Neurons, true: Neurons) -> np.ndarray:
    """``[n, 5]``: of logarithms of time constants, of the leak (swing), of t_ref and latency (s)."""
    return np.stack(
        [
            np.log(found.tau_mem / true.tau_mem), np.log(found.tau_syn / true.tau_syn), found.leak - true.leak,
            found.t_ref - true.t_ref, found.latency - true.latency,
        ],
        1,
    )  # fmt: skip


def residuals(device: EmulatorDevice, program: Program, sound: np.ndarray, columns: int = 4) -> dict[str, float]:
    """RMS distance of ``sound [n]`` neurons from what ``program`` asks, by the oracle: shares, of the swing for the leak.

    The calibration's own program stays loaded: one layer of all neurons, ``columns`` synapses each.
    """
    targets = targets_of(program, device, "all")
    bench = Bench(device, targets, columns)
    bench.load()
    true, asked = truth(device), targets.values
    off = {name: np.log(getattr(true, name) / asked[name]) for name in ("tau_mem", "tau_syn", "t_ref")}
    off["v_leak"] = true.leak - targets.leak
    off["gain"] = np.log((true.weight / bench.asked_weight).mean(1))
    return {name: float(np.sqrt(np.mean(values[sound] ** 2))) for name, values in off.items()}
