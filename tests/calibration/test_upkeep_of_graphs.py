"""Upkeep of a graph with a convolution, a loop and a skip connection: as that of a chain, synapse by synapse."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.datasets import yin_yang
from hwloop.errors import InputError, TargetError
from hwloop.experiment import Experiment
from hwloop.mapping import Program
from hwloop_calibration import Sentinel, Upkeep
from hwloop_calibration.document.renewed import given_up
from hwloop_calibration.drift import sentinel as drift

from .graph_network import looped
from .support import opened, preset
from .test_upkeep import Deployed


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    task = yin_yang(sizes=(400, 200, 50))
    net = looped()
    device = opened(preset(24, dead=0.0), 4)
    calibration = hl.calibrate(device, hl.compile(net, device), neurons="all", repeats=8)
    loss = Experiment.load("demo-quick").build_loss()
    twin = net.with_twin(calibration)
    hl.fit(twin, task, loss, epochs=6, lr=1e-2, batch_size=20, clip_norm=1.0, progress=False)
    program = hl.deploy(twin, device, validation=task.validation)
    # three classes: it has learnt something, so that what follows can be lost
    assert hl.measure(device, task.validation).accuracy > 0.5
    return Deployed(device, twin, program, calibration, task, loss)


def neurons(program: Program) -> list[int]:
    return [int(n) for layer in program.layers for n in layer.neurons]


def physical(program: Program, layer: int, neuron: int) -> int:
    return int(program.layers[layer].neurons[neuron])


def largest(program: Program, layer: int) -> float:
    return float(np.min(program.layers[layer].largest_weight()))


def test_where_nothing_is_masked_the_same_program_is_loaded_and_nothing_trained(deployed: Deployed) -> None:
    upkeep = deployed.upkeep(margin=0.5)
    before = {name: value.clone() for name, value in upkeep.net.state_dict().items()}
    done = upkeep.follow(deployed.calibration)
    assert (done.action, done.moved, done.epochs) == ("reload", {}, 0)
    assert done.program.digest == deployed.program.digest == deployed.device.program.digest  # type: ignore[union-attr]
    assert all(torch.equal(before[name], value) for name, value in upkeep.net.state_dict().items())


def test_an_output_that_moves_acts_as_before_by_every_projection_into_it(deployed: Deployed) -> None:
    upkeep = deployed.upkeep(margin=0.9)
    links = upkeep.net.structure.links
    before = [link.composition.weight().detach().clone() for link in links]
    leaving = physical(deployed.program, 1, 2)
    done = upkeep.follow(given_up(deployed.calibration, [leaving], "silent"))
    assert list(done.moved) == [leaving]
    assert deployed.device.program is not None
    assert deployed.device.program.digest == done.program.digest
    assert physical(done.program, 1, 2) == done.moved[leaving]
    moved = 0
    for k, (link, acting) in enumerate(zip(links, before, strict=True)):
        now, asked = link.composition.weight().detach(), link.composition.asked_weight().detach()
        own = torch.from_numpy(link.composition.paths.targets == 2) & torch.tensor(link.target == "out")
        old = deployed.twin.structure.links[k].composition.asked_weight().detach()
        # what the codes do not reach is at their end
        most = largest(done.program, 1)
        inside = own & (asked.abs() < most * (1 - 1e-6))
        assert float(inside[own].float().mean()) > 0.8 if bool(own.any()) else True
        torch.testing.assert_close(now[inside], acting[inside], rtol=1e-5, atol=1e-6)
        stays = old[~own].clamp(-most, most) if link.target == "out" else old[~own]
        torch.testing.assert_close(asked[~own], stays, rtol=1e-6, atol=0.0)
        moved += int((asked[own] != old[own]).sum())
    assert moved > 5


def test_a_shared_weight_takes_the_value_that_is_best_for_all_its_synapses(deployed: Deployed) -> None:
    upkeep = deployed.upkeep(margin=0.9)
    leaving = physical(deployed.program, 0, 1)  # of the first map: its other three positions stay
    composition = upkeep.net.structure.links[0].composition
    acting, old = composition.weight().detach().clone(), composition.asked_weight().detach().clone()
    weight = composition.maps[0].weight
    before = weight.detach().clone()
    upkeep.place(given_up(deployed.calibration, [leaving], "silent"))
    most = largest(upkeep.program, 0)
    assert not torch.equal(weight[0], before[0].clamp(-most, most))
    # the second map did not move
    torch.testing.assert_close(weight[1].detach(), before[1].clamp(-most, most), rtol=1e-6, atol=0.0)

    def error() -> float:
        return float((composition.weight().detach() - acting).square().sum())

    best, inside = error(), [k for k in range(2) if abs(float(weight.detach()[0, 0, 0, k])) < most * (1 - 1e-3)]
    assert inside
    for place in inside:
        for step in (-2e-3, 2e-3):
            with torch.no_grad():
                weight[0, 0, 0, place] += step
                # the bow of the converters is no part of the solution's last digits: the minimum is flat there
                assert error() > best * (1 - 1e-3)
                weight[0, 0, 0, place] -= step
    assert not torch.equal(composition.asked_weight().detach(), old)


def test_the_twin_of_a_graph_is_trained_until_the_device_gains_no_more(deployed: Deployed) -> None:
    upkeep = deployed.upkeep(margin=0.0, epochs=3, patience=1, repeats=1)
    upkeep.reference = 2.0  # out of reach: patience alone ends it
    done = upkeep.follow(given_up(deployed.calibration, [physical(deployed.program, 0, 3)], "silent"))
    assert done.action == "move"
    assert done.validation[done.best_epoch] == max(done.validation)
    assert done.epochs == min(done.best_epoch + 1, 3)
    assert done.program.digest == hl.compile(upkeep.net, deployed.device, like=upkeep.program).digest
    assert deployed.device.program is not None
    assert deployed.device.program.digest == done.program.digest


def test_a_network_that_is_no_twin_is_moved_with_the_weights_that_it_has(deployed: Deployed) -> None:
    plain = looped()
    plain.load_state_dict(deployed.twin.state_dict())
    upkeep = Upkeep(plain, deployed.device, deployed.program, deployed.task, deployed.loss, margin=0.9)
    leaving = physical(deployed.program, 0, 0)
    before = {name: value.clone() for name, value in plain.state_dict().items()}
    done = upkeep.follow(given_up(deployed.calibration, [leaving], "silent"))
    assert list(done.moved) == [leaving]
    assert all(torch.equal(before[name], value) for name, value in plain.state_dict().items())


def test_a_program_of_another_graph_is_refused(deployed: Deployed) -> None:
    chain = hl.Network([hl.Dense(5, 7), hl.LIF(7, 10e-3, 5e-3), hl.Dense(7, 3), hl.LIF(3, 10e-3, 5e-3)])
    with pytest.raises(InputError, match=r"layers of \[7, 3\], the program layers of \[8, 3\]"):
        Upkeep(chain, deployed.device, deployed.program, deployed.task, deployed.loss)


def test_the_sentinel_notices_moves_and_goes_on_in_fine_tuning(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = deployed.upkeep()
    lost = physical(deployed.program, 0, 2)
    deployed.device.calibration = deployed.calibration
    deployed.device.load(deployed.program)
    sentinel = Sentinel(deployed.device, deployed.calibration, deployed.program, upkeep=upkeep)

    def broken(*args: object, **options: object) -> hl.Calibration:
        raise TargetError("1 of 1 neurons cannot be calibrated (1 silent)")

    monkeypatch.setattr(drift, "calibrate", broken)
    check, first = sentinel.check, [(lost,)]

    def found() -> drift.Check:
        return drift.Check(first.pop() if first else (), *(getattr(check(), k) for k in ("z", "level", "device_time")))

    monkeypatch.setattr(sentinel, "check", found)
    result = hl.finetune(
        upkeep.net, deployed.device, deployed.task, deployed.loss, on_epoch=sentinel.on_epoch, epochs=2, lr=1e-3,
        batch_size=50, progress=False, weight_scale=list(deployed.program.scales),
    )  # fmt: skip
    moved = neurons(result.program)
    assert lost not in moved
    assert len(set(moved)) == 11
    assert sentinel.calibration.mask[-1:] == (lost,) or lost in sentinel.calibration.mask
    assert deployed.device.program is not None
    assert deployed.device.program.digest == result.program.digest
    assert copy.deepcopy(upkeep.net).state_dict().keys() == upkeep.net.state_dict().keys()
