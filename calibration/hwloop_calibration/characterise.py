"""Characterise: what every neuron's parameters are, from spikes alone.

1. A first set of stimuli, designed around the nominal values; a fit of all neurons; restarts for those that fit badly.
2. Noise of the device from the repeats; a second set of stimuli, designed for what is known worst by then.
3. One fit to everything, with the noise's own weights and the shift of the mean that it causes.
4. The weights of all synapse columns, with the neurons held.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwloop.errors import InputError, TargetError
from hwloop.mapping import Program
from hwloop.target import Device

from .bench import Bench, Observations, Targets, targets_of
from .chance import chi_squared_tail
from .design import around, choose, sample_information
from .fit import Fit, Noise, fit, mean_shift, normal_of
from .model import OWN, Array, Neurons, predict
from .noise import estimate_noise, least_noise
from .quality import CHANCE, Judgement, coordinate_errors, judge
from .stimuli import Pattern, Stimuli, candidates, on_columns, window
from .synapses import Weights, fit_weights

_log = logging.getLogger(__name__)

#: Noise that the first design and fit reckon with: of the threshold (swing) and of a spike (tau_syn).
FIRST_THRESHOLD, FIRST_JITTER = 0.02, 0.02
#: Patterns of the two designs.
FIRST_PATTERNS, MORE_PATTERNS = 20, 12
#: Columns that the neurons' own parameters are fitted with: four cells, so that one dead synapse loses no neuron.
COLUMNS = 4
#: Repeats of a stimulus by default, of neurons and of synapses.
REPEATS, SYNAPSE_REPEATS = 16, 8
#: Pulses and their spacing (tau_syn) of the two stimuli of a synapse.
SYNAPSE_BURSTS = ((2, 0.1), (4, 0.1))
#: Starting points of neurons whose fit is bad, as factors of tau_mem, tau_syn and weight.
RESTARTS = (
    (1.35, 1.0, 1.0),
    (0.7, 1.0, 1.0),
    (1.0, 1.4, 1.0),
    (1.0, 0.7, 1.0),
    (1.0, 1.0, 1.4),
    (1.0, 1.0, 0.7),
    (1.4, 1.4, 1.4),
    (0.7, 0.7, 0.7),
)
#: A sum of squares beyond this many times the noise makes a fit bad enough to try again.
BAD = 2.0
#: Share of the neurons that have to be sound; below it the chip as a whole is refused.
LEAST_SOUND = 0.5


@dataclass(frozen=True)
class Effort:
    """What a characterisation cost."""

    seconds: float
    device_seconds: float
    runs: int
    samples: int
    cells_written: int
    trim_writes: int = 0


@dataclass(frozen=True, eq=False)
class Characterisation:
    """What was found about the neurons ``targets.neurons``, in swing units (see :mod:`.model`).

    Attributes
    ----------
    targets : Targets
    fit : Fit
        Of the columns that were driven for it.
    errors : ``[n, 6]`` standard errors of tau_mem, tau_syn (logarithms), leak (swing), t_ref, latency (s), weight (log)
    noise : Noise
    judgement : Judgement
    weights : Weights
        ``[n, columns]`` of all columns of the program, swing a pulse.
    asked_weight : ``[n, columns]``
    effort : Effort
    """

    targets: Targets
    fit: Fit
    errors: Array
    noise: Noise
    judgement: Judgement
    weights: Weights
    asked_weight: Array
    effort: Effort

    @property
    def neurons(self) -> Neurons:
        """The fitted neurons."""
        return self.fit.neurons

    def gain(self) -> Array:
        """Mean weight of a neuron's live synapses as a share of what was asked, ``[n]`` (NaN where none is live)."""
        ratio = self.weights.value / self.asked_weight
        live = np.isfinite(self.weights.error)
        return np.where(live.any(1), (ratio * live).sum(1) / np.maximum(live.sum(1), 1), np.nan)


