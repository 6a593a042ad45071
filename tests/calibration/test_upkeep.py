"""What follows a re-calibration: the network is loaded again, or moved as little as possible, and trained on where that is needed."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import hwloop as hl
from hwloop.datasets import yin_yang
from hwloop.errors import CalibrationError, InputError, TargetError
from hwloop.experiment import Experiment
from hwloop.losses import Loss
from hwloop.mapping import Program
from hwloop_calibration import Sentinel, Upkeep
from hwloop_calibration.document.renewed import given_up
from hwloop_calibration.drift import sentinel as drift
from hwloop_emulator import EmulatorDevice

from .support import opened, preset


@dataclass(frozen=True)
class Deployed:
    """A twin-trained network on a calibrated chip of 24 neurons, of which it needs 15."""

    device: EmulatorDevice
    twin: hl.Network
    program: Program
    calibration: hl.Calibration
    task: hl.Task
    loss: Loss

    def upkeep(self, **options: object) -> Upkeep:
        return Upkeep(copy.deepcopy(self.twin), self.device, self.program, self.task, self.loss, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def deployed() -> Deployed:
    task = yin_yang(sizes=(400, 200, 50))
    generator = torch.Generator().manual_seed(2)
    first = hl.Dense(5, 12, generator=generator).init_normal_(0.8, 1.2, generator)
    second = hl.Dense(12, 3, generator=generator).init_normal_(1.0, 0.5, generator)
    net = hl.Network([first, hl.LIF(12, 10e-3, 5e-3, t_ref=2e-3), second, hl.LIF(3, 10e-3, 5e-3, t_ref=2e-3)])
    device = opened(preset(24, dead=0.0), 4)
    calibration = hl.calibrate(device, hl.compile(net, device), neurons="all", repeats=8)
    loss = Experiment.load("demo-quick").build_loss()
    twin = net.with_twin(calibration)
    hl.fit(twin, task, loss, epochs=6, lr=1e-2, batch_size=20, clip_norm=1.0, progress=False)
    program = hl.deploy(twin, device, validation=task.validation)
    # three classes: it has learnt something, so that what follows can be lost
    assert hl.measure(device, task.validation).accuracy > 0.55
    return Deployed(device, twin, program, calibration, task, loss)


def _neurons(program: Program) -> list[int]:
    return [int(n) for layer in program.layers for n in layer.neurons]


def test_where_nothing_is_masked_the_same_program_is_loaded_and_nothing_trained(deployed: Deployed) -> None:
    upkeep = deployed.upkeep(margin=0.5)
    before = upkeep.net.state_dict()
    done = upkeep.follow(deployed.calibration)
    assert (done.action, done.moved, done.epochs, done.best_epoch) == ("reload", {}, 0, 0)
    assert done.program.digest == deployed.program.digest == deployed.device.program.digest  # type: ignore[union-attr]
    assert all(torch.equal(before[name], value) for name, value in upkeep.net.state_dict().items())
    assert upkeep.history == [done]


def test_only_the_masked_neuron_moves_and_what_acts_on_the_network_stays(deployed: Deployed) -> None:
    upkeep = deployed.upkeep(margin=0.9)
    acting = upkeep.net.blocks[0][0].acting_weight().detach().clone()
    done = upkeep.follow(given_up(deployed.calibration, [3], "silent"))
    free = [n for n in range(24) if n not in _neurons(deployed.program) and deployed.calibration.verdict[n] == "pass"]
    assert done.action == "move"
    assert done.moved == {3: free[0]}
    assert _neurons(done.program) == [free[0] if n == 3 else n for n in _neurons(deployed.program)]
    assert deployed.device.program is not None
    assert deployed.device.program.digest == done.program.digest
    # the twin is that of the new place, and its weights make up for the other synapses
    now = upkeep.net.blocks[0][0]
    assert not torch.equal(now.weight, deployed.twin.blocks[0][0].weight)
    limit = torch.as_tensor(done.program.layers[0].largest_weight(), dtype=now.weight.dtype)
    inside = now.weight.detach().abs() < limit * (1 - 1e-6)  # what the codes do not reach is at their end
    assert inside.float().mean() > 0.9
    torch.testing.assert_close(now.acting_weight()[inside], acting[inside], rtol=1e-5, atol=1e-6)
    hidden, mismatch = deployed.twin.blocks[0][1].mismatch, upkeep.net.blocks[0][1].mismatch
    assert hidden is not None
    assert mismatch is not None
    assert torch.equal(hidden[..., :3], mismatch[..., :3])
    assert not torch.equal(hidden[..., 3], mismatch[..., 3])


def test_training_ends_where_validation_on_the_device_gains_no_more_and_the_best_is_kept(deployed: Deployed) -> None:
    upkeep = deployed.upkeep(margin=0.0, epochs=9, patience=2, repeats=2)
    upkeep.reference = 2.0  # out of reach: patience alone ends it
    done = upkeep.follow(deployed.calibration)
    assert done.validation[done.best_epoch] == max(done.validation)
    assert done.epochs == min(done.best_epoch + 2, 9)
    assert done.program.digest == hl.compile(upkeep.net, deployed.device, like=deployed.program).digest
    assert deployed.device.program is not None
    assert deployed.device.program.digest == done.program.digest
    # once the reference is reached nothing more is trained
    upkeep.reference = 0.0
    assert upkeep.follow(deployed.calibration).epochs == 0


def test_a_network_that_finds_no_free_neuron_is_refused_and_stays_as_it_is(deployed: Deployed) -> None:
    upkeep = deployed.upkeep()
    few = given_up(deployed.calibration, [2, *range(15, 24)], "silent: never fired")
    with pytest.raises(
        CalibrationError, match=r"1 neurons .*2: cannot be .*silent.*and 0 sound calibrated ones are free"
    ):
        upkeep.follow(few)
    assert upkeep.program.digest == deployed.program.digest
    assert upkeep.history == []


@pytest.mark.parametrize(
    "options, match", [({"patience": 0}, "patience = 0"), ({"margin": 2.0}, "margin = 2.0"), ({"lr": 0.0}, "lr = 0.0")]
)
def test_options_out_of_range_are_refused(deployed: Deployed, options: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        deployed.upkeep(**options)


def test_a_program_of_another_network_is_refused(deployed: Deployed) -> None:
    other = hl.Network([hl.Dense(5, 4), hl.LIF(4, 10e-3, 5e-3), hl.Dense(4, 3), hl.LIF(3, 10e-3, 5e-3)])
    with pytest.raises(InputError, match=r"layers of \[4, 3\], the program layers of \[12, 3\]"):
        Upkeep(other, deployed.device, deployed.program, deployed.task, deployed.loss)


# -- with the sentinel ----------------------------------------------------------------------------


def _broken(*args: object, **options: object) -> hl.Calibration:
    raise TargetError("1 of 1 neurons cannot be calibrated (1 silent)")


def _watched(deployed: Deployed, monkeypatch: pytest.MonkeyPatch, upkeep: Upkeep) -> Sentinel:
    """A sentinel whose first check finds neuron 3, which then cannot be calibrated."""
    deployed.device.calibration = deployed.calibration
    deployed.device.load(deployed.program)
    sentinel = Sentinel(deployed.device, deployed.calibration, deployed.program, upkeep=upkeep)
    monkeypatch.setattr(drift, "calibrate", _broken)
    check, first = sentinel.check, [(3,)]

    def found() -> drift.Check:
        return drift.Check(first.pop() if first else (), *(getattr(check(), k) for k in ("z", "level", "device_time")))

    monkeypatch.setattr(sentinel, "check", found)
    return sentinel


def test_a_neuron_that_cannot_be_calibrated_anew_is_masked_and_the_network_moves(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentinel = _watched(deployed, monkeypatch, deployed.upkeep(margin=0.9))
    done = sentinel.tend()
    assert done.followed is not None
    assert done.followed.action == "move"
    assert list(done.followed.moved) == [3]
    assert done.calibration.mask == (*(n for n in deployed.calibration.mask), 3)
    assert "1 of 1 neurons cannot" in done.calibration.reasons["3"]
    assert sentinel.tend().followed is None


def test_a_device_that_answers_differently_as_a_whole_is_not_blamed_on_a_neuron(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentinel = _watched(deployed, monkeypatch, deployed.upkeep(margin=0.9))
    deployed.device.temperature = 20.0
    try:
        with pytest.raises(TargetError, match="1 of 1 neurons"):
            sentinel.recalibrate([3])
    finally:
        deployed.device.temperature = 0.0
    assert sentinel.calibration is deployed.calibration


def test_fine_tuning_goes_on_where_the_sentinel_moved_the_network(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    upkeep = deployed.upkeep()
    sentinel = _watched(deployed, monkeypatch, upkeep)
    options = {
        "epochs": 2, "lr": 1e-3, "batch_size": 50, "progress": False, "weight_scale": list(deployed.program.scales),
        "checkpoint_dir": tmp_path,
    }  # fmt: skip
    result = hl.finetune(
        upkeep.net, deployed.device, deployed.task, deployed.loss, on_epoch=sentinel.on_epoch, **options
    )
    moved = _neurons(result.program)
    assert 3 not in moved
    assert len(set(moved)) == 15
    assert result.best_epoch >= 1  # epoch 0 stood elsewhere
    assert deployed.device.program is not None
    assert deployed.device.program.digest == result.program.digest
    again = hl.finetune(
        copy.deepcopy(upkeep.net), deployed.device, deployed.task, deployed.loss, resume=True, **options
    )
    assert _neurons(again.program) == moved
    assert again.best_validation == result.best_validation
    assert result.best_validation.accuracy > 0.5
