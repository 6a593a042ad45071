"""What a compiler refuses: all that its target lacks. One that compiles it drops it in silence."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ...errors import CompileError
from ...network import IF, LI, LIF, DeltaLIF, Dense, Input, Network, Projection
from ...network.populations import Population
from ..claim import claim, demand, skip
from ..subject import STRONG, Subject, refusal

#: Largest network that is built to be refused (units).
LARGEST = 100_000
#: Beyond a limit by this factor.
BEYOND = 4.0


def _refused(subject: Subject, net: Network, what: str) -> None:
    """Break the claim unless compiling ``net`` is a CompileError that says limit, value, layer and fix."""
    error = refusal(lambda: subject.target.compile(net), CompileError)
    demand(error, f"{what} compiled, although the target's limits exclude it: it is dropped in silence")
    for name in ("limit", "value", "layer", "fix"):
        demand(getattr(error, name, ""), f"refusing {what} names no {name}: {error}")


def _simple(subject: Subject, **neurons: object) -> Network:
    return subject.layer(np.full((2, 1), STRONG), **neurons)


def _graph(subject: Subject, more: Callable[[], list[Projection]]) -> Network:
    """Input, hidden and output in a row, and ``more`` projections."""
    nodes: dict[str, Population] = {"input": Input(2), "hidden": subject.lif(2), "output": subject.lif(2)}
    row = [Projection("input", "hidden", Dense(2, 2)), Projection("hidden", "output", Dense(2, 2))]
    return Network.graph(nodes, [*row, *more()], output="output").double()


@claim("refusals")
def refuses_more_inputs_than_a_neuron_has(subject: Subject) -> None:
    """A neuron of more inputs than the fan-in is refused: there is no room for its synapses."""
    limit = subject.limits.fan_in
    if limit >= LARGEST:
        skip(f"a fan-in of {limit}: no limit of practice")
    _refused(subject, subject.layer(np.full((1, limit + 1), 1.0)), f"a neuron of {limit + 1} inputs")


@claim("refusals")
def refuses_more_neurons_than_there_are(subject: Subject) -> None:
    """A network of more neurons than the device has is refused, not cut."""
    limit = subject.limits.n_neurons
    if limit >= LARGEST:
        skip(f"{limit} neurons: no limit of practice")
    _refused(subject, subject.layer(np.full((limit + 1, 1), 1.0)), f"a network of {limit + 1} neurons")


@claim("refusals")
def refuses_delays_that_it_lacks(subject: Subject) -> None:
    """Delays are refused where there are none, delays of each synapse where there are axonal ones alone."""
    limits, delay = subject.limits, 2 * subject.unit
    if limits.delays and limits.synaptic_delays:
        skip("it has delays of each synapse")
    weight = np.full((2, 2), STRONG)
    if not limits.delays:
        _refused(subject, subject.layer(weight, delay=delay), "an axonal delay")
    each = torch.tensor([[0.0, 1.0], [1.0, 0.0]]) * delay
    _refused(subject, subject.layer(weight, delay=each), "a delay of each synapse")


@claim("refusals")
def refuses_delays_beyond_the_longest(subject: Subject) -> None:
    """A delay longer than `max_delay` is refused, not cut."""
    longest = subject.limits.max_delay
    if not subject.limits.delays or longest is None:
        skip("no longest delay")
    delay = BEYOND * longest * subject.limits.speedup
    _refused(subject, subject.layer(np.full((2, 1), STRONG), delay=delay), f"a delay of {delay:g} s")


@claim("refusals")
def refuses_resets_that_it_lacks(subject: Subject) -> None:
    """A reset kind that the neurons do not have is refused: spikes after the first would be others."""
    missing = [kind for kind in ("value", "subtract") if kind not in subject.limits.reset_kinds]
    if not missing:
        skip("it has every reset kind")
    _refused(subject, _simple(subject, reset=missing[0]), f"a reset {missing[0]!r}")


@claim("refusals")
def refuses_a_cap_on_spikes(subject: Subject) -> None:
    """`max_spikes` is refused where nothing on the device counts spikes."""
    if subject.limits.spike_cap:
        skip("it has such a cap")
    _refused(subject, _simple(subject, max_spikes=1), "a cap on spikes")


@claim("refusals")
def refuses_loops(subject: Subject) -> None:
    """A projection back is refused where there are no recurrent edges."""
    if subject.limits.recurrent:
        skip("it has recurrent edges")
    net = _graph(subject, lambda: [Projection("hidden", "hidden", Dense(2, 2))])
    _refused(subject, net, "a loop")


@claim("refusals")
def refuses_projections_that_skip_a_layer(subject: Subject) -> None:
    """A population driven by more than the one before it is refused where the device has chains alone."""
    if subject.limits.graphs or subject.limits.recurrent:
        skip("it has graphs")
    net = _graph(subject, lambda: [Projection("input", "output", Dense(2, 2))])
    _refused(subject, net, "a projection that skips a layer")


@claim("refusals")
def refuses_populations_that_it_lacks(subject: Subject) -> None:
    """Kinds of neurons that the device does not have are refused, not run as others."""
    kinds: dict[str, Callable[[], Population]] = {
        "LIF": lambda: subject.lif(2),
        "DeltaLIF": lambda: DeltaLIF(2, 2 * subject.unit),
        "IF": lambda: IF(2),
    }
    missing = [kind for kind in kinds if kind not in subject.limits.populations]
    if not missing:
        skip("it has every kind of neuron")
    for kind in missing:
        _refused(subject, Network([Dense(2, 2), kinds[kind]()]).double(), f"a population of {kind}")


@claim("refusals")
def refuses_readouts_that_do_not_spike(subject: Subject) -> None:
    """A readout that is read as a membrane is refused: a device answers with spikes."""
    net = Network([Dense(2, 2), subject.lif(2), Dense(2, 2), LI(2, 2 * subject.unit, subject.unit)]).double()
    _refused(subject, net, "a readout that does not spike")


@claim("refusals")
def refuses_currents_and_starts_that_it_lacks(subject: Subject) -> None:
    """A constant current, and a membrane that starts elsewhere, are refused where the device has neither."""
    limits = subject.limits
    if limits.bias and limits.initial_membrane:
        skip("it has both")
    if not limits.bias:
        dense = Dense(2, 2, bias=True)
        with torch.no_grad():
            dense.get_parameter("bias").fill_(0.25)
        biased = Network([dense, subject.lif(2)]).double()
        _refused(subject, biased, "a bias")
    if not limits.initial_membrane:
        started = Network([Dense(2, 2), subject.lif(2, v_init=0.5)]).double()
        _refused(subject, started, "a membrane that starts elsewhere")


@claim("refusals")
def refuses_parameters_out_of_range(subject: Subject) -> None:
    """A neuron parameter outside its range is refused, not moved to the nearest value."""
    ranges = subject.limits.ranges
    if not ranges:
        skip("no parameter has a range")
    speedup = subject.limits.speedup
    for name, allowed in ranges.items():
        scale = speedup if allowed.unit == "device_s" else 1.0
        for value in (
            allowed.high * scale + BEYOND * max(abs(allowed.high * scale), 1e-9),
            allowed.low * scale / BEYOND,
        ):
            if allowed.low * scale <= value <= allowed.high * scale or (name != "v_leak" and value <= 0):
                continue
            _refused(subject, Network([Dense(1, 2), _with(subject, name, value)]).double(), f"{name} = {value:g}")


def _with(subject: Subject, name: str, value: float) -> LIF:
    return subject.lif(2, **{name: value})


@claim("refusals")
def refuses_parameters_that_differ_where_they_are_shared(subject: Subject) -> None:
    """Neurons of a layer that share a parameter on the device, but not in the network, are refused."""
    usual = {"tau_mem": 2 * subject.unit, "tau_syn": subject.unit, "t_ref": subject.unit, "v_th": 1.0, "v_leak": 0.1}
    shared = [name for name in subject.limits.uniform if name in usual]
    if not shared:
        skip("neurons share no parameter")
    for name in shared:
        values = torch.tensor([1.0, 1.5], dtype=torch.float64) * usual[name]
        _refused(subject, Network([Dense(1, 2), subject.lif(2, **{name: values})]).double(), f"two values of {name}")


@claim("refusals")
def refuses_weights_that_are_not_finite(subject: Subject) -> None:
    """A weight that is NaN or infinite is refused: it has no code."""
    for value in (np.nan, np.inf):
        weight = np.full((2, 1), STRONG)
        weight[1, 0] = value
        _refused(subject, subject.layer(weight), f"a weight of {value}")
