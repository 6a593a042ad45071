"""Populations that reset by subtraction, in Loihi's fixed point: the arithmetic of :mod:`.graph`, with one rule changed.

Rules 1 to 5 hold as they are there (``du = 4095``: a current lasts one tick; ``dv = 0``: the membrane keeps all). Instead of 6:

6. *Spike* where ``v > vth << 6`` (strictly); then ``v = v - quantum``. With *signed* spikes also -1 where ``v <= 0`` and the
   population's net count is above 0; then ``v = v + quantum``. A connection multiplies by the spike, so -1 takes back a +1.

``v`` starts at a given value, a sample's bias is its own, and input events may be graded. With a start of 1, "above the threshold"
means "at or above" for what started at 0: that is how :mod:`hwloop.rules.steps.integrate_fire` has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwloop.errors import InputError
from hwloop.simulate.compile_kernel import kernel

from .registers import MAX_STATE, STATE_SHIFT, Array


@dataclass(frozen=True, eq=False)
class SoftPopulation:
    """One population and its synapses.

    Attributes
    ----------
    weight : ``[n, n_in]`` int32, effective codes (rule 1 applied); no inputs: shape ``[n, 0]``
    recurrent : ``[n, n]`` int32, effective codes, or None
    vth : int, threshold in units of weights
    quantum : int, what a spike takes off the membrane, in units of the membrane (``weight << 6``)
    start : ``[n]`` int32, membrane before tick 0
    signed : whether it takes spikes back
    """

    weight: Array
    recurrent: Array | None
    vth: int
    quantum: int
    start: Array
    signed: bool = False

    @property
    def n(self) -> int:
        """Neurons."""
        return int(self.weight.shape[0])


@dataclass(frozen=True, eq=False)
class SoftRun:
    """What a population did: spikes ``[batch, ticks, n]`` int8, and sums beyond the 24 bits of a current (0 is healthy)."""

    raster: Array
    overflows: int

    @property
    def counts(self) -> Array:
        """Net spikes, ``[batch, n]`` int64."""
        result: Array = self.raster.sum(axis=1, dtype=np.int64)
        return result


def run_population(population: SoftPopulation, inputs: Array, bias: Array) -> SoftRun:
    """Run a batch from rest.

    Parameters
    ----------
    population : SoftPopulation
    inputs : ``[batch, ticks, n_in]`` int32
        Input events a tick, 0 and 1 or graded; those of tick n act at tick n + 1.
    bias : ``[batch, n]`` int32, what is added to each sample's membranes every tick

    Raises :class:`InputError` where shapes do not fit.
    """
    batch, ticks, _ = inputs.shape
    if inputs.shape[2] != population.weight.shape[1] or bias.shape != (batch, population.n):
        raise InputError(
            f"inputs {inputs.shape} and bias {bias.shape} for a population of {population.weight.shape}; expected "
            f"[batch, ticks, {population.weight.shape[1]}] and [batch, {population.n}]"
        )
    raster = np.zeros((batch, ticks, population.n), np.int8)
    own = np.zeros((0, population.n), np.int32) if population.recurrent is None else population.recurrent.T
    overflows = _run(
        np.ascontiguousarray(inputs, np.int32),
        np.ascontiguousarray(population.weight.T, np.int32),
        np.ascontiguousarray(own, np.int32),
        np.ascontiguousarray(bias, np.int32),
        np.ascontiguousarray(population.start, np.int32),
        population.vth << STATE_SHIFT,
        population.quantum,
        population.signed,
        raster,
    )
    return SoftRun(raster, int(overflows))


@kernel(allocates=True)
def _run(
    inputs: Array,
    weight: Array,
    own: Array,
    bias: Array,
    start: Array,
    threshold: int,
    quantum: int,
    signed: bool,
    raster: Array,
) -> Any:
    """Fill ``raster``; weights pre-major. Sums are kept in 64 bits and counted where they leave the 24 of a current."""
    batch, ticks, n_in = inputs.shape
    n, top = bias.shape[1], 2**23
    overflows = 0
    u, v, net = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    for b in range(batch):
        for i in range(n):
            v[i], net[i] = start[i], 0
        for t in range(ticks):
            u[:] = 0
            if t > 0:
                for j in range(n_in):
                    size = np.int64(inputs[b, t - 1, j])
                    if size != 0:
                        for i in range(n):
                            u[i] += size * weight[j, i]
                for j in range(own.shape[0]):
                    sent = np.int64(raster[b, t - 1, j])
                    if sent != 0:
                        for i in range(n):
                            u[i] += sent * own[j, i]
            for i in range(n):
                current = u[i] << 6
                if current > top or current <= -top:
                    overflows += 1
                level = min(max(v[i] + current + bias[b, i], 1 - top), top - 1)
                spike = 0
                if level > threshold:
                    spike = 1
                elif signed and level <= 0 and net[i] > 0:
                    spike = -1
                v[i] = level - spike * quantum
                net[i] += spike
                raster[b, t, i] = spike
    return overflows


def run_population_reference(population: SoftPopulation, inputs: Array, bias: Array) -> SoftRun:
    """Twin of :func:`run_population` in plain NumPy, tick by tick: the specification."""
    batch, ticks, _ = inputs.shape
    v = np.tile(population.start.astype(np.int64), (batch, 1))
    net = np.zeros_like(v)
    raster = np.zeros((batch, ticks, population.n), np.int8)
    overflows = 0
    for t in range(ticks):
        total = np.zeros_like(v)
        if t:
            total += inputs[:, t - 1].astype(np.int64) @ population.weight.T
            if population.recurrent is not None:
                total += raster[:, t - 1].astype(np.int64) @ population.recurrent.T
        current = total << STATE_SHIFT
        overflows += int(((current > MAX_STATE) | (current <= -MAX_STATE)).sum())
        v = np.clip(v + current + bias, 1 - MAX_STATE, MAX_STATE - 1)
        up = v > population.vth << STATE_SHIFT
        down = population.signed & ~up & (v <= 0) & (net > 0)
        spikes = up.astype(np.int64) - down
        v -= spikes * population.quantum
        net += spikes
        raster[:, t] = spikes
    return SoftRun(raster, overflows)
