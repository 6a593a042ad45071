"""The optimiser that loops make of torch's Adam is torch's Adam."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.datasets import yin_yang
from hwloop.errors import InputError
from hwloop.losses import FirstSpike
from hwloop.network import LIF, Dense, Network
from hwloop.rules.base import find
from hwloop.training.options import made, used


def network() -> Network:
    g = torch.Generator().manual_seed(0)
    first, second = Dense(5, 33).init_normal_(1.2, 1.2, g), Dense(33, 3).init_normal_(0.3, 0.6, g)
    return Network([first, LIF(33, 10e-3, 5e-3), second, LIF(3, 10e-3, 5e-3)])


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_the_fused_optimiser_differs_in_rounding_alone(kind: Any) -> None:
    """Weights lie column by column, which a fused step that took them row by row would mix up."""
    nets = [network(), network()]
    optimizers = [kind(nets[0].parameters(), lr=3e-3), made(kind, nets[1].parameters(), 3e-3)]
    assert optimizers[1].defaults["fused"]
    inputs = yin_yang(sizes=(60, 2, 2)).train
    for _ in range(4):
        for net, optimizer in zip(nets, optimizers, strict=True):
            optimizer.zero_grad()
            FirstSpike(1e-3)(net, net(inputs.inputs), inputs.labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    for plain, fused in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        # roundings of 1e-7 of a step, in a gradient that depends on them: four steps of 3e-3
        torch.testing.assert_close(fused, plain, rtol=1e-5, atol=1e-6)


def test_other_optimisers_and_other_tensors_are_left_as_they_are() -> None:
    weights = [torch.nn.Parameter(torch.zeros(2, dtype=torch.float16))]
    assert not made(torch.optim.Adam, weights, 1e-3).defaults.get("fused")
    seen: list[dict[str, Any]] = []

    def factory(parameters: Any, **options: Any) -> torch.optim.Optimizer:
        seen.append(options)
        return torch.optim.SGD(parameters, **options)

    made(factory, network().parameters(), 0.1)
    assert seen == [{"lr": 0.1}]


def test_a_fit_leaves_gradients_and_moments_in_the_layout_of_the_weights() -> None:
    held: list[torch.optim.Optimizer] = []

    class Kept(torch.optim.Adam):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            held.append(self)

    hl.fit(network(), yin_yang(sizes=(30, 10, 5)), FirstSpike(1e-3), epochs=1, optimizer=Kept, progress=False)
    for parameter, state in held[0].state.items():
        assert parameter.grad is not None
        assert parameter.stride() == parameter.grad.stride() == state["exp_avg"].stride()


def test_an_order_of_batches_that_is_not_asked_for_is_that_of_seed_0() -> None:
    task, states = yin_yang(sizes=(60, 30, 30)), []
    for options in ({}, {"seed": 0}, {"seed": 1}):
        net = network()
        hl.fit(net, task, FirstSpike(1e-3), epochs=1, batch_size=20, progress=False, **options)
        states.append(net.blocks[0][0].weight.detach().clone())
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(("given", "found"), [(None, 0.2), (0.5, 0.5)])
def test_the_floor_of_a_rule_that_has_none_is_the_loops_unless_given(given: float | None, found: float) -> None:
    assert used(find("hm2bp"), given, None, 0.2) == {"floor": found, "policy": "clip"}
    with pytest.raises(InputError, match="floor = -1"):
        used(find("hm2bp"), -1, None, 0.2)