def characterise(
    device: Device,
    program: Program,
    *,
    neurons: Sequence[int] | None = None,
    repeats: int = REPEATS,
    synapses: bool = True,
    tolerance: float = 0.02,
) -> Characterisation:
    """Characterise the neurons of ``device`` at the operating point of ``program``.

    Parameters
    ----------
    device : opened device; it holds the calibration's own program afterwards
    program : what the device is to run: neuron parameters, placement and number of synapse columns are taken from it
    neurons : physical neurons; default: all (of a chip of up to 4096), or those of the program
    repeats : runs of every stimulus, at least 4
    synapses : whether the weight of every synapse column is measured too
    tolerance : largest standard error, as a share, that passes

    Raises
    ------
    InputError
        ``repeats`` or ``tolerance`` out of range.
    TargetError
        No neuron fires, most answer with noise, or the device drifts while it is measured.
    """
    if not isinstance(repeats, int) or repeats < 4:
        raise InputError(f"repeats = {repeats!r}; allowed: a whole number >= 4 (noise is estimated from repeats)")
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance = {tolerance}; allowed: between 0 and 1 (a share)")
    start, clock, cells = time.perf_counter(), device_time(device), device.writes.total
    targets = targets_of(program, device, neurons)
    columns = min(max(COLUMNS, max(layer.n_in for layer in program.layers)), device.capabilities.fan_in)
    bench = Bench(device, targets, columns)
    bench.load()
    fitted, noise, seen = _neurons(bench, repeats)
    judgement = judge(
        fitted, seen, _unprompted(bench, fitted.neurons, repeats), _drifted(fitted, seen, noise), tolerance
    )
    _refuse_chip(device, judgement, seen)
    weights = (
        _synapses(bench, fitted, noise, max(4, min(repeats, SYNAPSE_REPEATS))) if synapses else _driven(bench, fitted)
    )
    effort = Effort(
        time.perf_counter() - start, device_time(device) - clock, bench.runs, bench.samples,
        device.writes.total - cells,
    )  # fmt: skip
    return Characterisation(
        targets, fitted, coordinate_errors(fitted), noise, judgement, weights, bench.asked_weight, effort
    )


def device_time(device: Device) -> float:
    """The device's own clock (device s), 0 where it has none."""
    return float(getattr(device, "device_time", 0.0))


def _neurons(bench: Bench, repeats: int) -> tuple[Fit, Noise, Observations]:
    """Steps 1 to 3."""
    targets, driven = bench.targets, min(COLUMNS, bench.columns)
    limits = bench.device.capabilities
    nominal = targets.nominal(driven, limits.latency * limits.speedup, limits.refractory_min * limits.speedup)
    tau_mem, tau_syn, t_ref = (targets.typical(name) for name in ("tau_mem", "tau_syn", "t_ref"))
    patterns = candidates(tau_mem, tau_syn)
    t_stop = window(patterns, tau_mem, tau_syn, t_ref)
    noise = Noise(FIRST_THRESHOLD, max(FIRST_JITTER * tau_syn, bench.tick), 0.0)
    one = _one_column(nominal)
    first = choose(patterns, around(one), noise, FIRST_PATTERNS)
    seen = _measure(bench, first, driven, t_stop, repeats)
    if not seen.spikes.any():
        raise TargetError(
            f"{bench.device.device_id}: no neuron fired on any of {len(seen.stimuli)} stimuli; check that the device "
            "runs, that its outputs are routed, and that the program's v_th can be reached with its weights"
        )
    found = _restarted(fit(nominal, seen, noise), seen, noise)
    noise = estimate_noise(seen, predict(found.neurons, seen.stimuli), bench.tick, noise)
    found = _restarted(fit(found.neurons, seen, noise, _shift(found, seen, noise)), seen, noise)
    second = choose(patterns, *_worst(found, seen, noise, repeats))
    seen = joined(seen, _measure(bench, second, driven, t_stop, repeats))
    for _ in range(2):
        noise = estimate_noise(seen, predict(found.neurons, seen.stimuli), bench.tick, noise)
        found = fit(found.neurons, seen, noise, _shift(found, seen, noise))
    return found, noise, seen


def _measure(bench: Bench, patterns: Sequence[Pattern], columns: int, t_stop: float, repeats: int) -> Observations:
    return bench.measure(on_columns(patterns, range(columns), bench.columns, t_stop), repeats)


def _one_column(neurons: Neurons) -> Neurons:
    return replace(neurons, weight=neurons.weight[:, :1])


