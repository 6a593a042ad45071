"""Networks in steps: how they are built, what they are given, what is measured in their place, where they are deployed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.rules.hm2bp.step_simulation import forward as hm2bp_forward
from hwloop.rules.na.rule import neurons_of as traced
from hwloop.rules.spide.rule import rate_neurons
from hwloop.rules.spikegrad.rule import neurons_of as signed
from hwloop.rules.steps.input_values import mnist_values

from .data_files import idx_files
from .step_networks import BATCH, DTYPE, HIDDEN, N_IN, N_OUT, STEPS, stepped, timed, values
from .support import Case, option, refused


def network(*layers: torch.nn.Module, in_shape: Any = 4, **options: Any) -> rules.StepNetwork:
    return rules.StepNetwork([*layers], in_shape=in_shape, **{"steps": 3, **options})


def dense(n_in: int = 4, n_out: int = 2) -> list[torch.nn.Module]:
    return [hl.Dense(n_in, n_out), rules.TracedNeurons()]


def of_steps(**options: Any) -> rules.StepNetwork:
    return network(*dense(), **options)


SHARED = rules.TracedNeurons()
FACTOR = torch.nn.Parameter(torch.ones(4))

SHAPES = [
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", of_steps, "steps", 0, 1),
    option("StepNetwork.__init__", "dt = {} s; allowed", of_steps, "dt", 0.0, 5e-324),
    Case("StepNetwork.__init__", "allowed: those of one rule",
         lambda: network(*dense(), hl.Dense(2, 2), rules.RateNeurons()),
         lambda: network(*dense(), hl.Dense(2, 2), rules.TracedNeurons())),
    Case("_check_feedback", "without a hidden population; give it one",
         lambda: network(*dense(), feedback=hl.Dense(2, 2)),
         lambda: network(*dense(), *dense(2, 3), feedback=hl.Dense(2, 2))),
    Case("_check_feedback", "feedback is {} -> {}; the last hidden population has {} neurons, the first {}; build Dense({}, {})",
         lambda: network(*dense(), *dense(2, 3), *dense(3, 2), feedback=hl.Dense(2, 2)),
         lambda said: "build Dense(3, 2)" in said and network(*dense(), *dense(2, 3), *dense(3, 2), feedback=hl.Dense(3, 2))),
    Case("Neurons.place", "build one for each place", lambda: network(hl.Dense(4, 2), SHARED, hl.Dense(2, 2), SHARED),
         lambda: network(*dense(), *dense(2, 2))),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", lambda kernel: rules.Conv2d(1, 1, kernel), "kernel", 0, 1),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", rules.AvgPool, "size", 1, 2),
    Case("_pooled", "windows side by side on maps whose sides they divide",
         lambda: network(rules.AvgPool(2), hl.Dense(9, 2), rules.TracedNeurons(), in_shape=(1, 7, 7)),
         lambda: network(rules.AvgPool(2), hl.Dense(9, 2), rules.TracedNeurons(), in_shape=(1, 6, 6))),
    Case("build_stages", "expected {} here (a stage is pools and Scales, one connection, Scales, neurons)",
         lambda: network(hl.Dense(4, 2), hl.Dense(2, 2), rules.TracedNeurons()),
         lambda: network(hl.Dense(4, 2), rules.TracedNeurons(), hl.Dense(2, 2), rules.TracedNeurons())),
    Case("build_stages", "a network's last layer is a population of neurons", lambda: network(*dense(), hl.Dense(2, 2)),
         lambda: network(*dense(), hl.Dense(2, 2), rules.TracedNeurons())),
    Case("_check_scale", "whose rules train weights and biases alone; give its values: hl.Scale({}, factor.detach())",
         lambda: network(hl.Scale(4, FACTOR), *dense()), lambda: network(hl.Scale(4, FACTOR.detach()), *dense())),
    Case("_out_shape", "build {} without delay", lambda: network(hl.Dense(4, 2, delay=1e-3), rules.TracedNeurons()),
         lambda: network(hl.Dense(4, 2), rules.TracedNeurons())),
    Case("_out_shape", "build {} without bias", lambda: network(hl.Dense(4, 2, bias=True), rules.TracedNeurons()),
         lambda: network(hl.Dense(4, 2), rules.TracedNeurons())),
    Case("Dense.out_shape", "takes {} inputs, the units before it are {}; build Dense({}, ...)",
         lambda: network(*dense(5)), lambda said: network(*dense(int(said.split("Dense(")[1].split(",")[0])))),
    Case("maps_of", "takes maps, (channels, height, width)",
         lambda: network(rules.Conv2d(1, 1, 3), rules.TracedNeurons(), in_shape=25),
         lambda: network(rules.Conv2d(1, 1, 3), rules.TracedNeurons(), in_shape=(1, 5, 5))),
    Case("Conv2d.out_shape", "takes {} channels, the units before it are {}; build Conv2d({}, ...)",
         lambda: network(rules.Conv2d(2, 1, 3), rules.TracedNeurons(), in_shape=(1, 5, 5)),
         lambda said: "build Conv2d(1, ...)" in said and network(rules.Conv2d(1, 1, 3), rules.TracedNeurons(), in_shape=(1, 5, 5))),
    Case("Conv2d.out_shape", "give it larger maps or padding",
         lambda: network(rules.Conv2d(1, 1, 5), rules.TracedNeurons(), in_shape=(1, 4, 4)),
         (lambda: network(rules.Conv2d(1, 1, 5), rules.TracedNeurons(), in_shape=(1, 5, 5)),
          lambda: network(rules.Conv2d(1, 1, 5, padding=1), rules.TracedNeurons(), in_shape=(1, 4, 4)))),
]  # fmt: skip

BYTES = torch.zeros((3, 4), dtype=torch.uint8)
KEYS, CLASSES = torch.arange(3), torch.tensor([0, 1, 1])


def task(n_in: int = 4, n_out: int = 2) -> rules.ValueTask:
    data = rules.ValueSet(BYTES, CLASSES)
    return rules.ValueTask("small", data, data, data, n_in, n_out)


VALUES = [
    Case("Values.__post_init__", "expected [batch >= 1, n >= 1]", lambda: rules.Values(BYTES[0], KEYS[:1]),
         lambda: rules.Values(BYTES[:1, :1], KEYS[:1])),
    Case("Values.__post_init__", "allowed: uint8 (0..255), or a floating type", lambda: rules.Values(BYTES.int(), KEYS),
         (lambda: rules.Values(BYTES, KEYS), lambda: rules.Values(BYTES.float(), KEYS))),
    Case("Values.__post_init__", "expected int64, one a sample", lambda: rules.Values(BYTES, KEYS[:2]),
         lambda: rules.Values(BYTES, KEYS)),
    Case("Values.__post_init__", "values hold inf or NaN; allowed: finite numbers",
         lambda: rules.Values(BYTES / 0.0, KEYS), lambda: rules.Values(BYTES / 1.0, KEYS)),
    Case("Values.dropped", "allowed: 0 <= share < 1", lambda: rules.Values(BYTES, KEYS).dropped(1.0, torch.Generator()),
         (lambda: rules.Values(BYTES, KEYS).dropped(0.0, torch.Generator()),
          lambda: rules.Values(BYTES, KEYS).dropped(1 - 1e-16, torch.Generator()))),
    Case("ValueSet.__post_init__", "expected int64, one for each of {} samples",
         lambda: rules.ValueSet(BYTES, CLASSES[:2]), lambda: rules.ValueSet(BYTES, CLASSES)),
    Case("ValueSet.__post_init__", "allowed: whole numbers >= 0", lambda: rules.ValueSet(BYTES, CLASSES - 1),
         lambda: rules.ValueSet(BYTES, CLASSES)),
    Case("arguments.whole", "{} = {}; allowed: a whole number >= {}", lambda: next(rules.ValueSet(BYTES, CLASSES).batches(0)),
         lambda: next(rules.ValueSet(BYTES, CLASSES).batches(1))),
    Case("ValueTask.__post_init__", "values; the task has {}", lambda: task(n_in=5), lambda: task(n_in=4)),
    Case("ValueTask.__post_init__", "label {}; allowed: 0..{}", lambda: task(n_out=1), lambda: task(n_out=2)),
    Case("ValueTask.subset", "{} samples of {}, {}; allowed: 1..{}", lambda: task().subset(4, 1, 1),
         (lambda: task().subset(3, 1, 1), lambda: task().subset(1, 1, 1))),
]  # fmt: skip


def measure(rule: rules.Rule, net: Any, record: Any) -> Any:
    return rule.forward(net, values(), record)


def counted(*shapes: tuple[int, int]) -> rules.StepRecord:
    counts = tuple(torch.zeros(shape, dtype=DTYPE) for shape in shapes)
    return rules.StepRecord(None, torch.zeros(BATCH, N_OUT, dtype=DTYPE), values(), 1e-3, counts=counts)


def rasters(*sizes: int, steps: int = STEPS, inputs: bool = True) -> rules.StepRecord:
    found = tuple(torch.zeros(BATCH, steps, n, dtype=torch.uint8) for n in sizes)
    kept = {"inputs": torch.zeros(BATCH, steps, N_IN, dtype=torch.uint8)} if inputs else {}
    return rules.StepRecord(found, torch.zeros(BATCH, N_OUT, dtype=DTYPE), values(), 1e-3, traces=kept)


HM2BP, NA, SPIDE, SPIKEGRAD = rules.HM2BP(teacher=2), rules.NA(), rules.Spide(), rules.SpikeGrad()
SPIKES = hl.Spikes.from_first_times(torch.linspace(0, 0.01, BATCH * N_IN, dtype=DTYPE).reshape(BATCH, N_IN), 0.05)

MEASUREMENTS = [
    Case("hm2bp.events.forward", "the measurement has {} populations; the network has {}",
         lambda: HM2BP.forward(timed(), SPIKES, hl.Record((SPIKES,))),
         lambda: HM2BP.forward(timed(), SPIKES, timed()(SPIKES))),
    Case("hm2bp.step_simulation._measured", "the measurement has {} populations; the network has {}",
         lambda: measure(HM2BP, stepped("hm2bp"), rasters(N_OUT)),
         lambda: measure(HM2BP, stepped("hm2bp"), rasters(HIDDEN, N_OUT))),
    Case("hm2bp.step_simulation._measured", "HM2-BP needs both",
         lambda: measure(HM2BP, stepped("hm2bp"), rasters(HIDDEN, N_OUT, inputs=False)),
         lambda: measure(HM2BP, stepped("hm2bp"), rasters(HIDDEN, N_OUT))),
    Case("hm2bp.step_simulation._measured", "measured rasters {}; the network has {}",
         lambda: measure(HM2BP, stepped("hm2bp"), rasters(HIDDEN + 1, N_OUT)),
         lambda: measure(HM2BP, stepped("hm2bp"), rasters(HIDDEN, N_OUT))),
    Case("na._rasters", "measured rasters [steps, n] {}; the network has {}",
         lambda: measure(NA, stepped("na"), rasters(HIDDEN, N_OUT, steps=3)),
         lambda: measure(NA, stepped("na"), rasters(HIDDEN, N_OUT))),
    Case("spide._measured", "has no spike counts of population {}; measure every hidden population",
         lambda: measure(SPIDE, stepped("spide"), hl.Record((SPIKES,))),
         lambda: measure(SPIDE, stepped("spide"), counted((BATCH, HIDDEN)))),
    Case("spide._measured", "counts of population {} are {}; expected {}",
         lambda: measure(SPIDE, stepped("spide"), counted((BATCH, 2))),
         lambda: measure(SPIDE, stepped("spide"), counted((BATCH, HIDDEN)))),
    Case("measured_counts", "has no net spike counts of population {}; measure every hidden population",
         lambda: measure(SPIKEGRAD, stepped("spikegrad"), hl.Record((SPIKES,))),
         lambda: measure(SPIKEGRAD, stepped("spikegrad"), counted((BATCH, HIDDEN)))),
    Case("measured_counts", "counts of population {} are {}; the network has {}",
         lambda: measure(SPIKEGRAD, stepped("spikegrad"), counted((BATCH, 2))),
         lambda: measure(SPIKEGRAD, stepped("spikegrad"), counted((BATCH, HIDDEN)))),
    Case("StepRecord.__init__", "without rasters and counts; give one of them",
         lambda: rules.StepRecord(None, torch.zeros(1, 1), values(), 1e-3),
         (lambda: counted((BATCH, HIDDEN)), lambda: rasters(HIDDEN, N_OUT))),
    Case("StepRecord.populations", "holds counts alone, no spike times; use record.counts",
         lambda: counted((BATCH, HIDDEN)).populations, lambda: counted((BATCH, HIDDEN)).counts[0].sum()),
    Case("StepRecord.populations", "use record.rasters",
         lambda: rules.StepRecord((-torch.ones(1, 2, 3),), torch.zeros(1, 1), values(), 1e-3).populations,
         lambda: rules.StepRecord((-torch.ones(1, 2, 3),), torch.zeros(1, 1), values(), 1e-3).rasters[0].sum()),
]  # fmt: skip


class Foreign(rules.Neurons):
    """Neurons that say they belong to a rule and do not."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.rule = rule  # type: ignore[misc]


