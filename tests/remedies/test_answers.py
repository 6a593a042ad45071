"""Answers under noise: several output neurons a class, margins, and repeats until sure."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import class_scores, losses
from hwloop.datasets import yin_yang
from hwloop.device.repeats import UntilSure, affordable_lead, sure_on
from hwloop.experiment import Experiment
from hwloop.margin_losses import FirstSpikeMargin
from hwloop.spikes import Spikes

from .support import Case, option

TASK = yin_yang(sizes=(20, 10, 10))
SIX = Spikes.from_events([([0.1, 0.2], [0, 4])], 6, 1.0)
KINDS = ("first", "count", "readout", "maximum", "integral", "mean", "first:3", "mean:3", "count:3")


def network(n_out: int = 6) -> hl.Network:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        hl.Dense(5, 8).init_normal_(1.5, 1.0, generator),
        hl.Dense(8, n_out).init_normal_(1.0, 0.5, generator),
    )
    return hl.Network([first, hl.LIF(8, 10e-3, 5e-3), second, hl.LIF(n_out, 10e-3, 5e-3)])


def chip(**options: Any) -> Any:
    device: Any = hl.open("emulator:3", preset="bss2", session=5, **options)
    device.load(hl.compile(network(), device))
    return device


def measured(decision: str, repeats: Any) -> Any:
    with chip() as device:
        return hl.measure(device, TASK.validation, decision=decision, repeats=repeats)


def sure(trial_noise: bool) -> Any:
    with chip(trial_noise=trial_noise) as device:
        return sure_on(device, TASK.validation, 0.1, decision="mean:2", most=2)


def budget(mean_runs: Any, error: Any = None, most: int = 3) -> Any:
    with chip() as device:
        return sure_on(device, TASK.validation, error, mean_runs=mean_runs, decision="mean:2", most=most)


def afforded(mean_runs: float, runs: int) -> Any:
    return affordable_lead(torch.zeros(runs, 5, 2, dtype=torch.float64), mean_runs)


def once() -> Any:
    with chip(trial_noise=False) as device:
        return hl.measure(device, TASK.validation, decision="mean:2", repeats=1)


def fit(neurons: int, decision: str = "mean:2", n_out: int = 6) -> Any:
    loss = losses.FirstSpike(1e-3, neurons)
    return hl.fit(network(n_out), TASK, loss, decision=decision, epochs=1, batch_size=10, progress=False)


def until(**options: Any) -> UntilSure:
    return UntilSure(**{"lead": 1.0, **options})


def of_noise(**options: Any) -> UntilSure:
    return UntilSure.for_noise(**{"error": 0.01, "noise": 1.0, "difference": 1.0, **options})


def of_votes(agreement: float) -> UntilSure:
    return UntilSure.by_votes(0.01, agreement=agreement)


def margin(**options: Any) -> FirstSpikeMargin:
    return FirstSpikeMargin(**{"margin": 1.0, "noise": 1e-3, **options})


def experiment(**loss: Any) -> Experiment:
    return Experiment.load("demo-quick").changed(loss=loss)


def tuned(neurons: int) -> Experiment:
    section = {"decision": "first", "temperature": 1e-3, "neurons": neurons}
    return Experiment.load("demo-quick").changed(loss={"neurons": 3}, finetune={"loss": section})


CASES = [
    option("class_scores.reading", "with several output neurons a class 'first:3', 'mean:3', 'count:3'", class_scores.reading, "decision", "median", *KINDS),
    option("Reading.classes", "allowed: a multiple of {}", lambda neurons: class_scores.class_times(SIX, neurons), "neurons", 4, 3, 2, 6),
    option("class_scores", "has no scores of spikes; allowed: {}", lambda decision: class_scores.class_scores(SIX, decision), "decision", "maximum", "first", "count", "mean"),
    option("check_pool", "allowed: 'mean', 'first'", lambda pool: losses.FirstSpike(1e-3, 3, pool), "pool", "median", "mean", "first"),
    option("FirstSpikeMargin.__post_init__", "{} = {}; allowed: finite and > 0", margin, "noise", 0.0, 1e-9, 1.0),
    Case("check_task", "task {} needs {} and {}", lambda: fit(2, n_out=3), lambda: fit(2, n_out=6)),
    Case("check_loss", "neurons={} in each term of the loss, or a decision such as 'mean:{}'", lambda: fit(1), (lambda: fit(2), lambda: fit(1, "mean:1", 3))),
    option("UntilSure.__post_init__", "allowed: > 0, s or spikes or votes (infinite: always {} runs)", until, "lead", 0.0, 1e-9, math.inf),
    option("UntilSure.__post_init__", "with votes=False, or temperature=None", until, "temperature", 0.0, 1e-9, None),
    option("UntilSure.for_noise", "{} = {}; allowed: finite and > 0 (s or spikes)", of_noise, "noise", math.inf, 1e-9, 1e9),
    option("UntilSure.by_votes", "allowed: .5 < agreement < 1", of_votes, "agreement", 1.0, 0.51, 0.99),
    option("repeats._probability", "allowed: 0 < {} < .5 (a share of the answers)", of_noise, "error", 0.5, 1e-9, 0.49),
    Case("reading_of_spikes", "allowed: 'first', 'mean', 'count', or repeats as a whole number", lambda: measured("readout", until()),
         (lambda: measured("first", until()), lambda: measured("mean:2", until()), lambda: measured("count", until()), lambda: measured("first", 2))),
    Case("sure_on", "measure once, repeats=1", lambda: sure(False), (once, lambda: sure(True))),
    Case("_one_aim", "allowed: one of the two, the other None", lambda: budget(None), (lambda: budget(2.0), lambda: budget(None, 0.1))),
    option("repeats._one_aim", "allowed: 1 <= mean_runs <= most", budget, "mean_runs", 3.5, 2.0, 3.0),
    Case("affordable_lead", "allowed: more runs, or a smaller most", lambda: afforded(2.0, 4), (lambda: afforded(4.0, 4), lambda: afforded(2.0, 2))),
    Case("FirstSpikeLoss._lead_of_noise", "state noise, the s that lead counts in", lambda: experiment(lead_hinge=1.0), lambda: experiment(lead_hinge=1.0, noise=1e-4)),
    Case("Experiment._neurons_a_class", "allowed: as many in both", lambda: tuned(1), lambda: tuned(3)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_message_says_works(case: Case) -> None:
    case.follow()
