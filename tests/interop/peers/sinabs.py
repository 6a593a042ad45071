"""sinabs: counts in steps, and writes time constants in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import nir
import numpy as np
import sinabs.layers as sl
import torch
from sinabs import nir as sinabs_nir
from torch import nn

from .. import weights as w
from ..package import TAU_MEM, TAU_SYN, Raster, Run, Theirs, Written
from . import steps

#: A step of 1, which a reader has to give a length: 1 ms keeps its time constants in the range of neurons.
STEP = 1e-3
OPTIONS = {"time_unit": "ms", "reset": "subtract"}


def _runs(make: Callable[[int], nn.Module]) -> Run:
    def run(raster: Raster) -> Raster:
        with torch.no_grad():
            answer = steps.first_of(make(len(raster))(torch.from_numpy(raster).float()))
        return np.asarray(answer.detach().double().reshape(len(raster), -1).numpy())

    return run


def _written(layers: Callable[[], list[nn.Module]], maps: bool = False) -> Written:
    def net(count: int = 1) -> nn.Sequential:
        made = nn.Sequential(*layers())
        for layer in made:
            if hasattr(layer, "num_timesteps"):
                layer.num_timesteps, layer.batch_size = count, -1
        return made

    return Written(sinabs_nir.to_nir(net(), steps.sample(maps)), _runs(net))


def _lif(f: int, **more: Any) -> nn.Module:
    return sl.LIFSqueeze(tau_mem=float(TAU_MEM * f), num_timesteps=1, **more)


def _iaf(**more: Any) -> nn.Module:
    return sl.IAFSqueeze(num_timesteps=1, **more)


def _leaks(f: int, norm_input: bool, **more: Any) -> Written:
    a, b = w.jumps()
    up = 1 / (1 - np.exp(-1 / (TAU_MEM * f))) if norm_input else 1.0
    return _written(
        lambda: [
            steps.linear(up * a), _lif(f, norm_input=norm_input, **more), steps.linear(up * b), _lif(f, norm_input=norm_input)
        ]
    )  # fmt: skip


def _synaptic(f: int) -> Written:
    return _leaks(f, True, tau_syn=float(TAU_SYN * f))


def _integrators(f: int, floor: float | None) -> Written:
    a, b = w.jumps()
    return _written(
        lambda: [steps.linear(0.5 * a - 0.08), _iaf(min_v_mem=floor), steps.linear(b), _iaf(min_v_mem=floor)]
    )


def _readout(f: int, norm_input: bool) -> Written:
    a, b = w.jumps()
    up = 1 / (1 - np.exp(-1 / (TAU_MEM * f)))
    return _written(
        lambda: [
            steps.linear(up * a), _lif(f), steps.linear(up * b), sl.ExpLeakSqueeze(tau_mem=float(TAU_MEM * f), num_timesteps=1, norm_input=norm_input)
        ]
    )  # fmt: skip


def _convolution(f: int) -> Written:
    a, b = w.kernels(False)
    return _written(
        lambda: [
            steps.conv(a), _iaf(min_v_mem=None), sl.SumPool2d(2), nn.Flatten(), steps.linear(b), _iaf(min_v_mem=None)
        ], maps=True,
    )  # fmt: skip


class Sinabs:
    """sinabs; its neurons are reset by subtraction unless told otherwise, and may spike several times in one step."""

    name = "sinabs"
    theirs: Mapping[str, Theirs | str] = {
        "CubaLIF": Theirs(_synaptic, {"spike": STEP, **OPTIONS}, fault="its exporter writes LIF(tau_syn=...) without tau_syn"),
        "LIF": Theirs(lambda f: _leaks(f, True), {"spike": STEP, **OPTIONS}),
        "LIF, norm_input=False": Theirs(lambda f: _leaks(f, False), {"spike": "jump", **OPTIONS}),
        "IF": Theirs(lambda f: _integrators(f, None), {"reset": "subtract", "time_unit": "ms"}),
        "LI, norm_input=True": Theirs(lambda f: _readout(f, True), {"spike": STEP, **OPTIONS}, spiking=False),
        "LI": Theirs(
            lambda f: _readout(f, False), {"spike": STEP, **OPTIONS}, spiking=False,
            fault="its exporter does not write norm_input, which is False for ExpLeak and True for LIF: weights of the one are 1 / "
            "(1 - exp(-1 / tau)) times those of the other",
        ),
        "Conv2d, SumPool2d, Flatten": Theirs(_convolution, {"reset": "subtract", "time_unit": "ms"}, maps=True),
        "AvgPool2d": "its exporter has none",
        "recurrent CubaLIF": "its exporter has none",
    }  # fmt: skip

    def load(self, graph: nir.NIRGraph, steps_: int) -> Run:
        """sinabs's own import."""
        return _runs(lambda count: sinabs_nir.from_nir(graph, batch_size=1))