def _shift(found: Fit, seen: Observations, noise: Noise) -> Array:
    return mean_shift(found.neurons, seen, noise)


def _restarted(found: Fit, seen: Observations, noise: Noise) -> Fit:
    """The fit, with neurons whose residuals are too large fitted again from other points; the best is kept."""
    bad = np.flatnonzero((found.cost > BAD * np.maximum(found.freedom, 1)) & (seen.agreed > 0).any(0))
    typical = found.neurons[np.full(len(bad), _typical(found))]
    for tau_mem, tau_syn, weight in RESTARTS:
        if not len(bad):
            break
        start = replace(typical, tau_mem=typical.tau_mem * tau_mem, tau_syn=typical.tau_syn * tau_syn,
                        weight=np.where(found.neurons.weight[bad] == 0, 0.0, typical.weight * weight))  # fmt: skip
        tried = fit(start, seen.of(bad), noise)
        better = tried.cost < found.cost[bad]
        found = found.put(bad[better], _some(tried, better))
        still = found.cost[bad] > BAD * np.maximum(found.freedom[bad], 1)
        bad, typical = bad[still], typical[still]
    return found


def _typical(found: Fit) -> int:
    """The neuron in the middle: least far from the medians of all."""
    n = found.neurons
    values = np.log(np.array([n.tau_mem, n.tau_syn, np.maximum(n.weight.mean(1), 1e-12)]))
    return int(np.argmin(np.abs(values - np.median(values, axis=1, keepdims=True)).sum(0)))


def _some(found: Fit, index: Array) -> Fit:
    return Fit(
        found.neurons[index], found.covariance[index], found.cost[index], found.freedom[index], found.used[index],
        found.unexplained[index], found.converged[index],
    )  # fmt: skip


def _worst(found: Fit, seen: Observations, noise: Noise, repeats: int) -> tuple[Neurons, Noise, int, Array]:
    """For the second design: the neurons known worst among the sound ones, and what is known of them a column."""
    sound = np.flatnonzero(found.cost < BAD * np.maximum(found.freedom, 1))
    if not len(sound):
        sound = np.arange(len(found.cost))
    error = coordinate_errors(found)[sound]
    order = sound[np.argsort(-np.nan_to_num(error[:, :3], posinf=1e9).sum(1), kind="stable")]
    chosen = order[:: max(1, len(order) // 24)][:12]
    neurons = found.neurons[chosen]
    columns = np.asarray(seen.stimuli.columns) == 0
    model = predict(neurons, seen.samples(np.flatnonzero(columns)).stimuli)
    known = sample_information(model, noise, float(np.median(neurons.tau_syn))).sum(0)
    return _one_column(neurons), noise, MORE_PATTERNS, known


def joined(first: Observations, second: Observations) -> Observations:
    """Two sets of observations of the same neurons as one."""

    def both(name: str, axis: int = 0) -> Array:
        return np.concatenate([getattr(first, name), getattr(second, name)], axis)

    return Observations(
        first.stimuli + second.stimuli, both("mean"), both("variance"), both("support"), both("agreed"),
        first.repeats, first.extra + second.extra, first.spikes + second.spikes, both("halves", 1),
    )  # fmt: skip


def _unprompted(bench: Bench, neurons: Neurons, repeats: int) -> Array:
    """Spikes a sample without input beyond those of the model, ``[n]``."""
    t_stop = float(np.median(neurons.tau_mem)) * 8
    stimuli = Stimuli((Pattern(()),), (0,), bench.columns, t_stop)
    seen = bench.measure(stimuli, repeats)
    expected = predict(neurons, stimuli, derivatives=False).counts.sum(0)
    return np.asarray(np.maximum(seen.spikes / repeats - expected, 0.0))


def _drifted(found: Fit, seen: Observations, noise: Noise) -> Array:
    """Chance, for a neuron that stays what it is, of a change as large as between the halves of the repeats, ``[n]``.

    The halves' difference is projected on the coordinates: ``d^T A^-1 d / 4`` with ``d`` the difference of the right-hand
    sides is chi-squared, since the mean of half the repeats has twice the variance of the mean of all.
    """
    model = predict(found.neurons, seen.stimuli)
    early, late = (np.nan_to_num(half) for half in seen.halves)
    both = np.isfinite(seen.halves).all(0)
    kept = np.logical_and.accumulate(both, axis=2).sum(2)
    part = replace(seen, mean=model.times + (early - late), agreed=np.minimum(seen.agreed, kept))
    normal = normal_of(found.neurons, part, noise, model)
    shared = normal.matrix[:, :OWN, :OWN]
    solved = np.linalg.pinv(shared, rcond=1e-10, hermitian=True) @ normal.right[:, :OWN, None]
    square = np.einsum("np,np->n", normal.right[:, :OWN], solved[..., 0]) / 4
    return np.asarray(chi_squared_tail(square, OWN))


def _refuse_chip(device: Device, judgement: Judgement, seen: Observations) -> None:
    """Raise :class:`TargetError` where not single neurons but the chip as a whole is at fault."""
    reasons = list(judgement.reasons.values())
    if len(reasons) <= (1 - LEAST_SOUND) * len(judgement.verdict):
        return
    kinds: dict[str, int] = {}
    for reason in reasons:
        kinds[reason.split(":")[0]] = kinds.get(reason.split(":")[0], 0) + 1
    worst = max(kinds, key=lambda kind: kinds[kind])
    what = {
        "silent": "check supply, routing and that v_th can be reached",
        "drifts": "let the device settle (warm up), then calibrate again",
    }.get(worst, "its answers do not follow its inputs: check wiring, clock and noise of the device, and raise repeats")
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items(), key=lambda pair: -pair[1]))
    raise TargetError(
        f"{device.device_id}: {len(reasons)} of {len(judgement.verdict)} neurons cannot be calibrated ({found}); allowed: "
        f"up to half of them. {what[0].upper()}{what[1:]}. Nothing was stored"
    )


