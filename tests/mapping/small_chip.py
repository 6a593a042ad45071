"""A chip of eight neurons, networks that fit it or do not, and what the compiler says of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from hwloop.errors import CompileError
from hwloop.mapping import (
    Capabilities,
    compile_network,
)
from hwloop.network import LIF, Dense, Network

CHIP = Capabilities(name="test/chip", n_neurons=8, fan_in=4, weight_bits=6, speedup=1000.0)


def network(
    n_in: int = 2, n_out: int = 2, delay: Any = None, dtype: torch.dtype = torch.float64, **lif: Any
) -> Network:
    values = {
        name: torch.as_tensor(value, dtype=torch.float64) if isinstance(value, float | list) else value
        for name, value in {"tau_mem": 10e-3, "tau_syn": 5e-3, **lif}.items()
    }
    weight = torch.tensor([[1.0, -0.5, 0.25, 0.125], [0.75, 0.5, -1.0, 0.375]], dtype=torch.float64)
    dense = Dense(n_in, n_out, delay=delay)
    with torch.no_grad():
        dense.weight.copy_(weight.repeat(n_out, n_in)[:n_out, :n_in])
    return Network([dense, LIF(n_out, **values)]).to(dtype)


def limits(**changes: Any) -> Capabilities:
    return dataclasses.replace(CHIP, **changes)


def refused(net: Network, capabilities: Capabilities, **options: Any) -> CompileError:
    with pytest.raises(CompileError) as caught:
        compile_network(net, capabilities, **options)
    return caught.value
