"""rockpool: its current jumps by the weight, and moves the membrane in steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nir
import numpy as np
import torch
from rockpool.nn.combinators import Sequential
from rockpool.nn.modules.torch import ExpSynTorch, LIFNeuronTorch, LIFTorch, LinearTorch
from rockpool.nn.modules.torch.nir import from_nir, to_nir

from .. import weights as w
from ..package import DT, TAU_MEM, TAU_SYN, Raster, Run, Theirs, Written
from .steps import first_of


def _lif(n: int, f: int, **more: Any) -> Any:
    given = {"bias": torch.zeros(n), "threshold": torch.ones(n), **more}
    return LIFTorch(n, tau_mem=TAU_MEM * f * DT, tau_syn=TAU_SYN * f * DT, dt=DT, **given)


def _plain(n: int, f: int) -> Any:
    return LIFNeuronTorch(n, tau_mem=TAU_MEM * f * DT, bias=torch.zeros(n), threshold=torch.ones(n), dt=DT)


def _linear(weight: w.Array, bias: w.Array | None = None) -> Any:
    held = None if bias is None else torch.from_numpy(bias).float()
    given = torch.from_numpy(np.ascontiguousarray(weight.T)).float()
    return LinearTorch(weight.shape[::-1], weight=given, bias=held, has_bias=bias is not None)


def _runs(make: Callable[[], Any]) -> Run:
    def run(raster: Raster) -> Raster:
        net = make()
        with torch.no_grad():
            answer = first_of(net(torch.from_numpy(raster).float()[None]))
        return np.asarray(answer[0].detach().double().numpy())

    return run


def _written(make: Callable[[], list[Any]]) -> Written:
    def net() -> Any:
        return Sequential(*make())

    return Written(to_nir(net()), _runs(net))


def _cuba(f: int, **more: Any) -> Written:
    a, b = w.currents()
    unit = TAU_MEM * f
    return _written(lambda: [_linear(a / unit), _lif(w.N_HIDDEN, f, **more), _linear(b / unit), _lif(w.N_OUT, f)])


def _biased(f: int) -> Written:
    (a, b), (p, q) = w.currents(), w.biases()
    unit, each = TAU_MEM * f, TAU_MEM * TAU_SYN * f**2
    return _written(
        lambda: [_linear(a / unit, p / each), _lif(w.N_HIDDEN, f), _linear(b / unit, q / each), _lif(w.N_OUT, f)]
    )


def _own_bias(f: int) -> Written:
    return _cuba(f, bias=torch.full((w.N_HIDDEN,), 0.3 / (TAU_MEM * f)))


def _leaks(f: int) -> Written:
    a, b = w.jumps()
    return _written(lambda: [_linear(a), _plain(w.N_HIDDEN, f), _linear(b), _plain(w.N_OUT, f)])


def _readout(f: int) -> Written:
    a, b = w.currents()
    unit = TAU_MEM * f
    return _written(
        lambda: [_linear(a / unit), _lif(w.N_HIDDEN, f), _linear(b), ExpSynTorch(w.N_OUT, tau=TAU_MEM * f * DT, dt=DT)]
    )


def _recurrent(f: int) -> Written:
    unit = TAU_MEM * f
    return _cuba(f, has_rec=True, w_rec=torch.from_numpy(w.recurrent().T / unit).float())


class Rockpool:
    """rockpool; its neurons are reset by subtraction, and may spike several times in one step."""

    name = "rockpool"
    theirs: Mapping[str, Theirs | str] = {
        "CubaLIF": Theirs(_cuba, {"spike": "jump"}),
        "CubaLIF, bias": Theirs(_biased, {"spike": ("jump", DT)}),
        "CubaLIF, bias of the neurons": Theirs(
            _own_bias, {"spike": "jump"}, fault="its exporter writes v_leak = 0 for the bias of LIFTorch"
        ),
        "LIF": Theirs(_leaks, {"reset": "subtract"}),
        "IF": "it has none",
        "CubaLIF, then LI": Theirs(_readout, {"spike": ("jump", DT)}, spiking=False),
        "Conv2d": "its exporter has none",
        "SumPool2d": "its exporter has none",
        "AvgPool2d": "its exporter has none",
        "recurrent CubaLIF": Theirs(
            _recurrent, {"spike": "jump"}, fault="its exporter writes a LIFTorch without its recurrent weights"
        ),
    }

    def load(self, graph: nir.NIRGraph, steps_: int) -> Run:
        """rockpool's own import; it needs no count of steps."""
        return _runs(lambda: from_nir(graph))
