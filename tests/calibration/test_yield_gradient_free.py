"""The gradient-free loop follows the slope of what it measures, and keeps the best it found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import InputError
from hwloop.experiment import Experiment
from hwloop.losses import Loss
from hwloop.record import Record
from hwloop_calibration.yield_.gradient_free import _Search, perturbed


class Quadratic(Loss):
    """A loss of the weights alone, whose slope is known: the search's arithmetic without any spike."""

    def __call__(self, net: hl.Network, record: Record, labels: torch.Tensor) -> torch.Tensor:
        """Half the squared norm of all weights."""
        return sum((0.5 * dense.weight.square().sum() for dense, _ in net.blocks), torch.zeros(()))


@pytest.fixture(scope="module")
def small() -> tuple[Experiment, hl.Network]:
    experiment = Experiment.load("yin-yang").changed(
        network={"hidden": [12]}, training={"epochs": 6, "averaging": 0.0}, task={"train": 600, "test": 50}
    )
    net = experiment.build_network()
    hl.fit(net, experiment.build_task(), experiment.build_loss(), **experiment.fit_options(), progress=False)
    return experiment, net


def copied(small: tuple[Experiment, hl.Network]) -> hl.Network:
    net = small[0].build_network()
    net.load_state_dict(small[1].state_dict())
    return net


def test_the_estimated_slope_is_that_of_a_quadratic_on_average(small: tuple[Experiment, hl.Network]) -> None:
    net, task = copied(small), small[0].build_task()
    with hl.open("emulator:0", preset="ideal") as chip:
        program = hl.deploy(net, chip, weight_scale="max")
        search = _Search(net, chip, program, Quadratic(), np.random.default_rng(1))
        inputs, labels = task.train.inputs[:2], task.train.labels[:2]
        total = [torch.zeros_like(code, dtype=torch.float64) for code in search.codes]
        for _ in range(300):
            search.slope(inputs, labels, 0.01, 1)
            for sum_, code in zip(total, search.codes, strict=True):
                assert code.grad is not None
                sum_ += code.grad.double() / 300
        found, exact = (torch.cat([x.flatten().double() for x in part]) for part in (total, search.codes))
        # each estimate is the slope plus cross terms of all other weights: variance |w|^2 / 300 for each of them
        error = float((found - exact).norm() / exact.norm())
        assert error == pytest.approx(np.sqrt(len(exact) / 300), rel=0.25)
        assert float((found @ exact) / (exact @ exact)) == pytest.approx(1.0, abs=5 * np.sqrt(2 / 300))


def test_the_search_leaves_no_chip_worse_and_its_best_there(small: tuple[Experiment, hl.Network]) -> None:
    net, task = copied(small), small[0].build_task()
    with hl.open("emulator:2", preset="bss2", session=1) as chip:
        hl.deploy(net, chip, validation=task.validation)
        before = hl.measure(chip, task.validation, repeats=3).accuracy
        result = perturbed(net, chip, task, steps=10, batch_size=100)
        after = hl.measure(chip, task.validation, repeats=3).accuracy
        assert chip.program is not None  # type: ignore[attr-defined]
        assert chip.program.digest == result.program.digest  # type: ignore[attr-defined]
    assert [samples for samples, _ in result.history] == [400 * k for k in range(1, 11)]
    assert result.best_validation.accuracy >= max(accuracy for _, accuracy in result.history)
    # the start is among what it chooses from; 1,000 validation samples: the choice is good to some 3 points
    assert after > before - 0.05


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps = 0; allowed: a whole number >= 1"),
        ({"directions": 1.5}, "directions = 1.5"),
        ({"size_lsb": 0.0}, r"size_lsb = 0.0.*allowed: > 0 \(weight codes\)"),
    ],
)
def test_options_out_of_range_are_refused(
    small: tuple[Experiment, hl.Network], options: dict[str, float], message: str
) -> None:
    with hl.open("emulator:0", preset="bss2") as chip, pytest.raises(InputError, match=message):
        perturbed(copied(small), chip, small[0].build_task(), **options)  # type: ignore[arg-type]
