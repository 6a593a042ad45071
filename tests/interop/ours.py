"""Networks of ours that packages are given, by the kind of layer; time constants as for packages, ``f`` times as many steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from hwloop import Network, Spikes
from hwloop.network import IF, LI, LIF, AvgPool2d, Conv2d, DeltaLIF, Dense, Flatten, Input, Projection, SumPool2d

from . import weights as w
from .closeness import Gap, gap_of_membranes, gap_of_spikes
from .package import DT, TAU_MEM, TAU_SYN, Raster


@dataclass(frozen=True)
class Ours:
    """A kind of network of ours."""

    make: Callable[[int], Network]
    maps: bool = False
    spiking: bool = True


def dense(weight: w.Array, bias: w.Array | None = None) -> Dense:
    """A matrix of given values."""
    layer = Dense(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(torch.from_numpy(np.ascontiguousarray(weight.T)).t())
    if bias is not None:
        layer.bias = nn.Parameter(torch.from_numpy(bias))
    return layer


def conv(weight: w.Array) -> Conv2d:
    """A convolution of given values that keeps the sides."""
    layer = Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=1)
    layer.weight = nn.Parameter(torch.from_numpy(weight))
    return layer


def _lif(n: int | tuple[int, int, int], f: int, filtered: bool = False) -> LIF:
    return LIF(n, TAU_MEM * f * DT, TAU_SYN * f * DT, filtered_bias=filtered)


def _chain(f: int) -> Network:
    a, b = w.currents()
    return Network([dense(a), _lif(w.N_HIDDEN, f), dense(b), _lif(w.N_OUT, f)])


def _biased(f: int) -> Network:
    (a, b), (p, q) = w.currents(), w.biases()
    return Network([dense(a, p), _lif(w.N_HIDDEN, f, True), dense(b, q), _lif(w.N_OUT, f, True)])


def _delta(f: int) -> Network:
    a, b = w.jumps()
    return Network([dense(a), DeltaLIF(w.N_HIDDEN, TAU_MEM * f * DT), dense(b), DeltaLIF(w.N_OUT, TAU_MEM * f * DT)])


def _integrators(f: int) -> Network:
    a, b = w.jumps()
    return Network([dense(0.5 * a), IF(w.N_HIDDEN), dense(b), IF(w.N_OUT)])


def _readout(f: int) -> Network:
    a, b = w.currents()
    return Network([dense(a), _lif(w.N_HIDDEN, f), dense(b), LI(w.N_OUT, TAU_MEM * f * DT)])


def _readout_with_current(f: int) -> Network:
    a, b = w.currents()
    return Network([dense(a), _lif(w.N_HIDDEN, f), dense(b), LI(w.N_OUT, TAU_MEM * f * DT, TAU_SYN * f * DT)])


def _convolution(f: int, pool: type[SumPool2d]) -> Network:
    a, b = w.kernels(True)
    shape = (w.CHANNELS, w.SIDE, w.SIDE)
    scale = 4.0 if issubclass(pool, AvgPool2d) else 1.0
    layers = [conv(a), _lif(shape, f), pool(2), Flatten(), dense(scale * b), _lif(w.N_OUT, f)]
    return Network(layers, in_shape=(1, w.SIDE, w.SIDE))


def _recurrent(f: int) -> Network:
    a, b = w.currents()
    nodes = {"in": Input(w.N_IN), "hidden": _lif(w.N_HIDDEN, f), "last": _lif(w.N_OUT, f)}
    return Network.graph(
        nodes,
        [
            Projection("in", "hidden", [dense(a)]),
            Projection("hidden", "hidden", [dense(w.recurrent())]),
            Projection("hidden", "last", [dense(b)]),
        ],
        "last",
    )


#: By the kind of layer, in the order of the table.
OURS: Mapping[str, Ours] = {
    "CubaLIF": Ours(_chain),
    "CubaLIF, bias": Ours(_biased),
    "LIF": Ours(_delta),
    "IF": Ours(_integrators),
    "LI": Ours(_readout, spiking=False),
    "CubaLI": Ours(_readout_with_current, spiking=False),
    "Conv2d, SumPool2d, Flatten": Ours(lambda f: _convolution(f, SumPool2d), maps=True),
    "Conv2d, AvgPool2d, Flatten": Ours(lambda f: _convolution(f, AvgPool2d), maps=True),
    "recurrent CubaLIF": Ours(_recurrent),
}


def gap_to(net: Network, raster: Raster, theirs: Raster, step: float, spiking: bool) -> Gap:
    """Our exact run of ``net`` on the spikes of ``raster``, in steps of ``step`` seconds, beside their output."""
    net = net.double()
    flat = raster.reshape(len(raster), -1)
    steps, units = np.nonzero(flat)
    stop = len(raster) * step
    with torch.no_grad():
        record = net(Spikes.from_events([(steps * step, units)], flat.shape[1], stop, torch.float64))
        if not spiking:
            # the membrane that a step leaves is that of its end
            ends = torch.from_numpy((np.arange(len(raster)) + 1.0) * step * (1 - 1e-12))
            held = record.readouts[net.structure.output].at(ends).numpy()
            return gap_of_membranes(held.reshape(len(raster), -1), theirs.reshape(len(raster), -1))
    spikes = record.output
    times, found, valid = (x[0].numpy() for x in (spikes.times, spikes.units, spikes.valid))
    return gap_of_spikes([list(times[valid & (found == j)] / step) for j in range(spikes.n_units)], theirs)
