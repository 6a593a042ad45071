"""SpikeGrad spike by spike: equal to the quantised network in whole numbers, by additions and comparisons alone."""

from __future__ import annotations

import ast
import inspect
import operator

import numpy as np
import pytest
import torch

from hwloop import rules
from hwloop.errors import InputError, OptionError
from hwloop.rules.spikegrad import event_kernels as event_kernel
from hwloop.rules.spikegrad.event_reference import Adder, Tally, Unit, simulate_reference
from hwloop.rules.spikegrad.events import (
    EventGraph,
    Operations,
    backward_events,
    backward_graph,
    forward_events,
    forward_graph,
    update_events,
)
from hwloop.rules.spikegrad.rule import SpikeGrad, neurons_of

from .spikegrad_support import conv_net, dense_net, loss_gradient, values

NETS = {"dense": dense_net, "dense, other thresholds": lambda: dense_net(theta=0.75, theta_bp=0.5), "conv": conv_net}
every_net = pytest.mark.parametrize("build", NETS.values(), ids=NETS.keys())
both = pytest.mark.parametrize("discharge", ["layerwise", "asynchronous"])
ORDERS = 100


@every_net
@both
def test_every_order_of_events_gives_the_counts_of_the_quantised_network(build, discharge: str) -> None:
    net = build()
    inputs, rule = values(net, 6), SpikeGrad(alpha=32.0, discharge=discharge)
    expected = rule.forward(net, inputs)
    grad = loss_gradient(6)
    errors = rule.error_spikes(net, expected, grad)
    assert all(bool((n != 0).any()) for n in (*expected.counts, *errors))
    for seed in range(ORDERS):
        found, _ = forward_events(net, inputs, discharge=discharge, order="random", seed=seed)
        assert all(map(torch.equal, found.counts, expected.counts))
        for k in range(len(net.stages)):
            assert torch.equal(found.traces["potential"][k], expected.traces["potential"][k])
        spikes, _ = backward_events(net, found, grad, rule=rule, order="random", seed=seed)
        assert all(torch.equal(a, b) for a, b in zip(spikes, errors, strict=True))


def test_symmetric_thresholds_fired_at_every_event_depend_on_the_order() -> None:
    """The negative control: published thresholds without layer-wise discharge. A check that passed here checks nothing."""
    net, rule = dense_net(), SpikeGrad(alpha=32.0)
    inputs, grad = values(net, 20), loss_gradient(20)
    expected = rule.forward(net, inputs)
    errors = rule.error_spikes(net, expected, grad)
    wrong_forward = wrong_backward = 0
    for seed in range(ORDERS):
        found, _ = forward_events(net, inputs, discharge="symmetric", order="random", seed=seed)
        wrong_forward += not all(map(torch.equal, found.counts, expected.counts))
        spikes, _ = backward_events(net, expected, grad, rule=rule, discharge="symmetric", order="random", seed=seed)
        wrong_backward += not all(map(torch.equal, spikes, errors))
    assert wrong_forward > 90
    assert wrong_backward > 90


@every_net
@pytest.mark.parametrize("discharge", ["layerwise", "asynchronous", "symmetric"])
def test_conservation_holds_for_every_population_and_order(build, discharge: str) -> None:
    """``theta n = I - V``, exactly, symmetric thresholds included: it is the reset that conserves, not the order."""
    net = build()
    inputs = values(net, 6)
    for order in ("fifo", "lifo", "random"):
        found, _ = forward_events(net, inputs, discharge=discharge, order=order)
        x = torch.floor(4 * inputs.values + 0.5) / 4
        for k, stage in enumerate(net.stages):
            theta = neurons_of(stage).theta
            with torch.no_grad():
                current = stage.drive(x) + stage.neurons.bias_current()
            if k == len(found.counts):  # the output integrates and does not fire
                assert torch.equal(current, found.traces["potential"][k])
                break
            assert torch.equal(theta * found.counts[k], current - found.traces["potential"][k])
            x = theta * found.counts[k]


@every_net
@both
def test_updates_by_additions_are_the_gradients(build, discharge: str) -> None:
    net = build()
    inputs, rule, grad = values(net, 8), SpikeGrad(alpha=32.0, discharge=discharge), loss_gradient(8)
    record = rule.forward(net, inputs)
    expected = rule.gradients(net, record, grad)
    errors, _ = backward_events(net, record, grad, rule=rule)
    found, operations = update_events(net, record, errors, rule=rule)
    assert found.keys() == expected.keys()
    for name, value in found.items():
        # everything is dyadic, the batch of 8 included: exact
        assert torch.equal(value, expected[name])
        assert bool((value != 0).any())
    assert operations.synaptic > 0
    assert operations.resets == operations.counts == operations.events == 0


# -- the specification, which can only add and compare --------------------------------------------


