"""SpikingJelly: counts in steps, whose length its exporter is told."""

from __future__ import annotations

from collections.abc import Mapping

import nir
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir, import_from_nir
from torch import nn

from .. import weights as w
from ..package import DT, TAU_MEM, TAU_SYN, Run, Theirs, Written
from . import steps


def _linear(weight: w.Array, bias: w.Array | None = None) -> nn.Module:
    return steps.set_values(layer.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


def _cuba_node(f: int) -> nn.Module:
    return neuron.CUBALIFNode(
        c_decay=1 - 1 / (TAU_SYN * f), v_decay=1 - 1 / (TAU_MEM * f), v_threshold=1.0, v_reset=0.0
    )


def _lif_node(f: int, decay_input: bool) -> nn.Module:
    return neuron.LIFNode(tau=float(TAU_MEM * f), decay_input=decay_input, v_reset=0.0)


def _written(*layers: nn.Module, maps: bool = False) -> Written:
    net = nn.Sequential(*layers)
    graph = export_to_nir(net, steps.sample(maps), dt=DT)
    return Written(graph, steps.holding_state(net, lambda: functional.reset_net(net)))


def _cuba(f: int) -> Written:
    a, b = w.currents()
    unit = TAU_MEM * f
    return _written(_linear(a / unit), _cuba_node(f), _linear(b / unit), _cuba_node(f))


def _biased(f: int) -> Written:
    (a, b), (p, q) = w.currents(), w.biases()
    unit, each = TAU_MEM * f, TAU_MEM * TAU_SYN * f**2
    return _written(_linear(a / unit, p / each), _cuba_node(f), _linear(b / unit, q / each), _cuba_node(f))


def _leaks(f: int, decay_input: bool) -> Written:
    a, b = w.jumps()
    up = TAU_MEM * f if decay_input else 1
    return _written(_linear(up * a), _lif_node(f, decay_input), _linear(up * b), _lif_node(f, decay_input))


def _parametric(f: int) -> Written:
    a, b = w.jumps()
    up = TAU_MEM * f
    nodes = [neuron.ParametricLIFNode(init_tau=float(up), v_reset=0.0) for _ in range(2)]
    return _written(_linear(up * a), nodes[0], _linear(up * b), nodes[1])


def _integrators(f: int) -> Written:
    a, b = w.jumps()
    return _written(_linear(0.5 * a), neuron.IFNode(v_reset=0.0), _linear(b), neuron.IFNode(v_reset=0.0))


def _convolution(f: int) -> Written:
    a, b = w.kernels(True)
    unit, kernel = TAU_MEM * f, w.KERNEL
    first = layer.Conv2d(1, w.CHANNELS, kernel, padding=kernel // 2, bias=False)
    return _written(
        steps.set_values(first, a / unit), _cuba_node(f), layer.AvgPool2d(2), layer.Flatten(), _linear(4 * b / unit),
        _cuba_node(f), maps=True,
    )  # fmt: skip


class SpikingJelly:
    """SpikingJelly; it exports a reset to a value alone."""

    name = "spikingjelly"
    theirs: Mapping[str, Theirs | str] = {
        "CubaLIF": Theirs(_cuba),
        "CubaLIF, bias": Theirs(_biased),
        "LIF": Theirs(lambda f: _leaks(f, False), {"reset": "value"}),
        "LIF, decay_input": Theirs(lambda f: _leaks(f, True), {"spike": DT, "reset": "value"}),
        "ParametricLIF": Theirs(_parametric, {"spike": DT, "reset": "value"}),
        "IF": Theirs(_integrators, {"reset": "value", "time_unit": "s"}),
        "LI": "its exporter has none",
        "Conv2d, AvgPool2d, Flatten": Theirs(_convolution, maps=True),
        "SumPool2d": "its exporter has none",
        "recurrent CubaLIF": "its exporter has none",
    }

    def load(self, graph: nir.NIRGraph, steps_: int) -> Run:
        """SpikingJelly's own import; it needs no count of steps."""
        return steps.with_state(import_from_nir(graph, dt=DT))
