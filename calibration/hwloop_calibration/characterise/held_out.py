"""Held-out stimuli: random pulse trains on random columns that no fit has seen, against twin and nominal model."""

from __future__ import annotations

import numpy as np
import torch

from hwloop.simulate.contract import Events
from hwloop.spikes import Spikes

from ..document.calibration import HeldOut
from .bench import ROOM, Bench, stamps
from .kernels import tabulate
from .model import Array, Neurons, predict_events

#: Samples, repeats, pulses of a sample, and window of the pulses (tau_mem).
SAMPLES, REPEATS, PULSES, SPAN = 24, 8, 6, 2.0
#: Seed of the trains: the same for every calibration, and used for nothing else.
SEED = 20240
#: Spikes of a neuron and sample that are compared; a model's spike pairs with one that lies within this (tau_syn).
FIRST, PAIRED = 2, 2.0


def held_out(bench: Bench, twin: Neurons, nominal: Neurons, sound: Array) -> HeldOut:
    """Errors of ``twin`` and ``nominal`` (both with the weights of all columns) over the ``sound`` neurons."""
    tau_mem, tau_syn = bench.targets.typical("tau_mem"), bench.targets.typical("tau_syn")
    spikes = trains(bench.columns, tau_mem, tau_syn)
    n = len(twin)
    recording = bench.device.run(spikes, repeats=REPEATS)
    times, found = np.full((REPEATS * SAMPLES, n, ROOM), np.nan), np.zeros((REPEATS * SAMPLES, n), np.int64)
    out = recording.output
    tabulate(
        stamps(recording), np.ascontiguousarray(out.units.numpy()), out.counts.numpy(),
        times, found,
    )  # fmt: skip
    seen = times.reshape(REPEATS, SAMPLES, n, ROOM)[..., :FIRST]
    events = Events(spikes.times.numpy(), spikes.units.numpy(), spikes.counts.numpy())
    by = [predict_events(model, events, spikes.t_stop, FIRST, 1.0, False).times for model in (twin, nominal)]
    centre = np.where(np.isfinite(seen).all(0), seen.mean(0), np.nan)
    # all three on the same spikes: seen in every repeat, and near the model's in both models' time
    both = np.isfinite(centre) & np.isfinite(by[0]) & np.isfinite(by[1]) & sound[:, None]
    both &= np.abs(centre - by[0]) < PAIRED * tau_syn
    count = int(both.sum())

    def rms(model: Array) -> float:
        return float(np.sqrt(np.mean((seen - model)[:, both] ** 2))) if count else 0.0

    spread = rms(centre) * float(np.sqrt(REPEATS / (REPEATS - 1)))
    has, wants = np.isfinite(seen).sum(-1)[:, :, sound], np.isfinite(by[0]).sum(-1)[:, sound]
    missing, extra = np.maximum(wants - has, 0).mean(), np.maximum(has - wants, 0).mean()
    return HeldOut(
        samples=SAMPLES, spikes=count, twin=rms(by[0]), nominal=rms(by[1]), jitter=spread, missing=float(missing),
        extra=float(extra),
    )  # fmt: skip


def trains(columns: int, tau_mem: float, tau_syn: float) -> Spikes:
    """Random trains: :data:`PULSES` pulses a sample, uniform over the window, on columns drawn anew."""
    rng = np.random.default_rng(SEED)
    pairs = []
    for _ in range(SAMPLES):
        times = np.sort(rng.uniform(0.0, SPAN * tau_mem, PULSES))
        pairs.append((times, rng.integers(0, columns, PULSES)))
    return Spikes.from_events(pairs, columns, SPAN * tau_mem + 4 * (tau_mem + tau_syn), dtype=torch.float64)