def _driven(bench: Bench, fitted: Fit) -> Weights:
    """Weights of the columns that were driven for the neurons, as the fit has them."""
    columns = fitted.neurons.weight.shape[1]
    error = np.sqrt(np.einsum("npp->np", fitted.covariance)[:, OWN:])
    value, whole = (
        np.full((len(fitted.cost), bench.columns), np.nan),
        np.full((len(fitted.cost), bench.columns), np.inf),
    )
    value[:, :columns], whole[:, :columns] = fitted.neurons.weight, error
    return Weights(value, whole)


def _synapses(bench: Bench, fitted: Fit, noise: Noise, repeats: int) -> Weights:
    """Step 4: the other columns, each by two short bursts."""
    known = _driven(bench, fitted)
    columns = np.arange(fitted.neurons.weight.shape[1], bench.columns)
    if not len(columns):
        return known
    tau_syn, tau_mem = bench.targets.typical("tau_syn"), bench.targets.typical("tau_mem")
    patterns = [
        Pattern(tuple(0.2 * tau_syn + k * spacing * tau_syn for k in range(pulses)))
        for pulses, spacing in SYNAPSE_BURSTS
    ]
    t_stop = window(patterns, tau_mem, tau_syn, bench.targets.typical("t_ref"))
    start = np.broadcast_to(
        np.nanmedian(np.where(fitted.neurons.weight > 0, fitted.neurons.weight, np.nan), axis=1, keepdims=True),
        (len(fitted.cost), len(columns)),
    )
    start = np.where(np.isfinite(start), start, bench.targets.weight)
    value, error = known.value.copy(), known.error.copy()
    for part in np.array_split(np.arange(len(columns)), max(1, len(columns) // 32)):
        seen = bench.measure(on_columns(patterns, columns[part].tolist(), bench.columns, t_stop), repeats)
        own = _without_masked(fitted)
        found = fit_weights(fitted.neurons, own, seen, noise, columns[part], start[:, part])
        value[:, columns[part]], error[:, columns[part]] = found.value, found.error
    return Weights(value, error)


def _without_masked(fitted: Fit) -> Array:
    """Covariance of the shared coordinates, 0 where it is infinite (such a neuron is masked)."""
    shared = fitted.covariance[:, :OWN, :OWN]
    return np.where(np.isfinite(shared), shared, 0.0)


__all__ = ["CHANCE", "Characterisation", "Effort", "characterise", "device_time", "joined", "least_noise"]
