"""A chip that holds a network in pieces: each neuron is measured once, and the twin knows which neurons stand on it."""

from __future__ import annotations

import pytest
import torch

import hwloop as hl
from hwloop.errors import InputError
from hwloop.mapping.partition import PartitionedProgram
from hwloop_emulator import EmulatorDevice

from .support import network, opened, preset, quiet

QUICK = {"trim": False, "synapses": False, "repeats": 4}


def conv(tau_mem: float = 10e-3) -> hl.Network:
    """Maps of 2 x 3 x 3 neurons behind images of 4 x 4, and three neurons: more than 12."""
    generator = torch.Generator().manual_seed(5)
    maps = hl.Conv2d(1, 2, 2).init_normal_(1.4, 0.6, generator)
    last = hl.Dense(18, 3, generator=generator).init_normal_(0.3, 0.2, generator)
    taus = {"tau_syn": 5e-3, "t_ref": 2e-3}
    layers = [maps, hl.LIF((2, 3, 3), tau_mem=tau_mem, **taus), hl.Flatten(), last, hl.LIF(3, tau_mem=10e-3, **taus)]
    return hl.Network(layers, in_shape=(1, 4, 4)).double()


def images(samples: int = 30) -> hl.Spikes:
    first = torch.rand((samples, 16), generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 0.02
    return hl.Spikes.from_first_times(first, t_stop=0.08)


def rounded(net: hl.Network, program: hl.Program) -> None:
    """Give ``net`` the weights that the chip holds: their rounding is no part of a calibration."""
    for link, weight in zip(net.structure.links, map(torch.from_numpy, program.weights()), strict=True):
        kernel = next(module for module in link.composition.maps if isinstance(module, (hl.Dense, hl.Conv2d)))
        with torch.no_grad():
            if isinstance(kernel, hl.Dense):
                kernel.weight.copy_(weight)
            else:
                found = kernel.synapses((1, 4, 4))
                kernel.weight.view(-1)[found.parameters] = weight[found.targets, found.sources]


def in_pieces(device: EmulatorDevice, net: hl.Network) -> PartitionedProgram:
    program = hl.compile(net, device, partition=True)
    assert isinstance(program, PartitionedProgram)
    return program


def test_neurons_that_pieces_share_are_calibrated_once() -> None:
    device = opened(preset(6), 3)
    program = in_pieces(device, network(hidden=8, n_out=3))
    assert [layer.neurons.tolist() for layer in program.layers] == [[0, 1, 2, 3, 4, 5, 0, 1], [2, 3, 4]]
    found = hl.calibrate(device, program, **QUICK)
    assert found.neurons == [0, 1, 2, 3, 4, 5]
    device.load(program)
    assert hl.run_on(device, four(2)).calibration_id == found.id


def test_what_a_neuron_that_pieces_share_is_asked_has_to_be_one_thing() -> None:
    device = opened(preset(12), 3)
    with pytest.raises(InputError, match=r"two values of tau_mem of physical neuron 6: 0\.012 and 0\.01; allowed: one"):
        hl.calibrate(device, in_pieces(device, conv(tau_mem=12e-3)), **QUICK)
    apart = conv()
    with torch.no_grad():
        apart.structure.nodes[apart.structure.populations[0]].v_th[2] += 0.1  # type: ignore[operator]
    with pytest.raises(InputError, match="two values of v_th"):
        hl.calibrate(device, in_pieces(device, apart), **QUICK)
    # as the message says: the same parameters
    assert hl.calibrate(device, in_pieces(device, conv()), **QUICK).neurons == list(range(12))


@pytest.mark.parametrize("build", [conv, network], ids=["convolution", "chain"])
def test_without_noise_the_twin_of_a_network_in_pieces_is_the_chip_spike_for_spike(build) -> None:  # type: ignore[no-untyped-def]
    chip = quiet(preset(12 if build is conv else 6, dac_integral=0.0, dac_differential=0.0, dead=0.0))
    device, net = opened(chip, 2, trial_noise=False), build()
    program = in_pieces(device, net)
    calibration = hl.calibrate(device, program, repeats=4)
    rounded(net, program)
    device.load(program)
    inputs = images() if build is conv else four(30)
    with torch.no_grad():
        twin, nominal = net.with_twin(calibration, program)(inputs), net(inputs)
    measured = hl.run_on(device, inputs)
    for k in range(2):
        assert torch.equal(twin[k].unit_counts(), measured[k].unit_counts())
        off = (twin[k].times - measured[k].times)[twin[k].valid].abs()
        # estimates agree to 1e-11; factors are stored with 6 digits, and a slow crossing magnifies 1e-6 of a weight
        assert off.max() < 2e-6
    assert not torch.equal(nominal[0].unit_counts(), measured[0].unit_counts())


def four(samples: int) -> hl.Spikes:
    first = torch.rand((samples, 4), generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 0.02
    return hl.Spikes.from_first_times(first, t_stop=0.08)
