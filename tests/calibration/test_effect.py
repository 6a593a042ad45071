"""What calibrating does to answers: how sure it is, and reasons that the data show, where it lowers an accuracy too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.compare import Comparison, compare
from hwloop.datasets import Dataset
from hwloop.device.deploy import measure_samples
from hwloop.errors import InputError
from hwloop.mapping import Program
from hwloop_calibration.characterise.model import Array
from hwloop_calibration.document.effect import Effect, effect_of
from hwloop_calibration.document.report import calibration_report

from .conftest import Calibrated
from .support import network, opened, preset

SAMPLES, RUNS = 80, 3


@dataclass(frozen=True)
class State:
    """A chip in one state: shares of right runs, its program, its spikes against the simulated ones."""

    right: Array
    program: Program
    comparison: Comparison


def measured(device: hl.Device, data: Dataset) -> State:
    net = network()
    program = hl.compile(net, device)
    device.load(program)
    _, right = measure_samples(device, data, repeats=RUNS)
    with torch.no_grad():
        found = compare(net(data.inputs), device.run(data.inputs), net=net, labels=data.labels)
    return State(right.numpy(), program, found)


@pytest.fixture(scope="module")
def states(calibrated: Calibrated) -> tuple[State, State]:
    """The chip as is, and calibrated, on samples whose labels are what the simulated network says."""
    generator = np.random.default_rng(3)
    samples = [(np.sort(generator.uniform(0, 20e-3, 12)), generator.integers(0, 4, 12)) for _ in range(SAMPLES)]
    inputs = hl.Spikes.from_events(samples, 4, 60e-3, dtype=torch.float64)
    with torch.no_grad():
        labels = hl.losses.predict(network()(inputs)).clamp(min=0)
    data = Dataset(inputs, labels)
    as_is, trimmed = opened(preset(48), 5), opened(preset(48), 5)
    trimmed.apply(calibrated.calibration)
    return measured(as_is, data), measured(trimmed, data)


def effect(calibration: hl.Calibration, before: State, after: State) -> Effect:
    programs, comparisons = (before.program, after.program), (before.comparison, after.comparison)
    return effect_of(calibration, (before.right, after.right), programs, comparisons, RUNS)


def swapped(calibration: hl.Calibration) -> hl.Calibration:
    """The document of a calibration that turned this chip from what it is now into what it was."""
    spread = {
        name: found.model_copy(update={"before": found.after, "after": found.before})
        for name, found in calibration.spread.items()
    }
    return calibration.model_copy(
        update={"before": calibration.estimates, "estimates": calibration.before, "spread": spread}
    )


def test_a_chip_that_is_trimmed_answers_better_and_no_reason_is_sought(
    calibrated: Calibrated, states: tuple[State, State]
) -> None:
    found = effect(calibrated.calibration, *states)
    assert (found.before, found.after) == pytest.approx([state.right.mean() for state in states])
    assert found.after > found.before
    assert not found.lower
    change = states[1].right - states[0].right
    assert found.error == pytest.approx(change.std(ddof=1) / math.sqrt(SAMPLES))
    (sentence,) = found.sentences()
    assert sentence.startswith(f"Calibrating emulator:5/bss2 raised its accuracy by {100 * change.mean():.1f} points")
    assert f"on {SAMPLES} test samples, {RUNS} runs each; emulator" in sentence


def test_where_it_lowers_an_accuracy_the_report_says_how_sure_that_is_and_what_got_worse(
    calibrated: Calibrated, states: tuple[State, State]
) -> None:
    calibration = swapped(calibrated.calibration)
    found = effect(calibration, states[1], states[0])
    assert found.lower
    assert found.sure
    assert found.lost - found.won == round(sum((states[1].right > 0.5).astype(int) - (states[0].right > 0.5)))
    for name, spread in calibrated.calibration.spread.items():
        if spread.after < spread.before:
            assert any(text.startswith(f"{name} spreads by {100 * spread.before:.2f} %") for text in found.worse)
    for layer in (0, 1):
        far, near = (state.comparison.populations[layer].rmse for state in states)
        assert far is not None
        assert near is not None
        assert far > near
        assert any(text.startswith(f"spikes of layer {layer} are ") for text in found.worse)
    page = calibration_report(calibration, effect=found).html()
    for text in ("lowered its accuracy by", "more than the choice of test samples explains", "What got worse: "):
        assert text in page


def test_a_loss_within_the_sampling_error_is_called_that(calibrated: Calibrated, states: tuple[State, State]) -> None:
    right = np.ones(SAMPLES)
    worse = right.copy()
    worse[:3] = [0.0, 1 / 3, 2 / 3]
    found = effect_of(
        calibrated.calibration, (right, worse), (states[0].program, states[1].program),
        (states[0].comparison, states[1].comparison), RUNS,
    )  # fmt: skip
    assert found.lower
    assert found.sure == (1.96 * (right - worse).std(ddof=1) / math.sqrt(SAMPLES) < 2 / SAMPLES)
    assert not found.sure
    assert (found.lost, found.won) == (2, 0)
    assert found.unsteady == pytest.approx(2 / SAMPLES)
    said = " ".join(found.sentences())
    assert "lies within the sampling error" in said
    assert "trial noise alone changes 2.5 % of the answers" in said
    # here trimming worked, and the report does not claim otherwise
    assert any("spreads by" in text for text in found.better)


def test_samples_that_are_close_calls_in_simulation_are_called_that(
    calibrated: Calibrated, states: tuple[State, State]
) -> None:
    first = states[0].comparison.simulated.output.first_times().double()
    times = torch.where(torch.isfinite(first), first, 60e-3).sort(1).values
    margin = (times[:, 1] - times[:, 0]).numpy()
    order = np.argsort(margin)

    def losing(samples: Array) -> str:
        right, worse = np.ones(SAMPLES), np.ones(SAMPLES)
        worse[samples] = 0.0
        programs, comparisons = [tuple(getattr(s, name) for s in states) for name in ("program", "comparison")]
        return " ".join(effect_of(calibrated.calibration, (right, worse), programs, comparisons, RUNS).other)

    assert "the 5 answers lost are close calls" in losing(order[:5])
    assert "close calls" not in losing(order[-5:])


def test_neurons_that_had_to_be_left_and_coarser_weights_are_named(
    calibrated: Calibrated, states: tuple[State, State]
) -> None:
    device = opened(preset(48), 5)
    coarse = [2 * scale for scale in states[0].program.scales]
    moved = hl.compile(network(), device, mask=[0, 3], weight_scale=coarse)
    document = calibrated.calibration.model_copy(update={"reasons": {"0": "silent", "3": "silent"}})
    found = effect(document, states[0], State(states[1].right, moved, states[1].comparison))
    assert (
        "11 of 11 neurons of the network stand on other neurons of the chip, since 2 are of no use (2 silent)"
        in found.other
    )
    assert not any("stand on other neurons" in text for text in effect(document, *states).other)
    assert any("rounded more coarsely" in text and f"{coarse[0]:.4g} instead of" in text for text in found.worse)


def test_a_network_that_was_fine_tuned_on_the_chip_as_it_was_is_named_as_such(
    calibrated: Calibrated, states: tuple[State, State]
) -> None:
    programs, comparisons = [tuple(getattr(s, name) for s in states) for name in ("program", "comparison")]
    right = (states[1].right, states[0].right)
    plain, tuned = (
        effect_of(calibrated.calibration, right, programs, comparisons, RUNS, tuned=tuned) for tuned in (False, True)
    )
    words = "fine-tuned on this chip as it was before"
    assert words in " ".join(tuned.sentences())
    assert words not in " ".join(plain.sentences())


def test_other_samples_are_refused(calibrated: Calibrated, states: tuple[State, State]) -> None:
    with pytest.raises(InputError, match="80 samples as is, of 79 calibrated"):
        effect(calibrated.calibration, states[0], State(states[1].right[:79], states[1].program, states[1].comparison))
    assert effect(calibrated.calibration, *states).samples == 80
