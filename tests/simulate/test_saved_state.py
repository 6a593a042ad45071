"""The backward pass is that of the layer that ran: what was changed in place meanwhile is refused, as torch does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from hwloop.network import LIF, Dense, Network
from hwloop.neurons import PARAMETERS
from hwloop.simulate import Options, layer_call, membrane_maximum
from hwloop.spikes import Spikes

REFUSED = pytest.raises(RuntimeError, match="modified by an inplace operation")
N_IN, N = 5, 6


def spikes(dtype: torch.dtype = torch.float64) -> Spikes:
    first = torch.rand((4, N_IN), generator=torch.Generator().manual_seed(1), dtype=dtype) * 10e-3
    return Spikes.from_first_times(first, 60e-3)


def weights(pre_major: bool = True) -> Tensor:
    drawn = torch.rand((N_IN, N), generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.5
    return (drawn.t() if pre_major else drawn.t().contiguous()).requires_grad_()


def neurons(trained: bool = False) -> dict[str, Tensor]:
    values = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 0.0}
    return {
        name: torch.full((N,), values[name], dtype=torch.float64).requires_grad_(trained and name != "t_ref")
        for name in PARAMETERS
    }


def gradients(out: Spikes, of: list[Tensor], keep: bool = False) -> list[Tensor]:
    finite = torch.where(out.valid, out.times, 0.0)
    return list(torch.autograd.grad((finite * torch.arange(1.0, 1 + finite.shape[1])).sum(), of, retain_graph=keep))


def scale(tensor: Tensor) -> None:
    with torch.no_grad():
        tensor.mul_(0.5)


@pytest.mark.parametrize("pre_major", [True, False], ids=["view", "copy"])
def test_gradient_of_weights_that_changed_since_is_refused(pre_major: bool) -> None:
    weight = weights(pre_major)
    inputs = spikes()
    inputs.times.requires_grad_()
    out, _ = layer_call(inputs, weight, neurons(), Options())
    scale(weight)
    with REFUSED:
        gradients(out, [inputs.times])


def test_gradient_of_a_network_whose_weights_were_scaled_is_refused() -> None:
    g = torch.Generator().manual_seed(3)
    net = Network([Dense(N_IN, 12, generator=g), LIF(12, 10e-3, 5e-3), Dense(12, 3, generator=g), LIF(3, 10e-3, 5e-3)])
    net.double()
    with torch.no_grad():
        net.blocks[1][0].weight.fill_(0.5)
    record = net(spikes())
    assert record.output.counts.any()
    scale(net.blocks[1][0].weight)
    with REFUSED:
        record.output.times[record.output.valid].sum().backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("what", ["times", "units", "counts"])
def test_gradient_of_inputs_that_changed_since_is_refused(what: str) -> None:
    inputs, weight = spikes(), weights()
    out, _ = layer_call(inputs, weight, neurons(), Options())
    getattr(inputs, what).zero_()
    with REFUSED:
        gradients(out, [weight])


@pytest.mark.parametrize("what", ["times", "units", "counts"])
def test_gradient_of_an_answer_that_was_changed_is_refused(what: str) -> None:
    weight = weights()
    out, _ = layer_call(spikes(), weight, neurons(), Options())
    loss = out.times.clone()[out.valid].sum()
    with torch.no_grad():
        getattr(out, what).mul_(0)
    with REFUSED:
        loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("what", ["times", "units", "counts"])
def test_measured_spikes_may_change_after_the_replay(what: str) -> None:
    inputs, weight = spikes(), weights()
    free, _ = layer_call(inputs, weight, neurons(), Options())
    expected = gradients(free, [weight])
    measured = Spikes(free.times.detach().clone(), free.units.clone(), free.counts.clone(), N, free.t_stop)
    out, _ = layer_call(inputs, weight, neurons(), Options(), measured)
    getattr(measured, what).zero_()
    assert torch.equal(gradients(out, [weight])[0], expected[0])


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name != "t_ref"])
def test_gradient_of_trained_neurons_that_changed_since_is_refused(name: str) -> None:
    weight, params = weights(), neurons(trained=True)
    out, _ = layer_call(spikes(), weight, params, Options())
    scale(params[name])
    with REFUSED:
        gradients(out, [weight])


def test_fixed_neurons_may_change_after_they_ran() -> None:
    inputs, weight, params = spikes(), weights(), neurons()
    expected = gradients(layer_call(inputs, weight, params, Options())[0], [weight])
    out, _ = layer_call(inputs, weight, params, Options())
    for value in params.values():
        value.mul_(0.5)
    assert torch.equal(gradients(out, [weight])[0], expected[0])


def test_other_data_in_the_place_of_weights_leave_the_gradient_of_those_that_ran() -> None:
    inputs, weight = spikes(), weights()
    inputs.times.requires_grad_()
    expected = gradients(layer_call(inputs, weight, neurons(), Options())[0], [inputs.times])
    out, _ = layer_call(inputs, weight, neurons(), Options())
    weight.data = torch.full((N, N_IN), 7.0, dtype=torch.float64)
    assert torch.equal(gradients(out, [inputs.times])[0], expected[0])


def test_what_hooks_of_saved_tensors_hand_back_is_read() -> None:
    inputs, weight = spikes(), weights()
    expected = gradients(layer_call(inputs, weight, neurons(), Options())[0], [weight])
    taken: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        taken.append(tensor)
        return tensor.clone()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out, _ = layer_call(inputs, weight, neurons(), Options())
    with torch.no_grad():
        for tensor in (weight, inputs.times, inputs.units, inputs.counts):
            tensor.zero_()  # the copies stand for them: with hooks torch no longer watches the originals
    finite = torch.where(torch.arange(out.times.shape[1]) < out.counts[:, None], out.times, 0.0)
    found = torch.autograd.grad((finite * torch.arange(1.0, 1 + finite.shape[1])).sum(), [weight])
    assert taken
    assert torch.equal(found[0], expected[0])


def test_backward_twice_gives_the_same_gradient_twice() -> None:
    inputs, weight, params = spikes(), weights(), neurons(trained=True)
    inputs.times.requires_grad_()
    out, _ = layer_call(inputs, weight, params, Options())
    of = [inputs.times, weight, params["tau_mem"], params["v_th"]]
    first, second = gradients(out, of, keep=True), gradients(out, of)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_run_without_gradient_between_forward_and_backward_changes_nothing() -> None:
    inputs, weight = spikes(), weights()
    expected = gradients(layer_call(inputs, weight, neurons(), Options())[0], [weight])
    out, _ = layer_call(inputs, weight, neurons(), Options())
    with torch.no_grad():
        quiet, _ = layer_call(spikes(), weights(), neurons(), Options())
    assert not quiet.times.requires_grad
    assert torch.equal(gradients(out, [weight])[0], expected[0])


def test_a_weight_that_lies_in_the_memory_of_another_is_watched_with_it() -> None:
    held = torch.full((2 * N_IN, N), 1.0, dtype=torch.float64)
    weight = held[:N_IN].t().requires_grad_()
    out, _ = layer_call(spikes(), weight, neurons(), Options())
    held[N_IN - 1] = 3.0
    with REFUSED:
        gradients(out, [weight])


def test_spikes_made_in_inference_mode_train_as_others_do() -> None:
    with torch.inference_mode():
        inputs = spikes()
    weight = weights()
    expected = gradients(layer_call(spikes(), weight, neurons(), Options())[0], [weight])
    found = gradients(layer_call(inputs, weight, neurons(), Options())[0], [weight])
    assert torch.equal(found[0], expected[0])


def _mask() -> Tensor:
    return torch.ones((4, N), dtype=torch.bool)


@pytest.mark.parametrize("what", ["weight", "times", "units", "counts", "mask", "tau_mem"])
def test_gradient_of_a_membrane_maximum_is_that_of_what_ran(what: str) -> None:
    inputs, weight, params, mask = spikes(), weights(), neurons(trained=True), _mask()
    top = membrane_maximum(inputs, weight, params, mask)
    tensors: dict[str, Any] = {
        "weight": weight, "times": inputs.times, "units": inputs.units, "counts": inputs.counts, "mask": mask, **params
    }  # fmt: skip
    with torch.no_grad():
        tensors[what].zero_()
    with REFUSED:
        top.sum().backward()  # type: ignore[no-untyped-call]


def test_a_membrane_maximum_is_differentiated_twice_alike() -> None:
    inputs, weight, params = spikes(), weights(), neurons()
    top = membrane_maximum(inputs, weight, params, _mask())
    gradient: Callable[[bool], Tensor] = lambda keep: torch.autograd.grad(top.sum(), weight, retain_graph=keep)[0]  # noqa: E731
    assert torch.equal(gradient(True), gradient(False))
