"""Small batches for the tests of the comparison."""

from __future__ import annotations

import numpy as np

from hwloop.record import Record, Recording
from hwloop.spikes import Spikes

T_STOP = 10.0


def trains(*neurons: list[float], t_stop: float = T_STOP) -> Spikes:
    """One sample: one list of times a neuron."""
    pairs = sorted((t, k) for k, times in enumerate(neurons) for t in times)
    return Spikes.from_events([([t for t, _ in pairs], [k for _, k in pairs])], len(neurons), t_stop)


def random_spikes(seed: int, batch: int, n_units: int, mean: float, t_stop: float = T_STOP) -> Spikes:
    """Poisson trains of ``mean`` spikes."""
    r = np.random.default_rng(seed)
    samples = []
    for _ in range(batch):
        count = int(r.poisson(mean * n_units))
        samples.append((np.sort(r.uniform(0, t_stop, count)), r.integers(0, n_units, count)))
    return Spikes.from_events(samples, n_units, t_stop)


def disturbed(spikes: Spikes, seed: int, jitter: float, loss: float = 0.0, invented: float = 0.0) -> Spikes:
    """The same spikes with jitter (s), a share lost and a share moved to another neuron."""
    r = np.random.default_rng(seed)
    samples = []
    for times, units in spikes.to_events():
        kept = r.random(len(times)) >= loss
        t = np.clip(times[kept] + r.normal(0, jitter, kept.sum()), 0, spikes.t_stop)
        u = np.where(r.random(len(t)) < invented, r.integers(0, spikes.n_units, len(t)), units[kept])
        order = np.argsort(t)
        samples.append((t[order], u[order]))
    return Spikes.from_events(samples, spikes.n_units, spikes.t_stop)


def recording(populations: tuple[Spikes, ...], inputs: Spikes | None = None) -> Recording:
    """A measured record with provenance."""
    return Recording(
        populations,
        inputs,
        ran_on="emulator",
        device_id="emulator:7",
        firmware="1.0",
        program_digest="3fa9c1d7e2b84a55",
    )


def pair(batch: int = 6, sizes: tuple[int, ...] = (4, 9, 3), seed: int = 0) -> tuple[Record, Recording]:
    """A simulated record and a disturbed recording of it."""
    layers = tuple(random_spikes(seed + k, batch, n, 2.0) for k, n in enumerate(sizes))
    measured = tuple(disturbed(layer, seed + 10, 0.1, 0.05, 0.05) for layer in layers[1:])
    return Record(layers[1:], layers[0]), recording(measured, layers[0])
