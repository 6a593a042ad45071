"""Networks, their simulation, losses and noise."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from hwloop import LIF, Dense, Network, Record, Spikes, losses, simulate
from hwloop.neurons import PARAMETERS
from hwloop.simulate import cpu
from hwloop.training.noise import NoiseModel, NoisyForward

from .support import Case, option, refused

N = 3
TAUS = {"tau_mem": 10e-3, "tau_syn": 5e-3}
INPUTS = Spikes.from_events([([1e-3, 2e-3], [0, 1]), ([3e-3], [2])], n_units=N, t_stop=0.05, dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def lif(n: Any = 2, **options: Any) -> LIF:
    return LIF(n, **{**TAUS, **options})


def net(weight: float = 3.0, n_in: int = N, **options: Any) -> Network:
    """One layer of two neurons, float64."""
    dense = Dense(n_in, 2).init_normal_(weight, 0.0)
    return Network([dense, lif(**options)]).double()


def two(first: int = 4, second: int = 4, third: int = 4) -> Network:
    return Network([Dense(N, first), lif(second), Dense(third, 2), lif()])


def run(network: Network, inputs: Spikes = INPUTS, **options: Any) -> Record:
    return network(inputs, **options)


def with_nan() -> Network:
    result = net()
    with torch.no_grad():
        result.blocks[0][0].weight[0, 1] = math.nan
    return result


def half(dtype: torch.dtype) -> Record:
    return run(net().to(dtype), INPUTS.to(torch.float32))


BUILDING = [
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", lambda n_in: Dense(n_in, 2), "n_in", 0, 1),
    option("Dense._check_delay", "allowed: finite and >= 0 s", lambda delay: Dense(2, 1, delay=delay), "delay", -1.0, 0.0),
    option("arguments.whole", "allowed: a whole number >= {}", lif, "n", 0, 1),
    option("arguments.whole", "= {}; allowed: a whole number >= {}", lif, "max_spikes", 0, None, 1),
    option("as_parameter", "allowed: one number, or one value for each of {} neurons", lif, "v_th", torch.nn.Parameter(torch.ones(3)), 1.0, [1.0, 1.0]),
    option("check_reset", "reset = {}; allowed: {}", lif, "reset", "zero", "value", "subtract"),
    option("neurons._refuse", "{}: {} = {}; allowed: {}", lif, "tau_mem", 0.0, 1e-9),
    option("neurons._refuse", "allowed: {}", lif, "t_ref", -1e-3, 0.0),
    option("neurons._refuse", "{} = {}", lif, "v_th", 0.0, 1e-9),
    option("neurons._refuse", "; allowed", lif, "v_leak", math.inf, 0.0),
]  # fmt: skip

MEASURED = [
    Case("_run_chain", "the measurement has {} populations; the network has {}",
         lambda: run(two().double(), measured=run(net())), lambda: run(two().double(), measured=run(two().double()))),
    Case("_check_measured", "the layer has {} units and the input {} samples",
         lambda: run(net(), INPUTS[:1], measured=run(net())), lambda: run(net(), INPUTS[:1], measured=run(net(), INPUTS[:1]))),
    Case("_check_inputs", "the input has {} units; the layer takes {}", lambda: run(net(n_in=4)), lambda: run(net(n_in=3))),
    Case("_check_inputs", "the input has {} units; the layer takes {}", lambda: top(n_in=4), lambda: top(n_in=3)),
    Case("simulate.membrane_maximum", "mask is {}; expected {} bool", lambda: top(mask=torch.ones(2, 3, dtype=torch.bool)),
         lambda: top(mask=torch.ones(2, 2, dtype=torch.bool))),
    Case("autograd.engine", "engine = {}; allowed: 'auto', 'cpu', 'reference', and on a GPU 'gpu'", lambda: run(net(), engine="fast"),
         (lambda: run(net(), engine="auto"), lambda: run(net(), engine="cpu"), lambda: run(net(), engine="reference"))),
    Case("check_input", "the network is in {}; allowed: float32, net.float(), or float64, net.double()", lambda: half(torch.float16),
         (lambda: half(torch.float32), lambda: half(torch.float64))),
    Case("_refuse_values", "allowed: finite", lambda: run(with_nan()), lambda: run(net())),
]  # fmt: skip


def top(n_in: int = N, mask: torch.Tensor | None = None) -> torch.Tensor:
    dense, neurons = net(n_in=n_in).blocks[0]
    return simulate.membrane_maximum(INPUTS, dense.weight, neurons.parameters_dict(), mask)


def test_a_runaway_layer_is_held_by_each_of_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "MAX_EVENTS", 1200)  # 2 samples of a first room of 256 fit
    crowd = Spikes.from_events([(torch.arange(40) * 1e-3, torch.zeros(40))] * 2, n_units=N, t_stop=0.05)
    Case(
        "cpu._check_room",
        "Use smaller batches, lower weights, a refractory time, or max_spikes",
        lambda: run(net(20.0), crowd),
        (
            lambda: run(net(20.0), crowd[:1]),
            lambda: run(net(5.0), crowd),
            lambda: run(net(20.0, t_ref=1e-3), crowd),
            lambda: run(net(20.0, max_spikes=5), crowd),
        ),
    ).follow()


def test_a_layer_without_end_is_held_by_each_of_what_is_named() -> None:
    Case(
        "refuse_endless",
        "Use lower weights, a larger v_th - v_reset, a refractory time, or max_spikes",
        lambda: run(net(1e18)),
        (
            lambda: run(net(5.0)),
            lambda: run(net(1e18, v_th=1e18)),
            lambda: run(net(1e18, t_ref=1e-3)),
            lambda: run(net(1e18, max_spikes=5)),
        ),
    ).follow()


def grazing(measured: float | None = None, **options: Any) -> Record:
    """A spike of a slope of some swings; or one measured late, when the membrane falls."""
    late = None if measured is None else Record((Spikes.from_events([([measured], [0]), ([], [])], 2, 0.05),))
    return run(net(9.0, v_th=2.0, v_reset=-1.0), measured=late, **options)


def test_a_slope_below_the_floor_is_let_through_by_each_of_what_is_named() -> None:
    Case(
        "_counted",
        "use policy 'clip' or 'skip'",
        lambda: grazing(floor=50.0, policy="raise"),
        (
            lambda said: grazing(floor=float(said.split("lower the floor to ")[1].split()[0]), policy="raise"),
            lambda: grazing(floor=50.0, policy="clip"),
            lambda: grazing(floor=50.0, policy="skip"),
        ),
    ).follow()


def test_a_spike_of_a_falling_membrane_is_not_to_be_had_by_a_lower_floor() -> None:
    at = {"measured": 0.03, "floor": 0.0}
    said = refused("_counted", "below the floor", lambda: grazing(**at, policy="raise"))
    assert "lower the floor" not in said
    grazing(**at, policy="clip")
    grazing(**at, policy="skip")


def test_a_loss_of_silent_units_passes_a_finite_gradient_where_they_are_left_out() -> None:
    def gradient(leave_out: bool) -> None:
        record = run(net(3.0), INPUTS)
        first = record.output.first_times()
        silent = torch.isinf(first)
        silent[0] = True
        value = torch.where(silent, 0.05, first) if leave_out else first * torch.where(silent, math.inf, 1.0)
        (value.sum() * 1.0).backward()

    refused("refuse_infinite", "leave the neurons without a spike out with torch.where", lambda: gradient(False))
    gradient(True)


def test_neurons_learn_where_the_noise_keeps_one_threshold_a_neuron() -> None:
    def learn(threshold: float, fixed: bool = False) -> None:
        tau = torch.full((2,), 10e-3, dtype=torch.float64)
        network = net(3.0, tau_mem=tau if fixed else torch.nn.Parameter(tau))
        noisy = NoisyForward(NoiseModel(threshold=threshold), seed=0)
        noisy(network, INPUTS).output.times.nan_to_num(posinf=0.0).sum().backward()

    refused(
        "refuse_rows",
        "switch that noise off (threshold=0), or give the neurons plain numbers",
        lambda: learn(0.1),
    )
    learn(0.0)
    learn(0.1, fixed=True)


RECORD = run(net())


class Undefined(losses.Loss):
    """A loss without a ``__call__``."""


class Defined(losses.Loss):
    """A loss with one."""

    def __call__(self, net: Network, record: Record, labels: torch.Tensor) -> torch.Tensor:
        return record.output.times.sum()


def hinge(layer: int = -1, mask: torch.Tensor | None = None, weight: float = 0.1, inputs: bool = True) -> torch.Tensor:
    network = net(weight)
    record = run(network)
    return losses.silent_hinge(network, record if inputs else Record(record.populations), layer, 0.1, mask)


def of_neurons(n: int) -> Any:
    return simulate.run(INPUTS, torch.ones(n, N), LIF(max(n, 1), 1e-2, 5e-3).parameters_dict())


def health(copied: bool, early: bool = False) -> Any:
    mine = Spikes(INPUTS.times.clone(), INPUTS.units, INPUTS.counts, INPUTS.n_units, INPUTS.t_stop)
    record = run(net(), mine, measured=run(net()))
    assert record.health is not None
    if early:
        return record.health.missing, record.health.extra, mine.times.mul_(0.5), record.health.missing
    (mine.times.clone() if copied else mine.times).mul_(0.5)
    return record.health.missing, record.health.extra


def of_dtype(dtype: torch.dtype) -> Record:
    inputs = Spikes.trusted(INPUTS.times.to(dtype), INPUTS.units, INPUTS.counts, N, 0.05)
    dense, neurons = net().blocks[0]
    return simulate.run(inputs, dense.weight, neurons.parameters_dict())


def of_samples(n: int) -> Record:
    inputs = Spikes.trusted(INPUTS.times[:n], INPUTS.units[:n], INPUTS.counts[:n], N, 0.05)
    return run(net(), inputs)


def of_values(n: int) -> Any:
    dense, neurons = net().blocks[0]
    return simulate.run(INPUTS, dense.weight, {**neurons.parameters_dict(), "tau_mem": torch.full((n,), 1e-2)})


STATE = [
    Case("simulate._check_inputs", "allowed: float32 or float64. Spike times are exact to rounding: use net.float() or net.double(), and spikes.to(torch.float32)", lambda: of_dtype(torch.float16), (lambda: of_dtype(torch.float32), lambda: of_dtype(torch.float64))),
    Case("_check_inputs", "a batch of no samples; give at least one", lambda: of_samples(0), lambda: of_samples(1)),
    Case("neurons_of", "values; allowed: one for each of {} neurons", lambda: of_values(3), lambda: of_values(2)),
    Case("_check_inputs", "weights {}; allowed: [n_out >= 1, n_in]", lambda: of_neurons(0), (lambda: of_neurons(1), lambda: of_neurons(2))),
    Case("_refuse_changed", "read health.missing and health.extra before, or change a copy", lambda: health(copied=False),
         (lambda: health(copied=True), lambda: health(copied=False, early=True))),
]  # fmt: skip

LOSSES = [
    Case("Loss.__mul__", "weight {} of a loss; allowed: finite numbers", lambda: math.inf * losses.SpikeCount(),
         (lambda: 1e300 * losses.SpikeCount(), lambda: 0 * losses.SpikeCount())),
    option("SpikeCount.__post_init__", "spikes; allowed: finite and >= 0", losses.SpikeCount, "wanted", -1.0, 0.0),
    option("CountBounds.__post_init__", "allowed: 0 <= lower <= upper", losses.CountBounds, "lower", -1.0, 0.0),
    option("CountBounds.__post_init__", "lower = {}, upper = {}", lambda upper: losses.CountBounds(lower=2, upper=upper), "upper", 1.0, 2.0),
    option("SilentHinge.__post_init__", "margin = {}; allowed: finite and >= 0", losses.SilentHinge, "margin", -0.1, 0.0),
    option("DeadHinge.__post_init__", "margin = {}; allowed: finite and >= 0", losses.DeadHinge, "margin", math.inf, 0.0),
    option("losses._positive", "{} = {} {}; allowed: finite and > 0", losses.FirstSpike, "temperature", 0.0, 5e-324),
    Case("silent_hinge", "mask is {}; expected {} bool", lambda: hinge(mask=torch.ones(2, 2)),
         lambda: hinge(mask=torch.ones(2, 2, dtype=torch.bool))),
    Case("silent_hinge", "record them", lambda: hinge(inputs=False), lambda: hinge(inputs=True)),
    Case("class_scores.reading", "decision = {}; allowed: {}", lambda: losses.predict(RECORD, "last"),
         (lambda: losses.predict(RECORD, "first"), lambda: losses.predict(RECORD, "count"),
          lambda: losses.predict(RECORD.with_readout(torch.zeros(2, 2)), "readout"))),
    Case("losses.predict", 'allowed for them: "first", "count"', lambda: losses.predict(RECORD, "readout"),
         (lambda: losses.predict(RECORD, "first"), lambda: losses.predict(RECORD, "count"))),
    Case("losses.accuracy", "predictions {}, labels {}; expected [n >= 1] twice", lambda: losses.accuracy(LABELS, LABELS[:1]),
         lambda: losses.accuracy(LABELS[:1], LABELS[:1])),
    Case("class_labels", "expected whole numbers, one for each of {} samples", lambda: losses.SpikeCount()(net(), RECORD, LABELS + 0.5),
         lambda: losses.SpikeCount()(net(), RECORD, LABELS.long())),
    Case("class_labels", "labels {}..{}; allowed: 0..{}", lambda: losses.SpikeCount()(net(), RECORD, LABELS + 1),
         lambda: losses.SpikeCount()(net(), RECORD, LABELS)),
    Case("losses._population", "layer {}; the record has {}: allowed {}..{}", lambda: hinge(layer=1),
         (lambda: hinge(layer=0), lambda: hinge(layer=-1))),
    Case("Record.__post_init__", "a network has at least one spiking layer", lambda: Record(()),
         lambda: Record((INPUTS,))),
    option("NoiseModel.__post_init__", "{} = {}; allowed: finite and >= 0", NoiseModel, "jitter", -1e-3, 0.0),
    option("NoiseModel.__post_init__", "allowed: a probability, 0 <= {} < 1", NoiseModel, "dead", 1.0, 0.0, math.nextafter(1, 0)),
    option("NoiseModel.__post_init__", "spread of {}; known: {}", NoiseModel, "spread", {"tau": 0.1}, {"tau_mem": 0.1}),
    option("NoiseModel.__post_init__", "spread of {} = {}; allowed: 0..1", NoiseModel, "spread", {"tau_mem": 10}, {"tau_mem": 0.1}, {"tau_mem": 1}),
]  # fmt: skip


@pytest.mark.parametrize("case", [*BUILDING, *MEASURED, *STATE, *LOSSES], ids=str)
def test_what_is_asked_of_a_network_is_accepted(case: Case) -> None:
    case.follow()


def test_a_loss_that_is_given_a_call_computes() -> None:
    with pytest.raises(TypeError, match="Undefined does not define what it computes; give it a __call__"):
        Undefined()(net(), RECORD, LABELS)
    Defined()(net(), RECORD, LABELS)


def test_the_spreads_that_are_known_are_those_that_are_printed() -> None:
    said = refused("NoiseModel.__post_init__", "known: {}", lambda: NoiseModel(spread={"tau": 0.1}))
    NoiseModel(spread=dict.fromkeys(said.split("known: ")[1].split(", "), 0.1))
    assert set(PARAMETERS) & set(said.split("known: ")[1].split(", "))