def stage_of(neurons: rules.Neurons) -> rules.Stage:
    return network(hl.Dense(4, 2), neurons).stages[0]


def rasters_of(neurons: rules.Neurons) -> Any:
    return hm2bp_forward(network(hl.Dense(4, 2), neurons), values(4), 0.5, None)


NEURONS = [
    Case("hm2bp.step_simulation._neurons", "HM2-BP in steps takes LeakyNeurons", lambda: rasters_of(Foreign("hm2bp")),
         lambda: rasters_of(rules.LeakyNeurons(1.0))),
    Case("na.neurons_of", "rule 'na' takes TracedNeurons", lambda: traced(stage_of(Foreign("na"))),
         lambda: traced(stage_of(rules.TracedNeurons()))),
    Case("rate_neurons", "use RateNeurons", lambda: rate_neurons(stage_of(Foreign("spide"))),
         lambda: rate_neurons(stage_of(rules.RateNeurons()))),
    Case("spikegrad.neurons_of", "use SignedNeurons", lambda: signed(stage_of(Foreign("spikegrad"))),
         lambda: signed(stage_of(rules.SignedNeurons()))),
]  # fmt: skip


@pytest.mark.parametrize("case", [*SHAPES, *VALUES, *MEASUREMENTS, *NEURONS], ids=str)
def test_what_a_network_in_steps_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_split_within_the_printed_range_is_made(tmp_path: Path) -> None:
    idx_files(tmp_path, train=6, test=2)
    Case(
        "mnist_values",
        "cannot split {} samples from {}; allowed: 1..{}",
        lambda: mnist_values(tmp_path, n_validation=6),
        (lambda: mnist_values(tmp_path, n_validation=5), lambda: mnist_values(tmp_path, n_validation=1)),
    ).follow()


def test_the_target_that_is_named_resets_by_subtraction() -> None:
    net = stepped("spikegrad")
    refused("steps.deployment.refusal", "e.g. 'lava' or 'loihi'", lambda: rules.open_network(net, "emulator:7"))
    with rules.open_network(net, "loihi") as device:
        device.run(values())


def test_the_target_that_is_named_runs_in_steps() -> None:
    net = rules.StepNetwork([hl.Dense(N_IN, 3), rules.TracedNeurons(tau_m=4.0)], in_shape=N_IN, steps=STEPS)
    refused(
        "steps.deployment.refusal", "choose a target that runs in steps", lambda: rules.open_network(net, "emulator:7")
    )
    with rules.open_network(net, "loihi") as device:
        device.run(values())


def test_a_chip_that_resets_to_a_value_is_trained_by_the_rules_that_are_named() -> None:
    refused(
        "steps.deployment.refusal",
        "by rule 'exact' or 'hm2bp'",
        lambda: rules.open_network(stepped("spikegrad"), "emulator:7"),
    )
    for rule in ("exact", "hm2bp"):
        rules.find(rule).check(timed())
    with hl.open("emulator:7", preset="ideal") as chip:
        chip.load(hl.compile(timed(), chip))
        chip.run(SPIKES)
