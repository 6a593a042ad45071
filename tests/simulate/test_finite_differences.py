"""Every gradient through networks of two and three layers against central differences in float64.

Every spike slot has an upstream gradient of its own. A sample is rejected where, in any layer, the number of spikes
changes near the step, or an input spike passes an output spike: to the one the derivative grows without bound, and at
the other it jumps, because a spike feels what comes before it alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes

#: Relative step of a stencil of order four, and the multiple of it within which no number of spikes and no order of input
#: and output spikes may change.
STEP, MARGIN = 1e-8, 6

TOLERANCE = 1e-5

#: Share of samples that may be rejected before the test says little.
LARGEST_REJECTED_SHARE = 0.1

#: Size of a step of one in each group: its unit in this problem (s or membrane).
UNIT = {"delay": 1e-3, "t_ref": 1e-3, "tau_mem": 1e-2, "tau_syn": 5e-3, "times": 1e-3}

T_STOP, BATCH = 60e-3, 30


def parameter(low: float, high: float, n: int, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64))


def network(seed: int, depth: int, taus: str, reset: str, t_ref: float, v_leak: float) -> Network:
    g = torch.Generator().manual_seed(seed)
    sizes = [5, 14, 10, 4] if depth == 3 else [5, 16, 4]
    layers: list[nn.Module] = []
    for k, (n_in, n) in enumerate(pairwise(sizes)):
        dense = Dense(n_in, n, delay=parameter(0, 2e-3, n_in, g)).double()
        dense.init_normal_(1.3 if k == 0 else 3.0 / n_in, 1.0 if k == 0 else 3.0 / n_in, g)
        if taus == "of each neuron":
            tau_mem, tau_syn = parameter(6e-3, 14e-3, n, g), parameter(3e-3, 12e-3, n, g)
        else:
            ratio = {"ratio 2": 0.5, "equal": 1.0, "general": 0.4}[taus]
            tau_mem = nn.Parameter(torch.full((n,), 10e-3, dtype=torch.float64))
            tau_syn = nn.Parameter(torch.full((n,), 10e-3 * ratio, dtype=torch.float64))
        spread = 0.2 if v_leak else 0.0
        layers += [
            dense,
            LIF(
                n, tau_mem, tau_syn, parameter(0.9, 1.1, n, g), parameter(-0.1, 0.1 + v_leak, n, g),
                parameter(-0.2 - spread, 0.1, n, g), parameter(0.5 * t_ref, 1.5 * t_ref, n, g), reset,
            ),
        ]  # fmt: skip
    return Network(layers)


def groups(net: Network) -> Iterator[tuple[str, Tensor]]:
    for k, (dense, lif) in enumerate(net.blocks):
        yield f"{k} weight", dense.weight
        assert dense.delay is not None
        yield f"{k} delay", dense.delay
        for name, value in lif.parameters_dict().items():
            yield f"{k} {name}", value


def ordinals(spikes: Spikes) -> Tensor:
    """How many spikes its neuron has had before each spike, ``[batch, events]``."""
    mine = nn.functional.one_hot(spikes.units, spikes.n_units) * spikes.valid[:, :, None]
    return torch.gather(mine.cumsum(1), 2, spikes.units[:, :, None])[:, :, 0] - 1


def losses(record: Record, upstream: Tensor) -> Tensor:
    """``[batch]``: sum of spike times, each with the factor of its neuron and ordinal."""
    out = record.output
    factor = torch.where(out.valid, upstream[out.units, ordinals(out).clamp(min=0) % upstream.shape[1]], 0.0)
    return (torch.where(out.valid, out.times, torch.zeros_like(out.times)) * factor).sum(1)


def counts(net: Network, record: Record) -> Tensor:
    """``[batch, ...]``: of every neuron, its spikes, and the input spikes before them, summed over its spikes."""
    parts, current = [], record.inputs
    for (dense, _), out in zip(net.blocks, record.populations, strict=True):
        assert current is not None
        arrivals = dense.transmit(current).times.detach().contiguous()
        before = torch.where(out.valid, torch.searchsorted(arrivals, out.times.detach().contiguous()), 0)
        parts += [out.unit_counts(), torch.zeros_like(out.unit_counts()).scatter_add(1, out.units, before)]
        current = out
    return torch.cat(parts, 1)


CASES = [
    (2, "ratio 2", "value", 0.0, 0.0), (2, "equal", "subtract", 0.0, 0.0), (2, "general", "value", 2e-3, 0.0),
    (2, "of each neuron", "value", 0.0, 1.2), (2, "of each neuron", "subtract", 1e-3, 0.0), (3, "ratio 2", "value", 1e-3, 1.2),
    (3, "equal", "value", 2e-3, 0.0), (3, "general", "subtract", 0.0, 0.0), (3, "of each neuron", "value", 1e-3, 1.2),
]  # fmt: skip


@pytest.mark.parametrize(("depth", "taus", "reset", "t_ref", "v_leak"), CASES)
def test_every_parameter_group_agrees_with_differences(
    depth: int, taus: str, reset: str, t_ref: float, v_leak: float
) -> None:
    g = torch.Generator().manual_seed(depth)
    net = network(depth + 7, depth, taus, reset, t_ref, v_leak)
    first = torch.rand(BATCH, 5, 3, generator=g, dtype=torch.float64) * 30e-3
    order = first.flatten(1).argsort(1)
    times = first.flatten(1).gather(1, order).requires_grad_()
    spikes = Spikes(times, order // 3, torch.full((BATCH,), 15), 5, T_STOP)
    upstream = torch.randn(4, 16, generator=g, dtype=torch.float64)
    record = net(spikes, floor=0.0)
    kept = torch.ones(BATCH, dtype=torch.bool)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    with torch.no_grad():
        base = counts(net, record)
        other, near = copy.deepcopy(net), Spikes(times.clone(), spikes.units, spikes.counts, 5, T_STOP)
        for name, value in [("0 times", near.times), *groups(other)]:
            direction = torch.randn(value.shape, generator=g, dtype=torch.float64)
            step = UNIT.get(name.split()[1], 1.0) * STEP * direction
            if name.endswith("t_ref") and t_ref == 0:
                continue  # t_ref >= 0: no difference on both sides
            ends = {}
            for place in (-MARGIN, -2, -1, 1, 2, MARGIN):
                value += place * step
                moved = other(near, floor=0.0)
                kept &= (counts(other, moved) == base).all(1)
                ends[place] = losses(moved, upstream)
                value -= place * step
            found[name] = ((8 * (ends[1] - ends[-1]) - (ends[2] - ends[-2])) / 12, step)
    rejected = 1 - kept.double().mean().item()
    print(f"rejected {rejected:.1%} of {BATCH} samples")  # shown by pytest -rP
    assert rejected <= LARGEST_REJECTED_SHARE, f"{rejected:.1%} of the samples rejected"
    assert sum(int(p.counts.sum()) for p in record.populations) > 20 * BATCH
    losses(record, upstream)[kept].sum().backward()  # type: ignore[no-untyped-call]
    for name, value in [("0 times", times), *groups(net)]:
        if name not in found:
            continue
        assert value.grad is not None, name
        difference, step = found[name]
        gradient = (value.grad * step).sum().item()
        expected = difference[kept].sum().item()
        # the sum of samples may cancel: relative to what each sample contributes
        scale = math.sqrt(difference[kept].square().sum().item())
        assert abs(gradient - expected) <= TOLERANCE * max(abs(expected), scale), (name, gradient, expected)


def test_gradient_of_t_ref_at_zero_is_the_one_sided_one() -> None:
    net = network(3, 2, "ratio 2", "value", 0.0, 0.0)
    g = torch.Generator().manual_seed(1)
    first = torch.rand(BATCH, 5, generator=g, dtype=torch.float64) * 20e-3
    spikes = Spikes.from_first_times(first, T_STOP)
    upstream = torch.randn(4, 16, generator=g, dtype=torch.float64)
    record = net(spikes, floor=0.0)
    lif = net.blocks[1][1]
    with torch.no_grad():
        other = copy.deepcopy(net)
        other.blocks[1][1].t_ref += 1e-9
        moved = other(spikes, floor=0.0)
        kept = (counts(net, moved) == counts(net, record)).all(1)
        expected = (losses(moved, upstream) - losses(record, upstream))[kept].sum().item() / 1e-9
    losses(record, upstream)[kept].sum().backward()  # type: ignore[no-untyped-call]
    assert lif.t_ref.grad is not None
    # first order in the step: 1e-9 s against time constants of 5e-3 s, some 10 spikes
    assert lif.t_ref.grad.sum().item() == pytest.approx(expected, rel=1e-4)
