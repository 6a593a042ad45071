"""Where a target folds a factor of each neuron into its weights, every loop reckons a code by that neuron's factor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.mapping import Program
from hwloop.mapping.compiler import layer_program, network_values
from hwloop.network import LIF, Dense, Network
from hwloop.training import NoiseModel, NoisyForward, harden
from hwloop_calibration.yield_.gradient_free import _Search

LOSS = losses.FirstSpike(1e-3)
#: Factors of the codes of three neurons.
GAIN = np.array([1.0, 4.0, 0.25])


def network() -> Network:
    net = Network([Dense(4, 3), LIF(3, 10e-3, 5e-3)])
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(
            torch.tensor([[1.0, 0.5, 0.3, 0.2], [4.0, 2.0, 1.0, 0.4], [0.25, 0.1, 0.2, 0.05]])
        )
    return net


@pytest.fixture
def program() -> Program:
    """Of :func:`network`, with the factors above."""
    net = network()
    with hl.open("emulator:0", preset="bss2", mismatch=False) as chip:
        plain = hl.compile(net, chip)
    (values,) = network_values(net)
    layer = layer_program(values, "max", plain.layers[0].neurons, plain.layers[0].max_code, GAIN)
    assert layer.gain is not None
    return replace(plain, layers=(layer,))


def test_a_noisy_step_runs_the_weights_that_the_program_holds(program: Program) -> None:
    net = network()
    forward = NoisyForward(NoiseModel(), program=program)
    weight = forward._weight(0, net.blocks[0][0], hidden=False)
    torch.testing.assert_close(weight.detach(), torch.from_numpy(program.weights()[0]))


def test_hardening_leaves_each_neuron_the_range_of_its_own_codes(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = datasets.yin_yang(sizes=(20, 10, 5))
    net = Network([Dense(5, 3), LIF(3, 10e-3, 5e-3)])
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.from_numpy(np.outer(GAIN, [1.0, 0.5, 0.3, 0.2, 0.6])))
    (values,) = network_values(net)
    layer = layer_program(values, "max", program.layers[0].neurons, 31, GAIN)
    held = replace(program, layers=(layer,))
    monkeypatch.setattr(Program, "with_weights", lambda self, net: self)
    harden(net, held, task, LOSS, NoiseModel(), epochs=1, lr=1e-6, averaging=0.0, progress=False)
    # the weight of full scale of the second neuron is four times, that of the third a quarter of the first one's
    torch.testing.assert_close(
        net.blocks[0][0].weight.detach()[:, 0], torch.from_numpy(GAIN).float(), rtol=1e-3, atol=0
    )
    limit = torch.as_tensor(layer.largest_weight(), dtype=torch.float32)
    assert bool((net.blocks[0][0].weight.detach().abs() <= limit).all())


def test_a_search_in_codes_begins_at_the_codes_of_the_program(program: Program) -> None:
    net = network()

    class Device:
        def load(self, program: Program) -> None:
            self.program = program

    search = _Search(net, Device(), program, LOSS, np.random.default_rng(0))  # type: ignore[arg-type]
    for found, layer in zip(search.codes, program.layers, strict=True):
        np.testing.assert_allclose(found.numpy(), layer.codes, atol=0.5 + 1e-5)
