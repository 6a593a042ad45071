"""Sequential repeats: the error rates that are stated hold, only unsure samples run again, one run is what it was."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.class_scores import class_scores
from hwloop.datasets import Dataset
from hwloop.device.repeats import UntilSure, affordable_lead, chosen_lead, decide, lead_of, replayed_error, sure_on
from hwloop.errors import InputError
from hwloop.losses import predict
from hwloop.record import Recording
from hwloop.spikes import Spikes

from .loop_runs import network

#: Samples of a synthetic device; errors of shares are stated beside each tolerance.
N = 5000


class Noisy:
    """A device of two classes: the second fires at .5 s, the first earlier by ``mean [n]``, normal noise ``sigma`` (s) each run.

    The samples are told apart by the time of their one input spike, in units of 1e-6 s.
    """

    device_id = "synthetic"

    def __init__(self, mean: torch.Tensor, sigma: float, lost: float = 0.0, seed: int = 0) -> None:
        self.mean, self.sigma, self.lost = mean.double(), sigma, lost
        self.rng = np.random.default_rng(seed)
        self.ran: list[int] = []

    def run(self, spikes: Spikes, *, repeats: int = 1) -> Recording:
        rows = torch.round(spikes.times[:, 0] * 1e6).long().repeat(repeats)
        self.ran.append(len(rows))
        first = 0.5 - self.mean[rows] - torch.from_numpy(self.rng.normal(0, self.sigma, len(rows)))
        first = torch.where(torch.from_numpy(self.rng.random(len(rows)) < self.lost), math.inf, first)
        both = torch.stack([first, torch.full_like(first, 0.5)], 1)
        times, units = both.sort(1)
        counts = torch.isfinite(times).sum(1)
        return Recording((Spikes.trusted(times, torch.where(torch.isfinite(times), units, 0), counts, 2, 1.0),))


def samples(n: int) -> Spikes:
    times = 1e-6 * torch.arange(n, dtype=torch.float64)[:, None]
    return Spikes.trusted(times, torch.zeros_like(times, dtype=torch.int64), torch.ones(n, dtype=torch.int64), 1, 1.0)


# -- error rates in closed form ---------------------------------------------------------------------


@pytest.mark.parametrize(("agreement", "error"), [(0.7, 0.01), (0.6, 0.05), (0.9, 0.01)])
def test_votes_err_and_take_as_long_as_the_ruin_of_a_gambler(agreement: float, error: float) -> None:
    rule = UntilSure.by_votes(error, agreement=agreement, most=1000)
    odds, lead = agreement / (1 - agreement), int(rule.lead)
    assert odds**lead >= (1 - error) / error > odds ** (lead - 1)
    sigma = 0.1
    shift = sigma * math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * agreement - 1, dtype=torch.float64)))
    device = Noisy(torch.full((N,), shift), sigma)
    found = decide(device, samples(N), rule)
    wrong = 1 / (1 + odds**lead)
    runs = lead / (2 * agreement - 1) * (odds**lead - 1) / (odds**lead + 1)
    share = float((found.decisions == 1).double().mean())
    assert wrong <= error
    assert share == pytest.approx(wrong, abs=4 * math.sqrt(wrong / N))
    deviation = float(found.runs.double().std())
    assert found.mean_runs == pytest.approx(runs, abs=4 * deviation / math.sqrt(N))
    assert not found.unsure.any()


@pytest.mark.parametrize("error", [0.1, 0.01])
@pytest.mark.parametrize("steps", [1.0, 0.2])
def test_scores_err_no_more_often_than_stated_and_as_often_where_no_step_leads_beyond(
    error: float, steps: float
) -> None:
    sigma = 0.02
    shift = steps * sigma
    rule = UntilSure.for_noise(error, noise=sigma, difference=shift, most=1000)
    found = decide(Noisy(torch.full((N,), shift), sigma), samples(N), rule)
    share = float((found.decisions == 1).double().mean())
    deviation = math.sqrt(error / N)
    assert share < error + 4 * deviation
    if (
        steps < 1
    ):  # by what the last run leads beyond the bound, .583 of its noise: D. Siegmund, Sequential Analysis (1985), 10.2
        bound = rule.lead + 0.583 * sigma
        assert share == pytest.approx(1 / (1 + math.exp(2 * shift * bound / sigma**2)), abs=4 * deviation)
        expected = bound / shift * math.tanh(shift * bound / sigma**2)
        spread = float(found.runs.double().std()) / math.sqrt(N)
        assert found.mean_runs == pytest.approx(expected, abs=4 * spread + 0.01 * expected)


def test_a_lead_chosen_on_data_keeps_its_error_on_others() -> None:
    def means(seed: int, n: int) -> torch.Tensor:
        return torch.from_numpy(np.random.default_rng(seed).normal(0, 0.05, n))

    def differs(runs: int | None) -> float:
        found = decide(Noisy(fresh, 0.02, seed=4), samples(N), rule if runs is None else replace(rule, most=runs))
        return float((found.decisions != always.decisions).double().mean())

    error, known, fresh = 0.02, 4000, means(3, N)
    data = Dataset(samples(known), torch.zeros(known, dtype=torch.int64))
    device: Any = Noisy(means(1, known), 0.02, seed=2)
    rule = sure_on(device, data, error, most=20)
    assert (rule.error, rule.most, sum(device.ran)) == (error, 20, known * 20 * 2)
    always = decide(Noisy(fresh, 0.02, seed=9), samples(N), UntilSure(math.inf, 400))
    twenty = decide(Noisy(fresh, 0.02, seed=4), samples(N), UntilSure(math.inf, 20))
    of_twenty = float((twenty.decisions != always.decisions).double().mean())
    # stated for 8,000 replayed answers against 20 runs; 20 runs differ from very many by what they differ
    assert differs(None) < of_twenty + error + 4 * math.sqrt(error / 8000 + error / N)
    assert differs(1) > 2 * differs(None)
    found = decide(Noisy(fresh, 0.02, seed=4), samples(N), rule)
    assert found.mean_runs < 4


def test_the_least_lead_that_keeps_the_error_is_chosen() -> None:
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(8, 3000, 3, generator=g, dtype=torch.float64)
    scores[..., 0] += 1.0
    total = scores.cumsum(0)
    ahead, decided = lead_of(total), total.argmax(2)
    for error in (0.2, 0.1, 0.05):
        lead = chosen_lead(scores, error)
        assert replayed_error(ahead, decided, lead) <= error
        lower = ahead[(ahead > 0) & (ahead < lead)].sort().values
        assert replayed_error(ahead, decided, float(lower[-len(lower) // 100])) > error  # 400 leads are tried
    assert chosen_lead(scores, 0.2) < chosen_lead(scores, 0.1) < chosen_lead(scores, 0.05)
    assert chosen_lead(torch.zeros(3, 5, 2), 0.1) == math.inf  # nobody ever leads


def test_the_largest_lead_that_the_budget_affords_is_chosen_and_keeps_it_on_other_data() -> None:
    def device(seed: int, n: int) -> Any:
        return Noisy(torch.from_numpy(np.random.default_rng(seed).normal(0, 0.05, n)), 0.02, seed=seed + 1)

    data = Dataset(samples(4000), torch.zeros(4000, dtype=torch.int64))
    free, tight = (sure_on(device(1, 4000), data, mean_runs=budget, most=20) for budget in (3.0, 1.5))
    assert free.lead > tight.lead
    assert 0 <= free.error < tight.error < 0.1  # type: ignore[operator]
    for budget, rule in ((3.0, free), (1.5, tight)):
        found = decide(device(5, N), samples(N), rule)
        spread = float(found.runs.double().std()) * math.sqrt(1 / N + 1 / 8000)
        assert found.mean_runs == pytest.approx(budget, abs=4 * spread + 0.02)  # 400 leads are tried
    assert sure_on(device(1, 4000), data, mean_runs=20, most=20).lead == math.inf
    nobody_leads = torch.zeros(4, 5, 2, dtype=torch.float64)
    with pytest.raises(
        InputError, match=r"mean_runs = 2: samples without any lead run 4 times.*allowed: more runs, or a smaller"
    ):
        affordable_lead(nobody_leads, 2)
    assert affordable_lead(nobody_leads, 4) == affordable_lead(nobody_leads[:2], 2) == (math.inf, 0.0)


# -- what runs ----------------------------------------------------------------------------------------


def test_only_samples_that_are_unsure_run_again() -> None:
    mean = torch.tensor([0.3, -0.3, 0.001, 0.3, -0.001])
    device = Noisy(mean, 0.01)
    found = decide(device, samples(5), UntilSure(0.1, 4))
    assert device.ran == [5, 2, 2, 2]
    assert found.runs.tolist() == [1, 1, 4, 1, 4]
    assert found.unsure.tolist() == [False, False, True, False, True]
    assert found.decisions[[0, 1, 3]].tolist() == [0, 1, 0]
    assert found.mean_runs == pytest.approx(11 / 5)


def test_a_lead_that_is_reached_is_enough() -> None:
    device = Noisy(torch.tensor([0.25]), 0.0)
    assert decide(device, samples(1), UntilSure(0.25, 4)).runs.tolist() == [1]
    assert decide(device, samples(1), UntilSure(0.2500001, 4)).runs.tolist() == [2]


def test_an_infinite_lead_averages_all_runs() -> None:
    mean = torch.from_numpy(np.random.default_rng(0).normal(0, 0.02, 500))
    found = decide(Noisy(mean, 0.05, seed=5), samples(500), UntilSure(math.inf, 6))
    same = Noisy(mean, 0.05, seed=5)
    total = sum(class_scores(same.run(samples(500)).output, "first") for _ in range(6))
    assert torch.equal(found.decisions, torch.as_tensor(total).argmax(1))
    assert found.runs.tolist() == [6] * 500


def test_an_event_that_is_lost_once_is_outvoted() -> None:
    device = Noisy(torch.full((4000,), 0.2), 0.01, lost=0.05)
    once = decide(device, samples(4000), UntilSure(0.1, 9))
    votes = decide(device, samples(4000), UntilSure(2, 9, votes=True))
    assert float((once.decisions != 0).double().mean()) == pytest.approx(0.05, abs=4 * math.sqrt(0.05 / 4000))
    assert float((votes.decisions != 0).double().mean()) == pytest.approx(
        0.05**2 / (0.05**2 + 0.95**2), abs=4 * math.sqrt(0.0028 / 4000)
    )


def test_shared_votes_are_the_probabilities_of_a_softmax_and_outvote_what_went_wrong() -> None:
    run = Noisy(torch.tensor([0.1, -0.2]), 0.0).run(samples(2))
    found = UntilSure(1.0, temperature=0.1).scores(run, "first")
    expected = [[1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))], [1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2))]]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12)
    nothing = Recording((Spikes.from_events([([], [])], 2, 1.0, torch.float64),))
    assert UntilSure(1.0, temperature=0.1).scores(nothing, "first").tolist() == [[0.0, 0.0]]
    # one lost event of 9 runs, .5 s late, weighs more than the others together unless votes are bounded
    device = Noisy(torch.full((4000,), 0.02), 0.01, lost=0.05)
    added = decide(device, samples(4000), UntilSure(math.inf, 9))
    shared = decide(device, samples(4000), UntilSure(math.inf, 9, temperature=0.01))
    assert float((added.decisions != 0).double().mean()) > 0.3
    assert float((shared.decisions != 0).double().mean()) < 0.01
    assert sure_on(device, Dataset(samples(500), torch.zeros(500, dtype=torch.int64)), 0.02, temperature=0.01).lead < 3  # type: ignore[arg-type]


def test_a_sample_without_an_answer_runs_again_and_stays_without_one_if_it_never_answers() -> None:
    class Silent(Noisy):
        def run(self, spikes: Spikes, *, repeats: int = 1) -> Recording:
            found = super().run(spikes, repeats=repeats).output
            quiet = torch.zeros_like(found.counts) if len(self.ran) == 1 else found.counts
            late = torch.round(spikes.times[:, 0] * 1e6).long() == 0
            counts = torch.where(late, 0, quiet)
            return Recording((Spikes.from_events(
                [(found.times[k, :c].tolist(), found.units[k, :c].tolist()) for k, c in enumerate(counts.tolist())], 2, 1.0,
                torch.float64,
            ),))  # fmt: skip

    found = decide(Silent(torch.tensor([0.2, 0.2]), 0.01), samples(2), UntilSure(0.05, 5))
    assert found.decisions.tolist() == [-1, 0]
    assert found.runs.tolist() == [5, 2]
    assert found.unsure.tolist() == [True, False]


# -- on a chip ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def validation() -> Dataset:
    return datasets.yin_yang(sizes=(10, 300, 10)).validation


def chip(**options: Any) -> Any:
    device: Any = hl.open("emulator:3", preset="bss2", session=5, **options)
    device.load(hl.compile(network(), device))
    return device


@pytest.mark.parametrize("decision", ["first", "mean", "count", "first:3", "mean:3", "count:3"])
def test_one_run_is_bit_for_bit_what_it_was(validation: Dataset, decision: str) -> None:
    with chip() as first, chip() as second:
        plain = hl.measure(first, validation, decision=decision, batch_size=120)
        found = hl.measure(second, validation, decision=decision, batch_size=120, repeats=UntilSure(1e9, 1))
    with chip() as third:
        runs = [predict(third.run(inputs), decision) for inputs, _ in validation.batches(120)]
    assert torch.equal(found.decisions, torch.cat(runs))
    assert (found.accuracy, found.samples, found.silent) == (plain.accuracy, plain.samples, plain.silent)
    assert found.mean_runs == 1.0


def test_a_chip_is_measured_until_it_is_sure(validation: Dataset) -> None:
    with chip() as device:
        before = device.samples_run
        found = hl.measure(device, validation, repeats=UntilSure(5e-4, 7), batch_size=120)
        assert device.samples_run - before == int(found.runs.sum())
        assert 1.0 < found.mean_runs < 4
        assert not found.deterministic
        counted = hl.measure(device, validation, decision="count", repeats=UntilSure(2, 7))
        assert int(counted.runs.max()) == 7
        rule = sure_on(device, validation, 0.05, most=6)
        assert 0 < rule.lead < math.inf


def test_a_device_without_noise_is_noticed_and_not_run_on(validation: Dataset) -> None:
    with chip(trial_noise=False) as device:
        plain = hl.measure(device, validation)
        found = hl.measure(device, validation, repeats=UntilSure(math.inf, 50))
        assert found.deterministic
        assert found.runs.tolist() == [2] * len(validation)
        assert found.accuracy == plain.accuracy
        with pytest.raises(InputError, match="gives the same spikes in each of 10 runs.*measure once"):
            sure_on(device, validation, 0.01)


# -- refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lead", [0, -1.0, math.nan, True, "2"], ids=str)
def test_a_lead_that_is_none_is_refused(lead: Any) -> None:
    with pytest.raises(InputError, match="lead = .*allowed: > 0"):
        UntilSure(lead)


@pytest.mark.parametrize("most", [0, 1.5, True, 1001], ids=str)
def test_numbers_of_runs_that_are_none_are_refused(most: Any) -> None:
    with pytest.raises(InputError, match="most = "):
        UntilSure(1.0, most)


def test_a_temperature_that_is_none_or_stands_beside_votes_is_refused() -> None:
    for options in ({"temperature": 0.0}, {"temperature": math.nan}, {"temperature": 1e-3, "votes": True}):
        with pytest.raises(InputError, match="temperature = .*allowed: finite and > 0"):
            UntilSure(1.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [0.0, 0.5, math.nan, True], ids=str)
def test_an_error_rate_that_is_none_is_refused(error: Any) -> None:
    with pytest.raises(InputError, match=r"error = .*allowed: 0 < error < \.5"):
        UntilSure.for_noise(error, noise=1.0, difference=1.0)
    with pytest.raises(InputError, match="error = "):
        UntilSure.by_votes(error, agreement=0.7)


def test_other_things_that_make_no_test_are_refused(validation: Dataset) -> None:
    for values in ({"noise": 0.0, "difference": 1.0}, {"noise": 1.0, "difference": math.inf}):
        with pytest.raises(InputError, match="allowed: finite and > 0"):
            UntilSure.for_noise(0.01, **values)
    with pytest.raises(InputError, match=r"agreement = 0\.5"):
        UntilSure.by_votes(0.01, agreement=0.5)
    with chip() as device:
        with pytest.raises(InputError, match="decision = 'maximum' is not of spikes"):
            hl.measure(device, validation, decision="maximum", repeats=UntilSure(1.0))
        with pytest.raises(InputError, match="replays = 0"):
            sure_on(device, validation, 0.01, replays=0)
        for aims in ({}, {"error": 0.01, "mean_runs": 2.0}):
            with pytest.raises(InputError, match="allowed: one of the two"):
                sure_on(device, validation, **aims)
        for runs in (0.5, 11.0, math.nan, True, "2"):
            with pytest.raises(InputError, match="mean_runs = .*allowed: 1 <= mean_runs <= most = 10"):
                sure_on(device, validation, mean_runs=runs)  # type: ignore[arg-type]
