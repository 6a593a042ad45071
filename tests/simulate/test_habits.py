"""What users hand to a network: dtypes, layouts and sizes are taken as meant, or refused with what to do."""

from __future__ import annotations

import pytest
import torch

from hwloop.errors import InputError
from hwloop.network import LIF, Dense, Network
from hwloop.neurons import PARAMETERS
from hwloop.simulate import Options, layer_call, membrane_maximum
from hwloop.spikes import Spikes

N_IN, N = 5, 6
HALVES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["half", "bfloat16"])


def network(dtype: torch.dtype = torch.float32) -> Network:
    g = torch.Generator().manual_seed(3)
    net = Network([Dense(N_IN, N, generator=g), LIF(N, 10e-3, 5e-3), Dense(N, 2, generator=g), LIF(2, 10e-3, 5e-3)])
    with torch.no_grad():
        net.blocks[0][0].weight.fill_(1.6)
        net.blocks[1][0].weight.fill_(2.0)
    return net.to(dtype)


def spikes(dtype: torch.dtype = torch.float32, batch: int = 4) -> Spikes:
    first = torch.rand((batch, N_IN), generator=torch.Generator().manual_seed(1)) * 10e-3
    return Spikes.from_first_times(first.to(dtype), 60e-3)


def parameters(n: int = N) -> dict[str, torch.Tensor]:
    values = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 0.0}
    return {name: torch.full((n,), values[name]) for name in PARAMETERS}


@HALVES
def test_a_network_of_half_precision_is_refused_with_what_to_do(dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(InputError, match=rf"{name}; allowed: float32.*net\.float\(\)"):
        network(dtype)(spikes())
    with pytest.raises(InputError, match=rf"layer: weights have dtype {name}; allowed: float32.*net\.float\(\)"):
        layer_call(spikes(), torch.ones(N, N_IN, dtype=dtype), parameters(), Options())
    assert network(dtype).float()(spikes()).output.counts.any(), "the remedy"


@HALVES
def test_input_times_of_half_precision_are_refused_with_what_to_do(dtype: torch.dtype) -> None:
    given = spikes()
    coarse = Spikes.trusted(given.times.to(dtype), given.units, given.counts, N_IN, given.t_stop)
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(InputError, match=rf"input times have dtype {name}; allowed.*spikes\.to\(torch\.float32\)"):
        network()(coarse)
    with pytest.raises(InputError, match=f"input times have dtype {name}"):
        membrane_maximum(coarse, torch.ones(N, N_IN), parameters())
    assert network()(coarse.to(torch.float32)).output.counts.any(), "the remedy"


@pytest.mark.parametrize("of_net", [torch.float32, torch.float64], ids=["net 32", "net 64"])
@pytest.mark.parametrize("of_input", [torch.float32, torch.float64], ids=["input 32", "input 64"])
def test_the_dtype_of_the_weights_is_that_of_the_answer(of_net: torch.dtype, of_input: torch.dtype) -> None:
    net, given = network(of_net), spikes(of_input)
    given.times.requires_grad_()
    out = net(given).output
    assert out.times.dtype == of_net
    assert torch.equal(out.times, net(given.to(of_net)).output.times)
    out.first_times().clamp(max=60e-3).sum().backward()  # type: ignore[no-untyped-call]
    assert given.times.grad is not None
    assert given.times.grad.dtype == of_input
    assert given.times.grad.any()


def test_neuron_parameters_of_another_dtype_are_taken_in_that_of_the_weights() -> None:
    params = {name: value.double().requires_grad_(name == "v_th") for name, value in parameters().items()}
    weight = torch.full((N, N_IN), 1.6)
    out, _ = layer_call(spikes(), weight, params, Options())
    plain, _ = layer_call(spikes(), weight, parameters(), Options())
    assert torch.equal(out.times, plain.times)
    out.times[out.valid].sum().backward()  # type: ignore[no-untyped-call]
    assert params["v_th"].grad is not None
    assert params["v_th"].grad.dtype == torch.float64


def test_views_of_a_batch_run_as_their_copies_do() -> None:
    net, given = network(), spikes(batch=6)
    wide = Spikes.trusted(
        torch.nn.functional.pad(given.times, (0, 3), value=float("inf")).t().contiguous().t()[::2],
        torch.nn.functional.pad(given.units, (0, 3)).t().contiguous().t()[::2],
        given.counts.repeat_interleave(2)[::4], N_IN, given.t_stop,
    )  # fmt: skip
    assert not wide.times.is_contiguous()
    assert not wide.counts.is_contiguous()
    expected, found = net(given[torch.tensor([0, 2, 4])]).output, net(wide).output
    assert torch.equal(found.times, expected.times)
    assert torch.equal(found.first_times(), expected.first_times())
    gradients = []
    for out in (found, expected):
        net.zero_grad()
        out.first_times().clamp(max=60e-3).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append(net.blocks[0][0].weight.grad)
    assert gradients[0] is not None
    assert torch.equal(gradients[0], gradients[1])  # type: ignore[arg-type]


def test_a_batch_of_no_samples_is_refused() -> None:
    given = spikes()
    empty = Spikes.trusted(given.times[:0], given.units[:0], given.counts[:0], N_IN, given.t_stop)
    with pytest.raises(InputError, match="a batch of no samples; give at least one"):
        network()(empty)


@pytest.mark.parametrize("weight", [torch.ones(0, N_IN), torch.ones(N_IN)], ids=["no neuron", "one axis"])
def test_weights_that_make_no_layer_are_refused(weight: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"layer: weights \(.*\); allowed: \[n_out >= 1, n_in\]"):
        layer_call(spikes(), weight, parameters(), Options())


def test_parameters_of_another_number_of_neurons_are_refused() -> None:
    with pytest.raises(InputError, match=f"tau_mem has {N + 1}.*allowed: one for each of {N} neurons"):
        layer_call(spikes(), torch.ones(N, N_IN), parameters(N + 1), Options())


def test_a_second_derivative_of_spike_times_is_refused() -> None:
    given, net = spikes(), network()
    given.times.requires_grad_()
    (first,) = torch.autograd.grad(
        net(given).output.first_times().clamp(max=0.06).square().sum(), given.times, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()  # type: ignore[no-untyped-call]
