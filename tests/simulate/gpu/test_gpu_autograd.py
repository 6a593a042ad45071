"""Networks whose tensors are on the GPU: gradients, counts, convolutions and losses as on the CPU, and nothing made elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import hwloop as hl
from hwloop import losses
from hwloop.errors import GradientError, InputError
from hwloop.simulate import Options, layer_call, membrane_maximum
from hwloop.simulate.convolution import Geometry, convolution_call
from hwloop.simulate.first_spikes import (
    cross_entropy_by_torch,
    first_spike_cross_entropy,
    first_units,
    first_units_by_torch,
)
from hwloop.spikes import Spikes

from .gpu_support import RUNS, device, needs_kernels

if RUNS:
    from hwloop.simulate.gpu import memory
    from hwloop.simulate.gpu.differentiable import MembraneMaximumOnDevice

pytestmark = needs_kernels

T_STOP = 0.03
NEURON = {"tau_mem": 1e-2, "tau_syn": 5e-3, "v_th": 0.4, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 1e-3}


@contextmanager
def nothing_made_elsewhere() -> Iterator[None]:
    """What is made without a device goes to ``meta`` here, and fails where it meets a tensor of the pass."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


def inputs(n: int = 4) -> Spikes:
    return Spikes.from_events([([1e-3, 2e-3, 4e-3], [0, 1, n - 1]), ([1e-3], [2]), ([], [])], n, T_STOP, torch.float64)


def neurons(n: int, where: str) -> dict[str, Tensor]:
    return {
        name: torch.full((n,), value, dtype=torch.float64, device=where).requires_grad_()
        for name, value in NEURON.items()
    }


def two_layers(where: str, engine: str, loss: Callable[[Spikes], Tensor]) -> list[Tensor]:
    """The loss of 4-5-3 and its gradients, on the CPU."""
    r = torch.Generator().manual_seed(1)
    first = (2.0 * torch.rand(5, 4, dtype=torch.float64, generator=r)).to(where).requires_grad_()
    second = torch.rand(3, 5, dtype=torch.float64, generator=r).to(where).requires_grad_()
    given, hidden_neurons, output_neurons = inputs().to(where), neurons(5, where), neurons(3, where)
    with nothing_made_elsewhere():
        hidden, _ = layer_call(given, first, hidden_neurons, Options(engine=engine))
        output, call = layer_call(hidden, second, output_neurons, Options(engine=engine))
        value = loss(output)
        value.backward()  # type: ignore[no-untyped-call]
    every = [first, second, *hidden_neurons.values(), *output_neurons.values()]
    counts = torch.tensor([call.used, call.below_floor, call.silent])
    return [value.detach().cpu(), counts, *(tensor.grad.cpu() for tensor in every if tensor.grad is not None)]


def first_spikes(output: Spikes) -> Tensor:
    first = output.first_times()
    return torch.where(torch.isfinite(first), first, T_STOP).square().sum()


def count(output: Spikes) -> Tensor:
    return losses.differentiable_counts(output).square().sum()


