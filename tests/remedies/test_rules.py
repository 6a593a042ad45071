"""Training rules: their registry, options, losses and neurons."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.rules.hm2bp.events import gradients as event_gradients
from hwloop.rules.hm2bp.graph_events import effects as graph_effects
from hwloop.rules.hm2bp.graph_events import gradients as graph_gradients
from hwloop.rules.spide.adjoint import implicit_adjoint
from hwloop.rules.spide.rule import equilibrium
from hwloop.rules.spikegrad.events import forward_events
from hwloop.rules.spikegrad.rule import choose_alpha, input_counts
from hwloop.rules.steps.integrate_fire import IntegrateFire, discharge, fire
from hwloop.rules.steps.poisson import poisson_raster
from hwloop.rules.steps.trace import trace
from hwloop.simulate.autograd import Options

from .step_networks import DTYPE, N_IN, N_OUT, built, stepped, timed, values
from .support import Case, option


def registered_for_a_test() -> None:
    rules.register("na for a test", rules.NA)
    rules.base._REGISTERED.pop("na for a test")


LABELS = torch.tensor([0, 1, 2, 0])
SPIKES = hl.Spikes.from_first_times(torch.linspace(0, 0.01, 4 * N_IN, dtype=DTYPE).reshape(4, N_IN), 0.05)


def loss_gradient(rule: rules.Rule, net: Any, inputs: Any, record: Any = None) -> dict[str, torch.Tensor]:
    record = rule.forward(net, inputs) if record is None else record
    return rule.gradients(net, record, torch.ones_like(rule.readout(record)))


def readout(shape: tuple[int, ...], labels: torch.Tensor) -> Any:
    record = hl.Record((SPIKES,)).with_readout(torch.zeros(shape))
    return rules.ReadoutError()(None, record, labels)


TINY = math.nextafter(0, 1)
UNTIL_1 = math.nextafter(1, 0)
ODD = timed()
ODD.blocks[1][1].v_reset.fill_(0.2)


LEAKY = partial(rules.LeakyNeurons, 1.0)


def at_rest() -> dict[str, torch.Tensor]:
    net = timed()
    net.blocks[1][1].v_reset.copy_(net.blocks[1][1].v_leak)
    return loss_gradient(rules.HM2BP(), net, SPIKES)


OPTIONS = [
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", rules.HM2BP, "teacher", -1, 0),
    option("HM2BP.__post_init__", "allowed: 0 < rate <= 1", rules.HM2BP, "rate", 1.5, 1, TINY),
    option("HM2BP.__post_init__", "empty = {}; allowed: 0..1", rules.HM2BP, "empty", -0.5, 0, 1),
    option("LeakyNeurons.__init__", "v_th = {}; allowed: finite and > 0", rules.LeakyNeurons, "v_th", 0.0, TINY),
    Case(
        "LeakyNeurons.__init__",
        "allowed: 1 <= tau_s < tau_m",
        lambda: rules.LeakyNeurons(1.0, tau_m=4, tau_s=4),
        lambda: rules.LeakyNeurons(1.0, tau_m=math.nextafter(4, 5), tau_s=4),
    ),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", LEAKY, "t_ref", 1.5, 0, 1),
    option("LeakyNeurons.__init__", "lateral = {}; allowed", LEAKY, "lateral", 0.5, 0.0, -0.5),
    option("NA.__post_init__", "{} = {}; allowed: {}", rules.NA, "credit", "f", "e", "g", "g+quad"),
    option("NA.__post_init__", "allowed: finite and > 0", rules.NA, "nearest", 0, TINY),
    option("TracedNeurons.__init__", "v_th = {}; allowed", rules.TracedNeurons, "v_th", -1.0, TINY),
    option("TracedNeurons.__init__", "steps; allowed: finite and >= 1", rules.TracedNeurons, "tau_m", 0.5, 1.0),
    option("RateNeurons.__init__", "quantum = {}; allowed", rules.RateNeurons, "quantum", 0.0, TINY),
    option("Spide.__post_init__", "solver = {}; allowed: {}", rules.Spide, "solver", "newton", "spikes", "implicit"),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", rules.Spide, "steps_back", 0, 1),
    option("Spide.__post_init__", "{} = {}; allowed: finite and > 0", rules.Spide, "loss_scale", 0, TINY),
    option("Spide.__post_init__", "allowed: 0 <= dropout < 1", rules.Spide, "dropout", 1, 0, UNTIL_1),
    option("SignedNeurons.__init__", "{} = {}; allowed: finite and > 0", rules.SignedNeurons, "theta", 0.0, TINY),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", rules.SignedNeurons, "levels", 0, 1),
    option("SpikeGrad.__post_init__", "alpha = {}; allowed", rules.SpikeGrad, "alpha", math.inf, 1.0),
    option(
        "SpikeGrad.__post_init__",
        "discharge = {}; allowed",
        rules.SpikeGrad,
        "discharge",
        "x",
        "layerwise",
        "asynchronous",
    ),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", rules.SpikeGrad, "samples", 0, None, 1),
    option("ReadoutError.__post_init__", "allowed: finite, margin >= 0", rules.ReadoutError, "margin", -1.0, 0.0),
    option("TraceError.__post_init__", "tau_s = {} steps; allowed", rules.TraceError, "tau_s", 0.5, 1.0),
    option("ReadoutCrossEntropy.__post_init__", "scale = {}; allowed", rules.ReadoutCrossEntropy, "scale", 0, TINY),
    option(
        "RandomAffine.__post_init__",
        "scale = {}; allowed: 0 <= scale < 1",
        rules.RandomAffine,
        "scale",
        1.0,
        0.0,
        UNTIL_1,
    ),
    option(
        "RandomAffine.__post_init__",
        "shift = {}; allowed: finite, >= 0 (pixels)",
        rules.RandomAffine,
        "shift",
        math.inf,
        0.0,
    ),
    option(
        "RandomAffine.__post_init__",
        "rotation = {}; allowed: 0..180 (degrees)",
        rules.RandomAffine,
        "rotation",
        181,
        0.0,
        180,
    ),
    option(
        "ElasticDeformation.__post_init__", "alpha = {}; allowed: finite", rules.ElasticDeformation, "alpha", -1.0, 0.0
    ),
    option(
        "ElasticDeformation.__post_init__", "sigma = {}; allowed: finite", rules.ElasticDeformation, "sigma", 0.0, TINY
    ),
    option("IntegrateFire.__post_init__", "quantum = {}; allowed", IntegrateFire, "quantum", 0.0, TINY),
    option("IntegrateFire.__post_init__", "lower = {}; allowed", IntegrateFire, "lower", math.nan, -math.inf),
    option("IntegrateFire.__post_init__", "allowed: at least the quantum", IntegrateFire, "lower", 0.5, 0.0),
    option("Options.__post_init__", "floor = {}; allowed: finite and >= 0", Options, "floor", -0.1, 0.0),
    option("Options.__post_init__", "policy = {}; allowed", Options, "policy", "cut", "clip", "skip", "raise"),
    option("Options.__post_init__", "max_spikes = {}; allowed", Options, "max_spikes", 0, None, 1),
]

REGISTRY = [
    Case("rules.base.register", "exists; choose another name", lambda: rules.register("na", rules.NA),
         registered_for_a_test),
    Case("rules.base.find", "beside a rule that is built already; build it with them",
         lambda: rules.find(rules.NA(), credit="g"), lambda: rules.find(rules.NA(credit="g"))),
    Case("rules.base.find", "rule = {}; available: {}", lambda: rules.find("bptt"),
         lambda: [rules.find(name) for name in rules.names()]),
    Case("rules.base.find", "has no option {}; it has: {}", lambda: rules.find("na", credits="g"),
         lambda said: [rules.find("na", **{name: getattr(rules.NA(), name)}) for name in said.split(": ")[1].split(", ")]),
]  # fmt: skip

READOUTS = [
    Case("Rule.readout", "the record has no readout; it belongs to another rule",
         lambda: rules.HM2BP().readout(rules.Exact().forward(timed(), SPIKES)),
         lambda: rules.HM2BP().readout(rules.HM2BP().forward(timed(), SPIKES))),
    Case("readout_of", "use it with a rule that has a readout",
         lambda: rules.ReadoutError()(None, rules.Exact().forward(timed(), SPIKES), LABELS),
         lambda: rules.ReadoutError()(None, rules.HM2BP().forward(timed(), SPIKES), LABELS)),
    Case("class_labels", "expected whole numbers, one for each of {} samples", lambda: readout((4, 3), LABELS + 0.5),
         lambda: readout((4, 3), LABELS)),
    Case("class_labels", "labels {}..{}; allowed: 0..{}", lambda: readout((4, 2), LABELS),
         lambda: readout((4, 2), LABELS.clamp(max=1))),
    Case("TraceError.__call__", "TraceError needs [batch, steps, n_out], ReadoutError does not",
         lambda: rules.TraceError()(None, hl.Record((SPIKES,)).with_readout(torch.zeros(4, 3)), LABELS),
         (lambda: rules.TraceError()(None, hl.Record((SPIKES,)).with_readout(torch.zeros(4, 5, 3)), LABELS),
          lambda: readout((4, 3), LABELS))),
    Case("Exact.gradients", "run forward with gradients on (outside torch.no_grad)",
         lambda: torch.no_grad()(loss_gradient)(rules.Exact(), timed(), SPIKES),
         lambda: loss_gradient(rules.Exact(), timed(), SPIKES)),
    Case("hm2bp.events.gradients", "the record holds no inputs",
         lambda: event_gradients(timed(), hl.Record((SPIKES,)), torch.ones(4, 3), 4),
         lambda: loss_gradient(rules.HM2BP(), timed(), SPIKES)),
    Case("NA.gradients", "needs its own record of a run in steps",
         lambda: rules.NA().gradients(stepped("na"), hl.Record((SPIKES,)), torch.ones(4, 3)),
         lambda: loss_gradient(rules.NA(), stepped("na"), values())),
    Case("Spide.gradients", "needs a StepRecord, found {}",
         lambda: rules.Spide().gradients(stepped("spide"), hl.Record((SPIKES,)), torch.ones(4, 3)),
         lambda: loss_gradient(rules.Spide(), stepped("spide"), values())),
    Case("SpikeGrad.gradients", "needs a StepRecord, found {}",
         lambda: rules.SpikeGrad().gradients(stepped("spikegrad"), hl.Record((SPIKES,)), torch.ones(4, 3)),
         lambda: loss_gradient(rules.SpikeGrad(), stepped("spikegrad"), values())),
]  # fmt: skip


def of_quanta(first: float, second: float) -> rules.StepNetwork:
    layers = [hl.Dense(N_IN, 4), rules.RateNeurons(first), hl.Dense(4, 4), rules.RateNeurons(second)]
    return rules.StepNetwork([*layers, hl.Dense(4, N_OUT), rules.RateNeurons()], in_shape=N_IN, steps=5)


def wired(out: Any = None, *, loop: bool = False, **hidden: Any) -> hl.Network:
    """Both the inputs and a hidden population, which has a bias, drive the output."""
    n = SPIKES.n_units
    last = hl.LIF(3, 1e-2, 5e-3) if out is None else out
    projections = [
        hl.Projection("in", "hidden", hl.Dense(n, 4, bias=True)), hl.Projection("hidden", "out", hl.Dense(4, 3)),
        hl.Projection("in", "out", hl.Dense(n, 3)),
    ]  # fmt: skip
    if loop:
        projections.append(hl.Projection("out", "hidden", hl.Dense(3, 4)))
    nodes = {"in": hl.Input(n), "hidden": hl.LIF(4, 1e-2, 5e-3, **hidden), "out": last}
    return hl.Network.graph(nodes, projections, "out")


NETWORKS = [
    Case("Exact.check", "trains a Network of Dense and LIF in continuous time",
         lambda: rules.Exact().check(stepped("na")), lambda: rules.Exact().check(timed())),
    Case("HM2BP.check", "trains a feed-forward Network of LIF, or a StepNetwork of LeakyNeurons",
         lambda: rules.HM2BP().check(stepped("na")),
         (lambda: rules.HM2BP().check(timed()), lambda: rules.HM2BP(teacher=5).check(stepped("hm2bp")))),
    Case("HM2BP.check", "knows no feedback; build the StepNetwork without it",
         lambda: rules.HM2BP(teacher=5).check(stepped("hm2bp", feedback=True)),
         lambda: rules.HM2BP(teacher=5).check(stepped("hm2bp"))),
    Case("HM2BP.check", "allowed: one a step at most", lambda: rules.HM2BP(teacher=6).check(stepped("hm2bp")),
         lambda: rules.HM2BP(teacher=5).check(stepped("hm2bp"))),
    Case("hm2bp.events.check", "set v_reset = v_leak", lambda: rules.HM2BP().check(ODD), at_rest),
    Case("graph_events.check", "use rule='exact', which trains loops, or leave out a projection of the loop",
         lambda: rules.HM2BP().check(wired(loop=True)),
         (lambda: rules.Exact().check(wired(loop=True)), lambda: rules.HM2BP().check(wired()))),
    Case("graph_events.check", "build it of LIF", lambda: rules.HM2BP().check(wired(hl.IF(3))),
         lambda: rules.HM2BP().check(wired(hl.LIF(3, 1e-2, 5e-3)))),
    Case("graph_events.check", "set v_reset = v_leak", lambda: rules.HM2BP().check(wired(v_reset=-0.5)),
         lambda: rules.HM2BP().check(wired(v_reset=-0.5, v_leak=-0.5))),
    Case("graph_events.check", "leave v_init out", lambda: rules.HM2BP().check(wired(v_init=0.5)),
         lambda: rules.HM2BP().check(wired())),
    Case("graph_events.check", "build it with filtered_bias=False", lambda: rules.HM2BP().check(wired(filtered_bias=True)),
         lambda: rules.HM2BP().check(wired(filtered_bias=False))),
    Case("graph_events.trains_of", "the record holds no inputs",
         lambda: graph_gradients(wired(), hl.Record((SPIKES, SPIKES)), torch.ones(4, 3), 4),
         lambda: loss_gradient(rules.HM2BP(), wired().to(SPIKES.times.dtype), SPIKES)),
    Case("graph_events.effects", "name a LIF", lambda: graph_effects(wired(), hl.Record((SPIKES, SPIKES), SPIKES), "in"),
         lambda: graph_effects(wired(), rules.HM2BP().forward(wired().to(SPIKES.times.dtype), SPIKES), "hidden")),
    Case("NA.check", "trains a StepNetwork of TracedNeurons", lambda: rules.NA().check(timed()),
         lambda: rules.NA().check(stepped("na"))),
    Case("NA.check", "knows no feedback; build the StepNetwork without it",
         lambda: rules.NA().check(stepped("na", feedback=True)), lambda: rules.NA().check(stepped("na"))),
    Case("Spide.check", "trains a StepNetwork of RateNeurons, not {}; build it with them",
         lambda: rules.Spide().check(stepped("na")), lambda: rules.Spide().check(stepped("spide"))),
    Case("Spide.check", "without a hidden population; the last one is the readout, add one",
         lambda: rules.Spide().check(built("spide", ())), lambda: rules.Spide().check(built("spide", (7,)))),
    Case("Spide.check", "give all the same", lambda: rules.Spide().check(of_quanta(2, 3)),
         lambda: rules.Spide().check(of_quanta(3, 3))),
    Case("SpikeGrad.check", "trains a StepNetwork of SignedNeurons, not {}; build it with them",
         lambda: rules.SpikeGrad().check(timed()), lambda: rules.SpikeGrad().check(stepped("spikegrad"))),
    Case("SpikeGrad.check", "leave the feedback out, or build it of RateNeurons and use rule 'spide'",
         lambda: rules.SpikeGrad().check(stepped("spikegrad", feedback=True)),
         (lambda: rules.SpikeGrad().check(stepped("spikegrad")),
          lambda: rules.Spide().check(stepped("spide", feedback=True)))),
]  # fmt: skip


def image(n: int) -> rules.Values:
    return rules.Values(torch.rand(1, n), torch.zeros(1, dtype=torch.int64))


RECTIFIED = IntegrateFire(1.0, 1.0, 0.0, rectified=True)

QUANTITIES = [
    Case("_square", "are no square image; allowed: 28 * 28 = 784, for instance",
         lambda: rules.RandomAffine()(image(783), torch.Generator()),
         lambda: rules.RandomAffine()(image(784), torch.Generator())),
    Case("poisson_raster", "allowed: 0..1 (lower the rate, or scale the values to 0..1)",
         lambda: poisson_raster(rules.Values(torch.tensor([[2.0]]), torch.zeros(1, dtype=torch.int64)), 3, 1.0),
         (lambda: poisson_raster(rules.Values(torch.tensor([[2.0]]), torch.zeros(1, dtype=torch.int64)), 3, 0.5),
          lambda: poisson_raster(rules.Values(torch.tensor([[1.0]]), torch.zeros(1, dtype=torch.int64)), 3, 1.0))),
    Case("trace.trace", "expected floating [batch, steps, n]", lambda: trace(torch.zeros(2, 3), 0.5),
         lambda: trace(torch.zeros(2, 3, 1), 0.5)),
    Case("trace.trace", "decay = {} a step; allowed: 0..1", lambda: trace(torch.zeros(2, 3, 1), 1.5),
         (lambda: trace(torch.zeros(2, 3, 1), 1), lambda: trace(torch.zeros(2, 3, 1), 0))),
    Case("integrate_fire._needed", "give count, the net spikes so far", lambda: fire(-torch.ones(1), RECTIFIED),
         (lambda: fire(-torch.ones(1), RECTIFIED, torch.ones(1)),
          lambda: discharge(-torch.ones(1), RECTIFIED, torch.ones(1)))),
    Case("choose_alpha", "allowed: finite and > 0, take an untrained network", lambda: choose_alpha(torch.zeros(4, 3)),
         lambda: choose_alpha(torch.softmax(rules.SpikeGrad().forward(stepped("spikegrad"), values()).readout, 1))),
    Case("input_counts", "SpikeGrad's inputs are counts: allowed >= 0",
         lambda: input_counts(rules.Values(-torch.ones(1, 2), torch.zeros(1, dtype=torch.int64)), 4, DTYPE),
         lambda: input_counts(rules.Values(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)), 4, DTYPE)),
    Case("EventGraph.run", "order = {}; allowed: {}",
         lambda: forward_events(stepped("spikegrad"), values(), order="lifos"),
         (lambda: forward_events(stepped("spikegrad"), values(), order="fifo"),
          lambda: forward_events(stepped("spikegrad"), values(), order="lifo"),
          lambda: forward_events(stepped("spikegrad"), values(), order="random"))),
    Case("spikegrad.events._check", "discharge = {}; allowed: {}",
         lambda: forward_events(stepped("spikegrad"), values(), discharge="all"),
         (lambda: forward_events(stepped("spikegrad"), values(), discharge="layerwise"),
          lambda: forward_events(stepped("spikegrad"), values(), discharge="asynchronous"),
          lambda: forward_events(stepped("spikegrad"), values(), discharge="symmetric"))),
]  # fmt: skip


def strong(hidden: tuple[int, ...], norm: float = 40.0) -> rules.StepNetwork:
    """Feedback that keeps the loop from coming to rest, the neurons in their linear range."""
    net = built("spide", hidden, feedback=True)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for stage in net.stages:
            weight = stage.connection.weight
            weight.copy_(torch.rand(weight.shape, generator=generator, dtype=DTYPE))
            stage.neurons.bias.zero_()
        net.stages[0].neurons.bias.fill_(1.0)
        net.feedback.weight.copy_(-torch.ones_like(net.feedback.weight) / net.feedback.weight.numel() ** 0.5 * norm)
    return net


def printed_norm(said: str) -> float:
    return float(said.split("feedback_norm=")[1].split()[0])  # feedback_norm=0.87 or less


@pytest.mark.parametrize("case", [*OPTIONS, *REGISTRY, *READOUTS, *NETWORKS, *QUANTITIES], ids=str)
def test_what_a_rule_asks_for_is_accepted(case: Case) -> None:
    case.follow()


@pytest.mark.parametrize("hidden", [(6,), (6, 5)], ids=str)
def test_the_feedback_norm_that_is_printed_brings_the_equilibrium(hidden: tuple[int, ...]) -> None:
    net = strong(hidden)
    Case(
        "spide.equilibrium",
        "no equilibrium after {} iterations",
        lambda: equilibrium(net, values(), feedback_norm=100.0),
        lambda said: equilibrium(net, values(), feedback_norm=printed_norm(said)),
    ).follow()


@pytest.mark.parametrize("hidden", [(6,), (6, 5)], ids=str)
def test_the_feedback_norm_that_is_printed_brings_the_adjoint_to_rest(hidden: tuple[int, ...]) -> None:
    net = strong(hidden)

    def adjoint(norm: float) -> None:
        rule = rules.Spide(feedback_norm=norm)
        loop = rule.loop(net, rule.forward(net, values()))
        for gate in loop.gates:
            gate.fill_(1.0)
        implicit_adjoint(loop, torch.ones(len(values()), hidden[-1], dtype=DTYPE))

    Case(
        "implicit_adjoint",
        "does not converge",
        lambda: adjoint(100.0),
        lambda said: adjoint(printed_norm(said)),
    ).follow()
