"""Networks in steps: remedies that are followed and work, losses that are told, a refused write that changes nothing."""

from __future__ import annotations

import re
import warnings
from typing import Any

import pytest
import torch

from hwloop import rules
from hwloop.errors import CompileError, CompileWarning
from hwloop.rules.steps.deployment import open_network
from hwloop_loihi.step_codes import MOST_WEIGHTS, dense_weight
from hwloop_loihi.step_device import EmulatedStepDevice

from .test_soft_device import spide_net, spikegrad_net
from .test_step_device import hm2bp, na, values


def refused(net: rules.StepNetwork) -> CompileError:
    with pytest.raises(CompileError) as caught:
        open_network(net, "loihi")
    return caught.value


@pytest.mark.parametrize(
    ("build", "tau"),
    [(hm2bp, 60.0), (hm2bp, 3000.0), (hm2bp, 5000.0), (hm2bp, 1e6), (na, 3.0), (na, 1.2)],
)
def test_a_decay_is_mended_by_the_power_of_two_that_is_named(build: Any, tau: float) -> None:
    found = re.fullmatch(r"build its neurons with tau_m a power of two, e.g. (\d+)", refused(build(tau_m=tau)).fix)
    assert found is not None
    open_network(build(tau_m=float(found[1])), "loihi")


def test_the_refractory_time_and_several_hidden_populations_are_mended_as_said() -> None:
    assert refused(hm2bp(t_ref=2)).fix == "build LeakyNeurons with t_ref=0 and train it so"
    open_network(hm2bp(t_ref=0), "loihi")


@pytest.mark.parametrize("quantum", [1e-6, 1e-3, 1.9e-3])
def test_the_quantum_that_is_named_fits(quantum: float) -> None:
    found = re.search(r"a quantum of (\S+) or more", refused(spide_net(quantum=quantum)).fix)
    assert found is not None
    open_network(spide_net(quantum=float(found[1])), "loihi")
    assert refused(spide_net(quantum=0.49 * float(found[1])))


@pytest.mark.parametrize("theta", [1e-7, 1e-4])
def test_the_theta_that_is_named_fits(theta: float) -> None:
    for _ in range(3):  # a message for each population
        try:
            open_network(spikegrad_net(theta=theta), "loihi")
        except CompileError as error:
            found = re.search(r"raise theta to (\S+) or more", error.fix)
            assert found is not None
            assert float(found[1]) > theta
            theta = float(found[1])
        else:
            return
    raise AssertionError("the remedy leads nowhere")


def test_maps_of_the_size_that_is_named_are_written_out() -> None:
    class Stage:
        name, n_in, n_out = "stage 0", 10_001, 5_000

    with pytest.raises(CompileError, match=f"inputs times neurons up to {MOST_WEIGHTS}"):
        dense_weight(Stage())  # type: ignore[arg-type]


# -- losses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [hm2bp, na, spikegrad_net], ids=["hm2bp", "na", "spikegrad"])
def test_an_outlier_is_told_and_clipping_as_said_keeps_the_rest(build: Any) -> None:
    net = build()
    stage = net.stages[0] if net.rule != "na" else net.stages[1]
    with torch.no_grad():
        stage.connection.weight[0, 0] = 300.0
    with pytest.warns(CompileWarning, match=r"weights became 0, since the largest, 300, sets the scale") as told:
        open_network(net, "loihi", **({"spikes": "signed"} if net.rule == "spikegrad" else {}))
    found = re.search(r"clip them to (\S+) \(tried\)", str(told[0].message))
    assert found is not None
    with torch.no_grad():
        stage.connection.weight.clamp_(-float(found[1]), float(found[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_network(net, "loihi")


def test_writing_in_the_loop_is_silent() -> None:
    net = hm2bp()
    device = EmulatedStepDevice(net, "loihi")
    with torch.no_grad():
        net.stages[0].connection.weight[0, 0] = 300.0
    device.write(net)


# -- state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [hm2bp, na], ids=["hm2bp", "na"])
def test_a_refused_write_leaves_the_network_that_is_held(build: Any) -> None:
    net = build()
    with open_network(net, "loihi") as chip:
        before, held, layers = chip.run(values()), chip.device.net, chip.device.layers
        with pytest.raises(CompileError):
            chip.device.write(build(tau_m=60.0))
        assert chip.device.net is held
        assert chip.device.layers is layers
        assert torch.equal(chip.run(values()).readout, before.readout)


def test_a_refused_write_leaves_the_soft_network_that_is_held() -> None:
    net = spide_net()
    with open_network(net, "loihi") as chip:
        held, codes = chip.device.net, chip.device.codes
        with pytest.raises(CompileError):
            chip.device.write(spide_net(quantum=1e-6))
        assert (chip.device.net, chip.device.codes) == (held, codes)


@pytest.mark.parametrize("build", [hm2bp, na, spide_net, spikegrad_net])
def test_a_run_is_of_the_weights_that_were_written_whatever_trains_on(build: Any) -> None:
    net = build()
    given = values(6, net.n_in)
    with open_network(net, "loihi") as chip:
        before = chip.run(given)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(1.5)
        after = chip.run(given)
        assert torch.equal(before.readout, after.readout)
        chip.device.write(net)
        assert not torch.equal(chip.run(given).readout, before.readout)
