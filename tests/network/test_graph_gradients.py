"""Gradients of whole graphs against finite differences, and replays of their own spikes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import hwloop as hl

#: Half a step of the central difference, relative to a parameter's size; curvature leaves some 1e-7 of the derivative.
STEP = 1e-6


def parameter(*shape: int, low: float, high: float, seed: int) -> nn.Parameter:
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64))


def dense(n_in: int, n_out: int, mean: float, std: float, seed: int, **options: object) -> hl.Dense:
    layer = hl.Dense(n_in, n_out, **options).double()  # type: ignore[arg-type]
    return layer.init_normal_(mean, std, torch.Generator().manual_seed(seed))


def lif(n: int | tuple[int, ...], trained: bool = False, **options: object) -> hl.LIF:
    count = n if isinstance(n, int) else n[0] * n[1] * n[2]
    values: dict[str, object] = {"tau_mem": 1e-2, "tau_syn": 5e-3}
    if trained:
        values = {
            "tau_mem": parameter(count, low=8e-3, high=1.2e-2, seed=1), "tau_syn": parameter(count, low=4e-3, high=6e-3, seed=2),
            "v_th": parameter(count, low=0.9, high=1.1, seed=3), "v_leak": parameter(count, low=-0.1, high=0.1, seed=4),
            "v_reset": parameter(count, low=-0.2, high=0.0, seed=5), "t_ref": parameter(count, low=1e-3, high=2e-3, seed=6),
            "v_init": parameter(count, low=-0.1, high=0.1, seed=7),
        }  # fmt: skip
    layer = hl.LIF(n, **values, **options)  # type: ignore[arg-type]
    return layer.double()


def maps_with_a_loop() -> tuple[hl.Network, hl.Spikes]:
    """Convolution, pool, skip, a loop with delays of all three kinds, biases, and a readout that does not spike."""
    conv = hl.Conv2d(1, 2, 3, bias=True).double().init_normal_(0.9, 0.4, torch.Generator().manual_seed(0))
    rest = {
        "into": [hl.AvgPool2d(2), hl.Flatten(), dense(8, 4, 1.6, 0.6, 1, bias=True)],
        "again": [hl.Delay(4, parameter(4, low=1e-3, high=2e-3, seed=8)), dense(4, 4, 0.1, 0.3, 2)],
        "back": [dense(4, 3, 0.6, 0.3, 3, delay=parameter(3, 4, low=1e-3, high=2e-3, seed=9))],
        "forth": [dense(3, 4, -0.3, 0.3, 4), hl.Delay(4, parameter(4, low=1e-3, high=3e-3, seed=10))],
        "skip": [dense(36, 2, 0.4, 0.2, 5, bias=True)],
        "out": [dense(4, 2, 0.7, 0.3, 6)],
    }
    for layer in (conv, rest["into"][2], rest["skip"][0]):
        with torch.no_grad():
            layer.bias.copy_(parameter(len(layer.bias), low=0.05, high=0.2, seed=11))  # type: ignore[union-attr, operator, arg-type]
    net = hl.Network.graph(
        {
            "in": hl.Input((1, 6, 6)), "maps": lif((2, 4, 4)), "a": lif(4, trained=True), "b": lif(3, filtered_bias=True),
            "out": hl.LI(2, parameter(2, low=8e-3, high=1.2e-2, seed=12), parameter(2, low=4e-3, high=6e-3, seed=13), filtered_bias=True).double(),
        },
        [
            hl.Projection("in", "maps", conv), hl.Projection("maps", "a", rest["into"]), hl.Projection("a", "a", rest["again"]),
            hl.Projection("a", "b", rest["back"]), hl.Projection("b", "a", rest["forth"]), hl.Projection("in", "out", rest["skip"]),
            hl.Projection("a", "out", rest["out"]),
        ],
    )  # fmt: skip
    first = torch.rand(3, 36, generator=torch.Generator().manual_seed(20), dtype=torch.float64) * 1.5e-2
    return net, hl.Spikes.from_first_times(first, 4e-2)


def spiking_output() -> tuple[hl.Network, hl.Spikes]:
    """A loop of two populations without delay, and a spiking output with a bias through its synapse."""
    net = hl.Network.graph(
        {"in": hl.Input(5), "a": lif(4, trained=True), "b": lif(3), "out": lif(2, filtered_bias=True)},
        [
            hl.Projection("in", "a", dense(5, 4, 1.5, 0.5, 1)), hl.Projection("a", "b", dense(4, 3, 0.8, 0.3, 2)),
            hl.Projection("b", "a", dense(3, 4, -0.4, 0.3, 3)), hl.Projection("a", "out", dense(4, 2, 0.9, 0.3, 4, bias=True)),
            hl.Projection("b", "out", [hl.Scale(3, parameter(3, low=0.8, high=1.2, seed=30)), dense(3, 2, 0.5, 0.3, 5)]),
        ],
    )  # fmt: skip
    with torch.no_grad():
        net.projections[3].maps[0].bias.fill_(0.1)  # type: ignore[union-attr, operator, index]
    first = torch.rand(3, 5, generator=torch.Generator().manual_seed(21), dtype=torch.float64) * 1.5e-2
    return net, hl.Spikes.from_first_times(first, 4e-2)


def readout_loss(record: hl.Record) -> Tensor:
    held = record.readouts["out"]
    each = [held.maximum(), 30.0 * held.integral(), held.at(torch.tensor([5e-3, 2e-2])).sum(1)]
    return sum((k + 1) * (value * torch.tensor([1.0, -0.7], dtype=torch.float64)).sum() for k, value in enumerate(each))  # type: ignore[return-value]


def spike_loss(record: hl.Record) -> Tensor:
    times = record.output.times[record.output.valid]
    return 100.0 * (times * torch.linspace(1.0, 2.0, len(times), dtype=torch.float64)).sum()


CASES: dict[str, tuple[Callable[[], tuple[hl.Network, hl.Spikes]], Callable[[hl.Record], Tensor]]] = {
    "maps with a loop": (maps_with_a_loop, readout_loss),
    "spiking output": (spiking_output, spike_loss),
}


@pytest.mark.parametrize("case", CASES)
def test_every_gradient_agrees_with_finite_differences(case: str) -> None:
    build, loss = CASES[case]
    net, spikes = build()
    record = net(spikes)
    counts = [population.unit_counts() for population in record.populations]
    assert all(int(count.sum()) > 5 for count in counts), [int(count.sum()) for count in counts]
    loss(record).backward()
    rejected = compared = 0
    for name, value in net.named_parameters():
        assert value.grad is not None, name
        for place in range(min(value.numel(), 5)):
            found = []
            at = value.data.view(-1) if value.is_contiguous() else value.data.t().view(-1)
            grad = value.grad.reshape(-1) if value.is_contiguous() else value.grad.t().reshape(-1)
            held, step = float(at[place]), STEP * max(abs(float(at[place])), 1e-3)
            for sign in (1, -1):
                at[place] = held + sign * step
                moved = net(spikes)
                found.append(loss(moved).item())
                same = all(torch.equal(p.unit_counts(), c) for p, c in zip(moved.populations, counts, strict=True))
                rejected += not same
            at[place] = held
            numeric, exact = (found[0] - found[1]) / (2 * step), float(grad[place])
            # rounding of the loss (1e-16 of some 10) over the step, beside 1e-5 of the derivative
            assert abs(numeric - exact) <= 1e-5 * max(abs(exact), abs(numeric)) + 1e-13 / step, (
                name,
                place,
                numeric,
                exact,
            )
            compared += 1
    assert rejected == 0
    assert compared > 30


@pytest.mark.parametrize("case", CASES)
def test_own_spikes_as_measured_give_values_and_gradients_bit_for_bit(case: str) -> None:
    build, loss = CASES[case]
    net, spikes = build()
    own, grads, records = net(spikes), [], []
    for measured in (None, own):
        net.zero_grad()
        record = net(spikes, measured)
        loss(record).backward()
        records.append(record)
        grads.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    for a, b in zip(*(record.populations for record in records), strict=True):
        assert torch.equal(a.times, b.times)
        assert torch.equal(a.units, b.units)
    assert all(torch.equal(grads[0][name], grads[1][name]) for name in grads[0])
    assert records[1].health is not None
    assert set(records[1].health.missing) | set(records[1].health.extra) == {0}


@pytest.mark.parametrize("case", CASES)
def test_float32_agrees_with_float64_to_its_precision(case: str) -> None:
    build, _ = CASES[case]
    net, spikes = build()
    wide = net(spikes)
    narrow = net.float()(spikes.to(torch.float32))
    for a, b in zip(wide.populations, narrow.populations, strict=True):
        assert torch.equal(a.unit_counts(), b.unit_counts())
        torch.testing.assert_close(a.first_times(), b.first_times().double(), rtol=1e-4, atol=1e-7)