@pytest.mark.parametrize("loss", [first_spikes, count])
def test_two_layers_have_the_gradients_of_the_cpu(loss: Callable[[Spikes], Tensor]) -> None:
    found, expected = two_layers(device().type, "gpu", loss), two_layers("cpu", "cpu", loss)
    assert len(found) == len(expected) == 16
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_a_measurement_and_its_residuals_are_those_of_the_cpu() -> None:
    weight = torch.full((2, 4), 1.5, dtype=torch.float64)
    measured = Spikes.from_events([([3e-3, 6e-3], [0, 1]), ([3e-3], [1]), ([], [])], 2, T_STOP, torch.float64)
    answers = []
    for where, engine in ((device().type, "gpu"), ("cpu", "cpu")):
        w = weight.to(where).requires_grad_()
        output, call = layer_call(inputs().to(where), w, neurons(2, where), Options(engine=engine), measured)
        first_spikes(output).backward()  # type: ignore[no-untyped-call]
        assert call.trace is not None
        assert w.grad is not None
        answers.append((output.times.detach().cpu(), w.grad.cpu(), torch.from_numpy(call.trace.residual)))
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_a_convolution_has_the_gradients_of_the_cpu() -> None:
    geometry, r = Geometry((1, 3, 3), 2, 2), torch.Generator().manual_seed(2)
    kernel = 2.0 * torch.rand(geometry.weight_shape, dtype=torch.float64, generator=r)
    answers = []
    for where, engine in ((device().type, "gpu"), ("cpu", "cpu")):
        w, own = kernel.to(where).requires_grad_(), neurons(2, where)
        output, call = convolution_call(inputs(9).to(where), w, geometry, own, Options(engine=engine))
        first_spikes(output).backward()  # type: ignore[no-untyped-call]
        gradients = [value.grad.cpu() for value in (w, *own.values()) if value.grad is not None]
        assert len(gradients) == 7
        assert call.used > 4
        answers.append([output.times.detach().cpu(), *gradients])
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_the_largest_membrane_has_the_gradients_of_the_cpu() -> None:
    weight, mask = torch.full((2, 4), 0.8, dtype=torch.float64), torch.ones(3, 2, dtype=torch.bool)
    answers = []
    for on_device in (True, False):
        where = device().type if on_device else "cpu"
        w, own, given = weight.to(where).requires_grad_(), neurons(2, where), inputs().to(where)
        top = (
            MembraneMaximumOnDevice.apply(given, mask.to(where), given.times, w, *own.values())  # type: ignore[no-untyped-call]
            if on_device
            else membrane_maximum(given, w, own)
        )
        top.square().sum().backward()
        assert w.grad is not None
        answers.append([top.detach().cpu(), w.grad.cpu()])
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("change", ["nan", "endless", "raise"])
def test_what_the_cpu_refuses_is_refused(change: str) -> None:
    where, own = device().type, neurons(2, device().type)
    weight = torch.full((2, 4), 1.5, dtype=torch.float64, device=where)
    options: dict[str, Any] = {"engine": "gpu"}
    expected: type[Exception] = InputError
    if change == "nan":
        weight[0, 1] = torch.nan
    elif change == "endless":
        weight.fill_(1e15)
        own["t_ref"] = torch.zeros_like(own["t_ref"])
    else:
        options, expected = {**options, "floor": 1e3, "policy": "raise"}, GradientError
    with pytest.raises(expected):
        layer_call(inputs().to(where), weight, own, Options(**options))


def test_weights_that_changed_since_they_ran_are_refused() -> None:
    where = device().type
    weight = torch.full((2, 4), 1.5, dtype=torch.float64, device=where).requires_grad_()
    output, _ = layer_call(inputs().to(where), weight, neurons(2, where), Options(engine="gpu"))
    with torch.no_grad():
        weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        first_spikes(output).backward()  # type: ignore[no-untyped-call]


def test_a_batch_that_the_device_cannot_hold_says_how_much_it_needs() -> None:
    with (
        pytest.raises(InputError, match=r"needs 3 MiB more, .* Use smaller batches"),
        memory.holding(torch.device("cpu"), "7 samples with room for 9 spikes", 3 << 20),
    ):
        raise torch.cuda.OutOfMemoryError


def test_losses_and_decisions_off_the_cpu_are_those_on_it() -> None:
    events = [([1e-3, 1e-3, 5e-3], [2, 1, 0]), ([2e-3], [0]), ([], [])]
    output, labels = Spikes.from_events(events, 3, T_STOP, torch.float64), torch.tensor([1, 2, 0])
    assert first_units(output).tolist() == first_units_by_torch(output.to(device())).tolist() == [1, 0, -1]
    expected = first_spike_cross_entropy(output, labels, 1e-3)
    torch.testing.assert_close(cross_entropy_by_torch(output.to(device()), labels, 1e-3).cpu(), expected)


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_a_network_is_run_and_trained_where_it_is(kind: str) -> None:
    answers = []
    for where, engine in ((device().type, "gpu"), ("cpu", "cpu")):
        torch.manual_seed(3)
        neurons_of = {"tau_mem": 1e-2, "tau_syn": 5e-3, "v_th": 0.3}
        first: list[Any] = (
            [hl.Dense(9, 4, delay=torch.full((9,), 1e-3)), hl.LIF(4, **neurons_of)]
            if kind == "dense"
            else [hl.Conv2d(1, 1, 2), hl.LIF((1, 2, 2), **neurons_of), hl.Flatten()]
        )
        shape: dict[str, Any] = {} if kind == "dense" else {"in_shape": (1, 3, 3)}
        net = hl.Network([*first, hl.Dense(4, 3), hl.LIF(3, **neurons_of)], **shape)
        for parameter in net.parameters():
            if parameter.ndim > 1:
                torch.nn.init.uniform_(parameter, 0.2, 2.0)
        net = net.double().to(where)
        given, labels = inputs(9).to(where), torch.tensor([0, 1, 2])
        with nothing_made_elsewhere():
            record = net(given, engine=engine)
            value = losses.FirstSpike(1e-3)(net, record, labels) + losses.SpikeCount(2, 0)(net, record, labels)
            value.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad.cpu() for p in net.parameters() if p.grad is not None]
        assert len(gradients) >= 2
        answers.append([value.detach().cpu(), *gradients])
    for a, b in zip(*answers, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
