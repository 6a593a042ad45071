"""The twin of a graph: every synapse of a shared weight has a factor of its own, and loops act as the chip's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.errors import CalibrationError, InputError
from hwloop.training.loop_state import weights_of
from hwloop_calibration.twin import is_twin

from .support import opened, preset, quiet

TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def dense(n_in: int, n_out: int, mean: float, seed: int) -> hl.Dense:
    return hl.Dense(n_in, n_out).init_normal_(mean, abs(mean) / 3, torch.Generator().manual_seed(seed))


def maps(kind: Any = hl.LIF) -> hl.Network:
    """A convolution into a population that drives itself, and an output that sees both it and the input."""
    conv = hl.Conv2d(1, 2, 2).init_normal_(1.8, 0.5, torch.Generator().manual_seed(0))
    return hl.Network.graph(
        {"in": hl.Input((1, 3, 3)), "maps": hl.LIF((2, 2, 2), **TAUS), "out": kind(2, **TAUS)},
        [
            hl.Projection("in", "maps", conv),
            hl.Projection("maps", "maps", dense(8, 8, -0.1, 1)),
            hl.Projection("maps", "out", dense(8, 2, 0.6, 2)),
            hl.Projection("in", "out", dense(9, 2, 0.3, 3)),
        ],
    ).double()


def spikes(samples: int = 20) -> hl.Spikes:
    first = torch.rand((samples, 9), generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 0.02
    return hl.Spikes.from_first_times(first, t_stop=0.08)


def test_the_twin_of_a_graph_is_the_chip_spike_for_spike() -> None:
    chip = quiet(preset(12, dac_integral=0.0, dac_differential=0.0, dead=0.0))
    device, net = opened(chip, 2, trial_noise=False), maps()
    program = hl.compile(net, device)
    calibration = hl.calibrate(device, program, repeats=4)
    device.load(program)
    twin = net.with_twin(calibration, program)
    assert is_twin(twin)
    assert not is_twin(net)
    given = spikes()
    weights = weights_of(twin)
    with torch.no_grad(), weights.holding(weights.held(program)):
        simulated = twin(given)
    measured = device.run(given)
    for ours, theirs in zip(simulated.populations, measured.populations, strict=True):
        assert torch.equal(ours.unit_counts(), theirs.unit_counts())
        assert (ours.times - theirs.times)[ours.valid].abs().max() < 2e-5
    assert not torch.equal(net(given)["maps"].times, simulated["maps"].times)
    assert hl.compile(twin, device).digest == program.digest
    factors = twin.structure.links[0].composition.transmission
    assert factors is not None
    assert len(factors.mismatch.unique()) > 16  # of 8 weights
    twin(given).output.first_times().clamp(max=1.0).sum().backward()
    assert all(bool(tensor.grad.abs().sum() > 0) for tensor in weights.tensors[:1])  # type: ignore[union-attr]


def test_what_is_calibrated_for_current_based_neurons_alone_says_so() -> None:
    device = opened(quiet(preset(12)), 2)

    def counter(n: int, **_: float) -> hl.IF:
        return hl.IF(n)

    target = hl.open("emulator:0", preset="ideal")
    program = hl.compile(maps(counter), target)
    with pytest.raises(InputError, match="calibrate for a network of LIF"):
        hl.calibrate(target, program)
    calibration = hl.calibrate(device, hl.compile(maps(), device), repeats=4, synapses=False, trim=False)
    with pytest.raises(CalibrationError, match="build it of LIF"):
        maps(counter).with_twin(calibration)