def _reference(graph: EventGraph, sources: np.ndarray, potential: np.ndarray, fires: np.ndarray, layerwise: bool):
    """One sample by the Python twin: net counts, potentials, and what it counted."""
    tally, counting = Tally(), Tally()
    blocks = [int(b) for b in graph.blocks]
    units = []
    for i in range(graph.n_units):
        block = int(np.searchsorted(graph.blocks, i, side="right")) - 1
        reaches = range(graph.starts[i], graph.starts[i + 1])
        units.append(
            Unit(
                [(int(graph.targets[k]), float(graph.weights[k])) for k in reaches],
                graph.neurons[block] if fires[i] and block else None,
                Adder(float(potential[i]), tally),
                Adder(0, counting),
            )
        )
    simulate_reference(units, blocks, [int(n) for n in sources], layerwise=layerwise)
    counts = np.array([unit.count.value for unit in units])
    sent = np.array([sum(unit.sent) for unit in units])
    assert np.array_equal(sent, counts)
    return counts, np.array([unit.potential.value for unit in units]), tally, counting


@every_net
@pytest.mark.parametrize("discharge", ["layerwise", "asynchronous", "symmetric"])
def test_the_kernel_does_what_the_reference_does_and_counts_the_same(build, discharge: str) -> None:
    net = build()
    graph, inputs = forward_graph(net, discharge), values(net, 1)
    sources = (4 * inputs.values).numpy().astype(np.int64)
    potential = np.zeros((1, graph.n_units))
    for k, stage in enumerate(net.stages):
        bias = stage.neurons.bias_current().detach().numpy()
        potential[0, graph.blocks[k + 1] : graph.blocks[k + 2]] = bias
    fires = np.arange(graph.n_units) < graph.blocks[-2]
    expected, after, tally, counting = _reference(graph, sources[0], potential[0], fires, discharge == "layerwise")
    found, ops = graph.run(sources, potential, fires[None], layerwise=discharge == "layerwise", order="fifo", seed=0)
    assert np.array_equal(found[0], expected)
    assert np.array_equal(potential[0], after)
    assert ops.synaptic + ops.resets == tally.additions
    assert ops.counts == counting.additions
    assert ops.comparisons == tally.comparisons + counting.comparisons


@both
def test_error_spikes_of_the_kernel_are_those_of_the_reference(discharge: str) -> None:
    net, rule = dense_net(), SpikeGrad(alpha=32.0, discharge=discharge)
    inputs, grad = values(net, 1), loss_gradient(1)
    record = rule.forward(net, inputs)
    errors, ops = backward_events(net, record, grad, rule=rule)
    graph = backward_graph(net, discharge)
    potential = np.zeros(graph.n_units)
    potential[: graph.blocks[2]] = (32.0 * grad[0]).numpy()
    fires = np.ones(graph.n_units, dtype=bool)
    for k in (0, 1):
        block = len(net.stages) - k
        opened = (record.traces["potential"][k][0] > 0) | (record.counts[k][0] > 0)
        fires[graph.blocks[block] : graph.blocks[block + 1]] = opened.numpy()
    expected, _, tally, counting = _reference(graph, np.zeros(0), potential, fires, discharge == "layerwise")
    assert np.array_equal(np.concatenate([e[0].numpy() for e in errors[::-1]]), expected)
    assert ops.additions == tally.additions + counting.additions
    assert ops.comparisons == tally.comparisons + counting.comparisons


@pytest.mark.parametrize("operation", [operator.mul, operator.truediv, operator.pow, operator.mod, operator.matmul])
def test_potentials_of_the_reference_cannot_be_multiplied(operation) -> None:
    number = Adder(1.0, Tally())
    for pair in ((number, 2.0), (2.0, number), (number, number)):
        with pytest.raises(TypeError):
            operation(*pair)


@pytest.mark.parametrize("function", ["simulate", "_fire", "_deliver_one", "_decision", "accumulate"])
def test_no_multiplication_stands_in_the_kernels(function: str) -> None:
    """Of potentials, weights and counts; sizes of the event pool are doubled, and the random order is drawn by shifts."""
    source = ast.parse(inspect.getsource(getattr(event_kernel, function).py_func))
    products = [
        ast.unparse(node)
        for node in ast.walk(source)
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Mult | ast.Div | ast.Pow | ast.FloorDiv | ast.MatMult)
    ]
    assert set(products) <= {"2 * size"}


def test_operations_of_a_layerwise_pass_are_spikes_times_fan_out() -> None:
    net = dense_net()
    inputs = values(net, 6)
    found, ops = forward_events(net, inputs)
    spikes = [4 * inputs.values, *found.counts]
    fan_out = [stage.n_out for stage in net.stages]
    assert ops.synaptic == sum(int(n.sum()) * out for n, out in zip(spikes, fan_out, strict=True))
    assert ops.events == sum(int(n.sum()) for n in spikes)
    assert ops.resets == ops.counts == sum(int(n.sum()) for n in found.counts)
    assert ops + Operations(1, 2, 3, 4, 5) == Operations(
        *(a + b for a, b in zip(ops.as_tuple(), (1, 2, 3, 4, 5), strict=True))
    )


def test_unknown_orders_and_discharges_are_refused() -> None:
    net = dense_net()
    with pytest.raises(OptionError, match="'fifo', 'lifo', 'random'"):
        forward_events(net, values(net, 1), order="sorted")
    with pytest.raises(OptionError, match="'layerwise', 'asynchronous', 'symmetric'"):
        forward_events(net, values(net, 1), discharge="eager")
    with pytest.raises(InputError, match="allowed >= 0"):
        forward_events(net, rules.Values(-torch.ones(1, 9), torch.zeros(1, dtype=torch.int64)))
