"""norse: its current jumps by the weight; what has none takes a pulse of one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import norse.torch as norse
import torch
from norse.torch.module.leaky_integrator_box import LIBoxCell
from torch import nn

from .. import weights as w
from ..package import DT, TAU_MEM, TAU_SYN, Run, Theirs, Written
from . import steps


def _lif(f: int) -> nn.Module:
    parameters = norse.LIFParameters(
        tau_mem_inv=torch.tensor(1 / (TAU_MEM * f * DT)), tau_syn_inv=torch.tensor(1 / (TAU_SYN * f * DT))
    )
    return norse.LIFCell(p=parameters, dt=DT)


def _box(f: int) -> nn.Module:
    return norse.LIFBoxCell(p=norse.LIFBoxParameters(tau_mem_inv=torch.tensor(1 / (TAU_MEM * f * DT))), dt=DT)


def _li(f: int) -> nn.Module:
    return LIBoxCell(p=norse.LIBoxParameters(tau_mem_inv=torch.tensor(1 / (TAU_MEM * f * DT))), dt=DT)


def _written(*layers: nn.Module, maps: bool = False, dt: float = 1.0) -> Written:
    net = norse.SequentialState(*layers)
    return Written(norse.to_nir(net, steps.sample(maps), dt=dt), steps.with_state(net))


def _cuba(f: int, dt: float = 1.0) -> Written:
    a, b = w.currents()
    return _written(steps.linear(a), _lif(f), steps.linear(b), _lif(f), dt=dt)


def _biased(f: int) -> Written:
    (a, b), (p, q) = w.currents(), w.biases()
    each = TAU_SYN * f  # a bias is added to the current in every step
    return _written(steps.linear(a, p / each), _lif(f), steps.linear(b, q / each), _lif(f))


def _boxes(f: int) -> Written:
    a, b = w.jumps()
    up = TAU_MEM * f
    return _written(steps.linear(up * a), _box(f), steps.linear(up * b), _box(f))


def _integrators(f: int) -> Written:
    a, b = w.jumps()
    return _written(steps.linear(0.5 * a), norse.IAFCell(dt=DT), steps.linear(b), norse.IAFCell(dt=DT))


def _readout(f: int) -> Written:
    a, b = w.currents()
    return _written(steps.linear(a), _lif(f), steps.linear(TAU_MEM * f * b), _li(f))


def _boxes_and_readout(f: int) -> Written:
    a, b = w.jumps()
    up = TAU_MEM * f
    return _written(steps.linear(up * a), _box(f), steps.linear(up * b), _li(f))


def _convolution(f: int) -> Written:
    a, b = w.kernels(True)
    wide = w.CHANNELS * w.SIDE**2
    dense = torch.zeros(w.N_OUT, wide).reshape(w.N_OUT, w.CHANNELS, w.SIDE, w.SIDE)
    # the sums of a pool, as weights
    values = torch.from_numpy(b).float().reshape(w.N_OUT, w.CHANNELS, w.SIDE // 2, w.SIDE // 2)
    dense += values.repeat_interleave(2, 2).repeat_interleave(2, 3)
    layers = [
        steps.conv(a, bias=True),
        _lif(f),
        nn.Flatten(),
        steps.linear(dense.reshape(w.N_OUT, wide).numpy()),
        _lif(f),
    ]
    return _written(*layers, maps=True)


class Norse:
    """norse, whose tutorial exports with the default ``dt``, which is the first cell."""

    name = "norse"
    theirs: Mapping[str, Theirs | str] = {
        "CubaLIF (default dt)": Theirs(lambda f: _cuba(f, 1e-3)),
        "CubaLIF": Theirs(_cuba, {"spike": "jump"}),
        "CubaLIF, bias": Theirs(_biased, {"spike": ("jump", DT)}),
        "LIF": Theirs(_boxes, {"spike": DT, "reset": "value"}),
        "IF": Theirs(_integrators, {"reset": "value"}),
        "CubaLIF, then LI": Theirs(_readout, {"spike": ("jump", DT)}, spiking=False),
        "LIF, then LI": Theirs(_boxes_and_readout, {"spike": DT, "reset": "value"}, spiking=False),
        "Conv2d, Flatten": Theirs(_convolution, {"spike": "jump"}, maps=True),
        "SumPool2d": "its exporter has none",
        "AvgPool2d": "its exporter has none",
        "recurrent CubaLIF": "its exporter does not write LIFRecurrentCell",
    }

    def load(self, graph: nir.NIRGraph, steps_: int) -> Run:
        """norse's own import; it needs no count of steps."""
        net: Any = norse.from_nir(graph, dt=DT)
        return steps.with_state(net)
