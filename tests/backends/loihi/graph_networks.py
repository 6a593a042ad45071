"""Small networks with what chains do not have, and inputs for them: loops, delays, biases, convolutions, other neurons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

import hwloop as hl
from hwloop.network import IF, LIF, Conv2d, DeltaLIF, Dense, Flatten, Input, Network, SumPool2d
from hwloop.network.structure import Projection

#: Window of the inputs (s), and seconds of it in which they fall.
T_STOP, BUSY = 40e-3, 25e-3


def inputs(n: int, *, batch: int = 4, rate: float = 5.0, seed: int = 0, dt: float | None = None) -> hl.Spikes:
    """Random spikes, some ``rate`` a unit; on the ticks of ``dt`` (s), one a unit and tick, where it is given."""
    rng = np.random.default_rng(seed)
    events = []
    for _ in range(batch):
        count = int(rng.poisson(rate * n))
        times, units = rng.uniform(0, BUSY, count), rng.integers(0, n, count)
        if dt is not None:
            ticks, units = np.unique(np.stack([np.rint(times / dt), units]), axis=1)
            times, units = ticks * dt, units.astype(int)
        order = np.argsort(times, kind="stable")
        events.append((times[order], units[order]))
    return hl.Spikes.from_events(events, n, T_STOP, torch.float64)


def dense(n_in: int, n: int, seed: int, mean: float, std: float, *, bias: float = 0.0, **options: object) -> Dense:
    """A Dense of random weights in float64; ``bias`` of all its neurons."""
    layer = Dense(n_in, n, bias=bias != 0.0, **options).double()  # type: ignore[arg-type]
    layer.init_normal_(mean, std, torch.Generator().manual_seed(seed))
    if layer.bias is not None:
        layer.bias.data.fill_(bias)
    return layer


def loop(back: float = 2e-3, own: float = 1.5e-3, bias: float = 0.0) -> Network:
    """in -> a -> b -> out, in -> out, b -> a after ``back`` (s), a -> a after ``own`` (s)."""
    nodes = {
        "in": Input(6), "a": LIF(8, 10e-3, 5e-3).double(), "b": LIF(6, 12e-3, 4e-3).double(), "out": LIF(4, 10e-3, 5e-3).double()
    }  # fmt: skip
    return Network.graph(
        nodes,
        [
            Projection("in", "a", dense(6, 8, 1, 0.8, 0.5, bias=bias)),
            Projection("a", "b", dense(8, 6, 2, 0.5, 0.4)),
            Projection("b", "a", dense(6, 8, 3, 0.0, 0.4, delay=torch.tensor(back, dtype=torch.float64))),
            Projection("a", "a", dense(8, 8, 6, 0.0, 0.3, delay=torch.tensor(own, dtype=torch.float64))),
            Projection("b", "out", dense(6, 4, 4, 0.6, 0.4)),
            Projection("in", "out", dense(6, 4, 5, 0.4, 0.3)),
        ],
        "out",
    )


def convolution() -> Network:
    """5x5 maps -> 3 maps of 4x4 -> pooled -> 2 maps of 1x1 -> 3 neurons, with a bias."""
    net = Network(
        [
            Conv2d(1, 3, 2, bias=True), LIF((3, 4, 4), 10e-3, 5e-3), SumPool2d(2), Conv2d(3, 2, 2), LIF((2, 1, 1), 10e-3, 5e-3),
            Flatten(), Dense(2, 3), LIF(3, 10e-3, 5e-3),
        ],
        in_shape=(1, 5, 5),
    ).double()  # fmt: skip
    for k, (at, mean, std) in enumerate(((0, 0.6, 0.4), (3, 0.3, 0.2), (6, 0.8, 0.3))):
        net.layers[at].init_normal_(mean, std, torch.Generator().manual_seed(k))  # type: ignore[operator]
    net.layers[0].bias.data.fill_(0.1)  # type: ignore[union-attr]
    return net


def two(first: torch.nn.Module, second: torch.nn.Module, mean: float = 0.9, **options: object) -> Network:
    """6 inputs -> 8 neurons -> 4 neurons of the kinds given; ``options`` of the first Dense."""
    bias = float(options.pop("bias", 0.0))  # type: ignore[arg-type]
    return Network(
        [dense(6, 8, 1, mean, 0.3, bias=bias, **options), first.double(), dense(8, 4, 2, mean, 0.2), second.double()]
    )


def delayed() -> Network:
    """Delays of each synapse."""
    delay = torch.rand(8, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 5e-3
    return two(LIF(8, 10e-3, 5e-3), LIF(4, 10e-3, 5e-3), delay=delay)


def started() -> Network:
    """Membranes that start elsewhere than they rest and are reset to."""
    return two(LIF(8, 10e-3, 5e-3, v_leak=0.3, v_reset=-0.2, v_init=0.6), LIF(4, 10e-3, 5e-3, v_init=-0.4))


def filtered() -> Network:
    """A bias that passes the synapse."""
    return two(LIF(8, 10e-3, 5e-3, filtered_bias=True), LIF(4, 10e-3, 5e-3), 0.5, bias=1.2)


def jumping() -> Network:
    """Delta synapses before current-based ones."""
    return two(DeltaLIF(8, 10e-3), LIF(4, 10e-3, 5e-3), 0.6)


def integrating() -> Network:
    """Neurons without leak and current, whose weights are quarters of the threshold."""
    net = two(IF(8, v_init=0.25), IF(4), 0.4)
    for k in (0, 2):
        weight = net.layers[k].weight  # type: ignore[union-attr]
        weight.data.copy_(torch.round(4 * weight.data) / 4)  # type: ignore[operator,union-attr,arg-type]
    return net


#: By name, with the units of the input.
NETWORKS: dict[str, tuple[Callable[[], Network], int]] = {
    "loop": (loop, 6),
    "biased loop": (lambda: loop(bias=0.3), 6),
    "convolution": (convolution, 25),
    "delays of each synapse": (delayed, 6),
    "starts": (started, 6),
    "filtered bias": (filtered, 6),
    "delta synapses": (jumping, 6),
    "no leak": (integrating, 6),
}
