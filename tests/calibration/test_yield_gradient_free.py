"""The gradient-free loop follows the slope of what it measures, and keeps the best it found."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.datasets import yin_yang
from hwloop.errors import InputError
from hwloop.experiment import Experiment
from hwloop.losses import Loss
from hwloop.mapping.held import codes_of, places_of
from hwloop.record import Record
from hwloop.training.loop_state import weights_of
from hwloop_calibration.yield_.gradient_free import _Search, perturbed

from .graph_network import looped


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


# -- graphs ---------------------------------------------------------------------------------------


class Squares(Loss):
    """Half the squared norm of all weights that a device holds, of any network."""

    def __call__(self, net: hl.Network, record: Record, labels: torch.Tensor) -> torch.Tensor:
        """Half the squared norm."""
        return sum((0.5 * value.square().sum() for value in weights_of(net).tensors), torch.zeros(()))


def test_a_weight_of_a_graph_moves_in_codes_of_its_synapses() -> None:
    net = looped()
    with hl.open("emulator:2", preset="bss2", session=1) as chip:
        program = hl.compile(net, chip)
        held = codes_of(net, program)
        assert [id(tensor) for tensor, _, _ in held] == [id(tensor) for tensor in weights_of(net).tensors]
        for (tensor, unit, most), place in zip(held, [place for _, place in places_of(net)], strict=True):
            layer = program.layers[place.layer]
            with torch.no_grad():
                kept = tensor.clone()
                tensor.copy_((unit * 3).expand(tensor.shape))
            codes = program.with_weights(net).layers[place.layer].codes
            columns = slice(place.column, place.column + place.link.composition.n_in)
            synapses = (
                layer.synapses[:, columns] if layer.synapses is not None else np.ones_like(codes[:, columns], bool)
            )
            # three codes of the coarsest synapse: no fewer in any, and the largest saturates none
            assert (codes[:, columns][synapses] >= 3).all()
            with torch.no_grad():
                tensor.copy_((unit * most).expand(tensor.shape))
            largest = program.with_weights(net).layers[place.layer]
            assert (largest.codes[:, columns][synapses] <= layer.max_code).all()
            assert largest.saturated == 0
            with torch.no_grad():
                tensor.copy_(kept)


def test_the_estimated_slope_of_a_graph_is_that_of_a_quadratic_on_average() -> None:
    net, task = looped(), yin_yang(sizes=(20, 10, 10))
    with hl.open("emulator:0", preset="bss2", session=1) as chip:
        program = hl.deploy(net, chip, weight_scale="max")
        search = _Search(net, chip, program, Squares(), np.random.default_rng(1))
        inputs, labels = task.train.inputs[:2], task.train.labels[:2]
        total = [torch.zeros_like(code, dtype=torch.float64) for code in search.codes]
        for _ in range(200):
            search.slope(inputs, labels, 0.01, 1)
            for sum_, code in zip(total, search.codes, strict=True):
                assert code.grad is not None
                sum_ += code.grad.double() / 200
        # d/dcode of 1/2 (code lsb)^2
        exact = [code.double() * lsb.double() ** 2 for code, lsb in zip(search.codes, search._lsb, strict=True)]
        found, wanted = (torch.cat([x.flatten() for x in part]) for part in (total, exact))
        # each estimate is the slope plus cross terms of all other weights: variance |slope|^2 / 200 for each of them
        assert float((found - wanted).norm() / wanted.norm()) == pytest.approx(np.sqrt(len(wanted) / 200), rel=0.3)
        assert float((found @ wanted) / (wanted @ wanted)) == pytest.approx(1.0, abs=5 * np.sqrt(2 / 200))


def test_the_search_takes_a_graph_with_a_loop_a_skip_and_a_convolution() -> None:
    net, task = looped(), yin_yang(sizes=(200, 200, 50))
    with hl.open("emulator:2", preset="bss2", session=1) as chip:
        before = [value.clone() for value in weights_of(net).copies()]
        result = perturbed(net, chip, task, steps=6, batch_size=50)
        assert chip.program is not None  # type: ignore[attr-defined]
        assert chip.program.digest == result.program.digest == hl.compile(net, chip, like=result.program).digest  # type: ignore[attr-defined]
    assert result.best_validation.accuracy >= max(accuracy for _, accuracy in result.history)
    assert [samples for samples, _ in result.history] == [200 * k for k in range(1, 7)]
    # a step is half a code; into codes and back is a rounding. None has moved where the start was the best
    moved = [not torch.allclose(a, b, rtol=1e-5) for a, b in zip(before, weights_of(net).copies(), strict=True)]
    assert all(moved) or not any(moved)
