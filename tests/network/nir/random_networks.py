"""Networks of all kinds by number: populations, maps, loops, skips, delays and biases drawn at random."""

from __future__ import annotations

from typing import Any

import torch

from hwloop import Network
from hwloop.network import (
    IF,
    LI,
    LIF,
    AvgPool2d,
    Conv2d,
    Delay,
    DeltaLIF,
    Dense,
    Flatten,
    Input,
    Projection,
    Scale,
    SumPool2d,
)


class Draw:
    """Values of one random network, all of one dtype."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self.generator, self.dtype = torch.Generator().manual_seed(seed), dtype

    def around(self, centre: float, n: int) -> torch.Tensor:
        """``[n]`` within 20 % of ``centre``."""
        drawn = torch.rand(n, generator=self.generator, dtype=torch.float64)
        return (centre * (0.8 + 0.4 * drawn)).to(self.dtype)

    def normal(self, *shape: int, mean: float = 0.5, deviation: float = 0.5) -> torch.nn.Parameter:
        """A parameter of ``shape``."""
        drawn = torch.randn(*shape, generator=self.generator, dtype=torch.float64)
        return torch.nn.Parameter((mean + deviation * drawn).to(self.dtype))

    def lif(self, n: Any, **more: Any) -> LIF:
        """Current-based neurons, every parameter its own in every neuron."""
        size = n if isinstance(n, int) else n[0] * n[1] * n[2]
        values = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, "t_ref": 1e-3, "v_leak": 0.1, "v_reset": -0.2}
        return LIF(n, **{key: self.around(value, size) for key, value in values.items()}, **more)

    def delta(self, n: int, **more: Any) -> DeltaLIF:
        """Neurons that inputs move at once."""
        values = {"tau_mem": 10e-3, "v_th": 1.0, "v_leak": 0.1, "v_reset": -0.2}
        return DeltaLIF(n, **{key: self.around(value, n) for key, value in values.items()}, **more)

    def integrators(self, n: int, **more: Any) -> IF:
        """Neurons without leak."""
        zeros = torch.zeros(n, dtype=self.dtype)
        return IF(n, v_th=self.around(1.0, n), v_reset=-self.around(0.2, n), v_init=zeros, **more)

    def readout(self, n: int, current: bool) -> LI:
        """Neurons that do not spike."""
        synapse = self.around(5e-3, n) if current else None
        return LI(n, self.around(10e-3, n), synapse, self.around(0.1, n), filtered_bias=current)

    def dense(self, n_in: int, n_out: int, bias: bool = False, delay: bool = False) -> Dense:
        """A matrix."""
        layer = Dense(
            n_in, n_out, bias=bias, delay=self.around(2e-3, n_in) if delay else None, generator=self.generator
        )
        layer.weight = torch.nn.Parameter(self.normal(n_in, n_out).detach().t())
        if bias:
            layer.bias = self.normal(n_out, mean=0.0, deviation=0.1)
        return layer

    def conv(self, c_in: int, c_out: int, kernel: int, bias: bool = False, **more: Any) -> Conv2d:
        """A convolution."""
        layer = Conv2d(c_in, c_out, kernel, bias=bias, generator=self.generator, **more)
        layer.weight = self.normal(*layer.weight.shape)
        if bias:
            layer.bias = self.normal(c_out, mean=0.0, deviation=0.1)
        return layer


def recurrent(seed: int, dtype: torch.dtype = torch.float64) -> Network:
    """Two inputs, a loop with a skip, delays of both sides, and a readout or a spiking output."""
    d = Draw(seed, dtype)
    even = seed % 2 == 0
    nodes = {
        "events": Input(4), "context": Input(2), "first": d.lif(6, filtered_bias=even), "second": d.lif(5, reset="subtract"),
        "last": d.readout(3, current=even) if seed % 3 else d.lif(3, max_spikes=4),
    }  # fmt: skip
    projections = [
        Projection("events", "first", [d.dense(4, 6, bias=True, delay=even)]),
        Projection("context", "first", [Scale(2, d.around(1.5, 2)), d.dense(2, 6)]),
        Projection("first", "second", [d.dense(6, 5), Delay(5, d.around(1e-3, 5))]),
        Projection("second", "first", [d.dense(5, 6, delay=True)]),
        Projection("first", "first", [d.dense(6, 6)]),
        Projection("first", "last", [d.dense(6, 4), d.dense(4, 3)]),
        Projection("second", "last", [d.dense(5, 3, bias=even)]),
    ]
    return Network.graph(nodes, projections, "last")


def convolutional(seed: int, dtype: torch.dtype = torch.float64) -> Network:
    """Convolutions with and without groups, both pools, maps of neurons, weights at the end."""
    d = Draw(seed, dtype)
    return Network(
        [
            d.conv(1, 2, 3, bias=seed % 2 == 0, padding=1), LIF((2, 6, 6), 10e-3, 5e-3, v_th=d.around(1.0, 2), filtered_bias=True),
            SumPool2d(2), d.conv(2, 4, 2, groups=2, stride=(1, 2)), d.lif((4, 2, 1)),
            AvgPool2d((2, 1)), Flatten(), d.dense(4, 3, bias=True), d.lif(3),
        ],
        in_shape=(1, 6, 6),
    ).to(dtype)  # fmt: skip


def without_currents(seed: int, dtype: torch.dtype = torch.float64) -> Network:
    """Neurons that inputs move at once, with both resets, biased, with v_init."""
    d = Draw(seed, dtype)
    return Network(
        [
            d.dense(4, 6, bias=True), d.delta(6, reset="subtract", v_init=d.around(0.3, 6)), d.dense(6, 5, delay=True),
            d.integrators(5, reset="value", max_spikes=3), Scale(5, d.around(1.0, 5)), d.dense(5, 3), d.readout(3, current=False),
        ]
    ).to(dtype)  # fmt: skip


def plain(seed: int, dtype: torch.dtype = torch.float64) -> Network:
    """A chain of Dense and LIF, with delays, refractory times and a cap."""
    d = Draw(seed, dtype)
    return Network([d.dense(4, 12, delay=True), d.lif(12), d.dense(12, 3), d.lif(3, max_spikes=3, reset="subtract")])
