"""Networks and inputs for the tests of the fixed-point target."""

from __future__ import annotations

from typing import Any

import torch

from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes

TAU_MEM, TAU_SYN = 10e-3, 5e-3


def network(
    *sizes: int, seed: int = 3, delay: float | None = None, dtype: torch.dtype = torch.float64, **lif: Any
) -> Network:
    """Layers of ``sizes`` with first weights drawn from ``seed``; ``lif`` replaces parameters of all populations."""
    generator = torch.Generator().manual_seed(seed)
    # tensors of float64: a plain number would be rounded to float32 first
    values = {
        name: torch.as_tensor(value, dtype=torch.float64) if isinstance(value, (float, list)) else value
        for name, value in {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, **lif}.items()
    }
    layers: list[torch.nn.Module] = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):  # noqa: RUF007 (pairs with their names)
        layers += [Dense(n_in, n_out, delay=delay, generator=generator), LIF(n_out, **values)]
    return Network(layers).to(dtype)


def with_weight(net: Network, layer: int, weight: Any) -> Network:
    """``net`` with the weights ``[n_out, n_in]`` of ``layer`` replaced."""
    with torch.no_grad():
        net.blocks[layer][0].weight.copy_(torch.as_tensor(weight))
    return net


def spikes(n_in: int, batch: int = 8, events: int = 12, t_stop: float = 50e-3, seed: int = 5) -> Spikes:
    """Random input spikes in the first half of the window, float64."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.sort(torch.rand(batch, events, generator=generator, dtype=torch.float64) * t_stop / 2, dim=1).values
    units = torch.randint(0, n_in, (batch, events), generator=generator)
    return Spikes(times, units, torch.full((batch,), events), n_in, t_stop)
