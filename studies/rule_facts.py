"""What the study ``rules`` measures of a trained network beyond its accuracy: operations, firing rates, how exact it is."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hwloop import rules
from hwloop.losses import Loss
from hwloop.rules.spide.rule import Spide, equilibrium, firing
from hwloop.rules.spikegrad.events import backward_events, forward_events, update_events
from hwloop.rules.spikegrad.rule import SpikeGrad

#: Samples followed event by event, and samples whose rates are averaged.
FOLLOWED, AVERAGED = 20, 1000


def facts(
    rule: rules.Rule, net: rules.StepNetwork, task: rules.ValueTask, loss: Loss, batch_size: int
) -> dict[str, Any]:
    """Further figures for the rows of ``rule``, trained in batches of that size; none for a rule that has none."""
    if isinstance(rule, SpikeGrad):
        return _spikegrad(rule, net, task, loss)
    return _spide(rule, net, task, loss, batch_size) if isinstance(rule, Spide) else {}


def _spikegrad(rule: SpikeGrad, net: rules.StepNetwork, task: rules.ValueTask, loss: Loss) -> dict[str, Any]:
    """Additions and comparisons of one training sample, event by event, beside the products of the dense network.

    ``event_path_equal``: whether all net counts, forward and backward, are those of the quantised network, in float64.
    """
    net, part = copy.deepcopy(net).double(), task.train.select(slice(0, FOLLOWED))
    record, forward = forward_events(net, part.inputs, discharge=rule.discharge)
    expected = rule.forward(net, part.inputs)
    grad = _gradient(net, record, part.labels, loss)
    errors, backward = backward_events(net, record, grad, rule=rule)
    _, update = update_events(net, record, errors, rule=rule)
    equal = all(map(torch.equal, record.counts, expected.counts))
    equal &= all(map(torch.equal, errors, rule.error_spikes(net, expected, grad)))
    products = sum(stage.connection.weight.numel() for stage in net.stages)
    passes = {"forward": forward, "backward": backward, "update": update}
    return {
        "additions_a_sample": {name: ops.additions // FOLLOWED for name, ops in passes.items()},
        "comparisons_a_sample": {name: ops.comparisons // FOLLOWED for name, ops in passes.items()},
        "products_of_the_dense_network": products, "event_path_equal": equal,
        "error_spikes_a_sample": [round(float(z.abs().sum()) / FOLLOWED, 1) for z in errors],
    }  # fmt: skip


def _spide(rule: Spide, net: rules.StepNetwork, task: rules.ValueTask, loss: Loss, batch_size: int) -> dict[str, Any]:
    """Firing rates of both passes, and how far rates and gradients are from the equilibrium and the linear solver's."""
    part = task.train.select(slice(0, AVERAGED))
    record = rule.forward(net, part.inputs)
    # the scale acts on the mean over a batch as trained
    grad = _gradient(net, record, part.labels, loss) * (AVERAGED / batch_size)
    spiking = rule.gradients(net, record, grad)
    backward = record.traces["backward"]
    exact = replace(rule, solver="implicit").gradients(net, record, grad)
    rates = equilibrium(net, part.inputs, tolerance=1e-5)
    away = max(float((a - e).abs().mean()) for a, e in zip(record.traces["rates"], rates, strict=True))
    return {
        "firing_forward": round(firing(record, net.steps), 4), "firing_backward": round(backward.firing, 4),
        "saturated": backward.saturated, "largest_beta": backward.largest,
        "rate_from_equilibrium": round(away, 4),
        "gradient_from_implicit": {name: round(_angle(spiking[name], exact[name]), 4) for name in exact},
    }  # fmt: skip


def _gradient(net: rules.StepNetwork, record: rules.StepRecord, labels: Tensor, loss: Loss) -> Tensor:
    readout = record.readout.detach().requires_grad_()
    (grad,) = torch.autograd.grad(loss(net, record.with_readout(readout), labels), readout)
    return grad


def _angle(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two gradients."""
    return float(torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0))
