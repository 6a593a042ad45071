"""snnTorch: counts in steps, which its exporter takes for .1 ms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import snntorch as snn
import torch
from snntorch import export_nir, import_nir
from snntorch import utils as snn_utils
from torch import nn

from .. import weights as w
from ..package import TAU_MEM, TAU_SYN, Run, Theirs, Written
from . import steps


def _each(shape: tuple[int, ...], tau: int) -> Any:
    """A decay for each neuron: from one number for all its exporter takes no shape, and nir refuses the graph."""
    return torch.full(shape, 1 - 1 / tau)


def _synaptic(shape: tuple[int, ...], f: int, **more: Any) -> nn.Module:
    decays = {"alpha": _each(shape, TAU_SYN * f), "beta": _each(shape, TAU_MEM * f)}
    return snn.Synaptic(**decays, threshold=torch.ones(shape), init_hidden=True, **more)


def _leaky(shape: tuple[int, ...], f: int, **more: Any) -> nn.Module:
    return snn.Leaky(beta=_each(shape, TAU_MEM * f), threshold=torch.ones(shape), init_hidden=True, **more)


def _written(*layers: nn.Module, maps: bool = False) -> Written:
    net = nn.Sequential(*layers)
    graph = export_nir.export_to_nir(net, steps.sample(maps), ignore_dims=[0])  # as the tutorial, less its batch
    return Written(graph, steps.holding_state(net, lambda: snn_utils.reset(net)))


def _cuba(f: int) -> Written:
    a, b = w.currents()
    unit = TAU_MEM * f
    return _written(
        steps.linear(a / unit),
        _synaptic((w.N_HIDDEN,), f),
        steps.linear(b / unit),
        _synaptic((w.N_OUT,), f, output=True),
    )


def _one_for_all(f: int) -> Written:
    a, b = w.currents()
    unit = TAU_MEM * f
    decays = {"alpha": 1 - 1 / (TAU_SYN * f), "beta": 1 - 1 / (TAU_MEM * f)}
    nodes = [snn.Synaptic(**decays, init_hidden=True, output=last) for last in (False, True)]
    return _written(steps.linear(a / unit), nodes[0], steps.linear(b / unit), nodes[1])


def _biased(f: int) -> Written:
    (a, b), (p, q) = w.currents(), w.biases()
    unit, each = TAU_MEM * f, TAU_MEM * TAU_SYN * f**2
    layers = [
        steps.linear(a / unit, p / each),
        _synaptic((w.N_HIDDEN,), f),
        steps.linear(b / unit, q / each),
        _synaptic((w.N_OUT,), f, output=True),
    ]
    return _written(*layers)


def _leaks(f: int, **more: Any) -> Written:
    a, b = w.jumps()
    return _written(
        steps.linear(a), _leaky((w.N_HIDDEN,), f, **more), steps.linear(b), _leaky((w.N_OUT,), f, output=True, **more)
    )


def _convolution(f: int) -> Written:
    a, b = w.kernels(False)
    last = steps.linear(4 * b)
    return _written(
        steps.conv(a),
        _leaky((w.CHANNELS, w.SIDE, w.SIDE), f),
        nn.AvgPool2d(2),
        nn.Flatten(),
        last,
        _leaky((w.N_OUT,), f, output=True),
        maps=True,
    )


def _recurrent(f: int) -> Written:
    a, b = w.currents()
    unit = TAU_MEM * f
    loop = snn.RSynaptic(
        alpha=1 - 1 / (TAU_SYN * f), beta=1 - 1 / (TAU_MEM * f), linear_features=w.N_HIDDEN, init_hidden=True
    )
    steps.set_values(loop.recurrent, w.recurrent() / unit)
    return _written(steps.linear(a / unit), loop, steps.linear(b / unit), _synaptic((w.N_OUT,), f, output=True))


def _recurrent_leaks(f: int) -> Written:
    a, b = w.jumps()
    loop = snn.RLeaky(beta=1 - 1 / (TAU_MEM * f), linear_features=w.N_HIDDEN, init_hidden=True)
    steps.set_values(loop.recurrent, 0.3 * w.recurrent())
    return _written(steps.linear(a), loop, steps.linear(b), _leaky((w.N_OUT,), f, output=True))


class SnnTorch:
    """snnTorch; its neurons are reset by subtraction unless told otherwise, its importer resets to zero."""

    name = "snntorch"
    theirs: Mapping[str, Theirs | str] = {
        "CubaLIF": Theirs(_cuba),
        "CubaLIF (one decay for all)": Theirs(_one_for_all),
        "CubaLIF, bias": Theirs(_biased),
        "LIF": Theirs(_leaks, {"reset": "subtract"}),
        "LIF, reset to zero": Theirs(lambda f: _leaks(f, reset_mechanism="zero"), {"reset": "value"}),
        "IF": "beta = 1 has no time constant: its exporter divides by 0",
        "LI": "its exporter writes a neuron that does not spike as one that does",
        "Conv2d, AvgPool2d, Flatten": Theirs(_convolution, {"reset": "subtract"}, maps=True),
        "SumPool2d": "its exporter has none",
        "recurrent CubaLIF": Theirs(_recurrent),
        "recurrent LIF": Theirs(_recurrent_leaks, {"reset": "subtract"}),
    }

    def load(self, graph: nir.NIRGraph, steps_: int) -> Run:
        """snnTorch's own import; it needs no count of steps."""
        net = import_nir.import_from_nir(graph)
        return steps.with_state(net)
