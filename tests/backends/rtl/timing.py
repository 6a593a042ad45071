"""Cycles of the core by what it does, measured: `python -m tests.backends.rtl.timing [DSP]`, the table of the page beside the core.

The memory is that of a UP5K: a read takes two cycles, a write one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.layers import FixedLayer
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.synapses import Synapses
from hwloop_serial.fixed_image import write

from ..serial.firmware.images import image_of
from .built import built
from .jobs import DONE, Memory, Sample, run, sample

INPUTS, NEURONS, TICKS = 8, 96, 20


def layer(weight: Array, delay: Array | None = None, *, exponent: int = 0, **more: object) -> FixedLayer:
    """One that never spikes, if nothing else is said."""
    values: dict[str, object] = {"du": 100, "dv": 50, "vth": 131071} | more
    return FixedLayer(Synapses(weight.astype(np.int32), exponent, "mixed", 8, delay), **values)  # type: ignore[arg-type]


def ones(shape: tuple[int, int], share: float = 1.0) -> Array:
    """Small weights of both signs, ``share`` of them not 0."""
    rng = np.random.default_rng(1)
    return 2 * rng.choice([-1, 1], shape) * (rng.random(shape) < share)


def driven(form: str, share: float = 1.0, delayed: bool = False, exponent: int = 0) -> Callable[[int], Sample]:
    """Samples in which so many input units spike in each tick."""
    weight = ones((NEURONS, INPUTS), share)
    delay = np.arange(weight.size).reshape(weight.shape) % 8 if delayed else None
    graph = FixedGraph((layer(weight, delay, exponent=exponent),), 1e-3)

    def made(units: int) -> Sample:
        raster = np.zeros((TICKS, INPUTS), bool)
        raster[:, :units] = True
        return sample(graph, image_of(graph, form), raster, waits=Memory(1, 0))

    return made


def per_synapse(program: Path, make: Callable[[int], Sample]) -> float:
    few, many = run(program, [make(1), make(INPUTS)])
    return (many.cycles - few.cycles) / (many.synapses - few.synapses)


def per_neuron(program: Path, **more: object) -> float:
    """Cycles of an update, from populations of two sizes that nothing arrives at."""
    samples = []
    for n in (NEURONS, 2 * NEURONS):
        values = {name: value(n) if callable(value) else value for name, value in more.items()}
        graph = FixedGraph((layer(ones((n, 1)), **values),), 1e-3)
        samples += [sample(graph, write(graph), np.zeros((ticks, 1), bool), waits=Memory(1, 0)) for ticks in (0, TICKS)]
    answers = run(program, samples)
    assert all(answer.status == DONE for answer in answers)
    a, b, c, d = (answer.cycles for answer in answers)
    return ((d - c) - (b - a)) / (NEURONS * TICKS)


def measured(program: Path) -> dict[str, float]:
    """Cycles by what they are for."""
    biased = {"bias_mant": lambda n: np.ones(n, np.int32), "bias_exp": lambda n: np.zeros(n, np.int32)}
    spiking = {"vth": 0, "bias_mant": lambda n: np.full(n, 4000), "bias_exp": lambda n: np.full(n, 7)}
    return {
        "update of a neuron": per_neuron(program),
        "... that has a bias": per_neuron(program, **biased),
        "... that has a bias and spikes, its event written": per_neuron(program, **spiking),
        "synapse, dense": per_synapse(program, driven("dense")),
        "synapse, dense, nine in ten 0": per_synapse(program, driven("dense", 0.1)),
        "synapse, dense with delays": per_synapse(program, driven("dense", delayed=True)),
        "synapse, list": per_synapse(program, driven("list")),
        "synapse, list with delays": per_synapse(program, driven("list", delayed=True)),
        "synapse, list, negative exponent": per_synapse(program, driven("list", exponent=-2)),
    }


if __name__ == "__main__":
    for dsp in [int(text) for text in sys.argv[1:]] or [1, 0]:
        print(f"DSP = {dsp}")
        for name, cycles in measured(built(dsp=dsp)).items():
            print(f"{name:50} {cycles:6.1f}")
