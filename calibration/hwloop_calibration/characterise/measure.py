"""Characterise: what every neuron's parameters are, from spikes alone.

1. A first set of stimuli, designed around the nominal values; a fit of all neurons; restarts for those that fit badly.
2. Noise of the device from the repeats; a second set of stimuli, designed for what is known worst by then.
3. One fit to everything, with the noise's own weights and the shift of the mean that it causes.
4. The weights of all synapse columns, with the neurons held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hwloop.arguments import whole
from hwloop.device.registry import Device
from hwloop.errors import InputError, TargetError
from hwloop.mapping import Program

from ..document.parts import CROWD, CROWDED
from ..extent import Wanted
from .bench import Bench, Observations, Targets, targets_of
from .chance import chi_squared_tail
from .design import around, choose, sample_information
from .fit import LACKING_AT_LAST, Fit, Noise, fit, mean_shift, normal_of
from .model import KEEP, OWN, Array, Neurons, predict
from .noise import estimate_noise
from .quality import UNLIKE, Judgement, coordinate_errors, judge
from .restarts import BAD, restarted
from .stimuli import Pattern, Stimuli, candidates, on_columns, window
from .synapses import Weights, column_parts, fit_weights, synapse_patterns

#: Noise that the first design and fit reckon with: of the threshold (swing) and of a spike (tau_syn).
FIRST_THRESHOLD, FIRST_JITTER = 0.02, 0.02
#: Patterns of the two designs.
FIRST_PATTERNS, MORE_PATTERNS = 20, 12
#: Columns that the neurons' own parameters are fitted with: four cells, so that one dead synapse loses no neuron.
COLUMNS = 4
#: Repeats of a stimulus by default, of neurons and of synapses.
REPEATS, SYNAPSE_REPEATS = 16, 8
#: Fits to everything, each with the noise and the shift of the means that the one before found.
FINAL_FITS = 2
#: Repeats that the noise can be estimated from.
LEAST_REPEATS = 4
#: Share of the neurons that have to be sound; below it the chip as a whole is refused.
LEAST_SOUND = 0.5


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
    """

    targets: Targets
    fit: Fit
    errors: Array
    noise: Noise
    judgement: Judgement
    weights: Weights
    asked_weight: Array

    @property
    def neurons(self) -> Neurons:
        """The fitted neurons."""
        return self.fit.neurons

    def gain(self) -> Array:
        """Mean weight of a neuron's live synapses as a share of what was asked, ``[n]`` (NaN where none is live)."""
        live = np.isfinite(self.weights.error)
        ratio = np.where(live, self.weights.value / self.asked_weight, 0.0)
        return np.where(live.any(1), ratio.sum(1) / np.maximum(live.sum(1), 1), np.nan)


def characterise(
    device: Device,
    program: Program,
    *,
    neurons: Wanted = None,
    repeats: int = REPEATS,
    synapses: bool = True,
    tolerance: float = 0.02,
) -> Characterisation:
    """Characterise the neurons of ``device`` at the operating point of ``program``, as it is: nothing is trimmed.

    Parameters
    ----------
    device : opened device; it holds the calibration's own program afterwards
    program : what the device is to run: neuron parameters, placement and number of synapse columns are taken from it
    neurons : physical neurons; default: those of the program, and some to spare; ``"all"``: the whole chip
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
    targets = targets_of(program, device, neurons)
    columns = min(max(COLUMNS, max(layer.fan_in for layer in program.layers)), device.capabilities.fan_in)
    session = Session(Bench(device, targets, columns), repeats, tolerance)
    session.bench.load()
    found = session.characterise()
    return replace(found, weights=session.synapses(found)) if synapses else found


class Session:
    """Measurements of one calibration; the designs and the noise of the first are used by those that follow."""

    def __init__(self, bench: Bench, repeats: int = REPEATS, tolerance: float = 0.02) -> None:
        if not 0 < tolerance < 1:
            raise InputError(f"tolerance = {tolerance}; allowed: between 0 and 1 (a share)")
        self.bench, self.repeats, self.tolerance = bench, whole("repeats", repeats, LEAST_REPEATS), tolerance
        self.driven = min(COLUMNS, bench.columns)
        self.patterns: list[Pattern] | None = None
        self.noise: Noise | None = None

    def characterise(self, start: Neurons | None = None) -> Characterisation:
        """Steps 1 to 3, or, once a design is there, one measurement with all of it from ``start``."""
        device = self.bench.device
        fitted, noise, seen = self._designed() if self.patterns is None or start is None else self._again(start)
        silent, drift = self._unprompted(fitted.neurons), _drifted(fitted, seen, noise)
        judgement = judge(fitted, seen, silent, drift, self.tolerance)
        _refuse_crowd(device, judgement, self.bench.lost)
        _refuse_chip(device, judgement)
        self.noise = noise
        return Characterisation(
            self.bench.targets, fitted, coordinate_errors(fitted), noise, judgement, self._driven(fitted),
            self.bench.asked_weight,
        )  # fmt: skip

    def _designed(self) -> tuple[Fit, Noise, Observations]:
        bench, targets = self.bench, self.bench.targets
        nominal = bench.nominal(self.driven)
        tau_mem, tau_syn, t_ref = (targets.typical(name) for name in ("tau_mem", "tau_syn", "t_ref"))
        patterns = candidates(tau_mem, tau_syn)
        self.t_stop = window(patterns, tau_mem, tau_syn, t_ref)
        noise = Noise(FIRST_THRESHOLD, max(FIRST_JITTER * tau_syn, bench.tick), 0.0)
        first = choose(patterns, around(_one_column(nominal)), noise, FIRST_PATTERNS)
        seen = self._measure(first)
        if not seen.spikes.any():
            raise TargetError(
                f"{bench.device.device_id}: no neuron fired on any of {len(seen.stimuli)} stimuli; check that the device "
                "runs, that its outputs are routed, and that the program's v_th can be reached with its weights"
            )
        found = restarted(fit(nominal, seen, noise), seen, noise)
        noise = estimate_noise(seen, predict(found.neurons, seen.stimuli), bench.tick, noise)
        found = restarted(fit(found.neurons, seen, noise, _shift(found, seen, noise)), seen, noise)
        second = choose(patterns, *_worst(found, seen, noise))
        self.patterns = first + second
        return self._fitted(found.neurons, joined(seen, self._measure(second)), noise)

    def _again(self, start: Neurons) -> tuple[Fit, Noise, Observations]:
        seen = self._measure(self.patterns or [])
        noise = self.noise or Noise(FIRST_THRESHOLD, FIRST_JITTER * self.bench.targets.typical("tau_syn"), 0.0)
        found = restarted(fit(start, seen, noise, mean_shift(start, seen, noise)), seen, noise)
        return self._fitted(found.neurons, seen, noise)

    def _fitted(self, start: Neurons, seen: Observations, noise: Noise) -> tuple[Fit, Noise, Observations]:
        """The fit to all that was seen, with its own noise and the shift of the means."""
        found = fit(start, seen, noise, mean_shift(start, seen, noise))
        for _ in range(FINAL_FITS):
            noise = estimate_noise(seen, predict(found.neurons, seen.stimuli), self.bench.tick, noise)
            found = fit(found.neurons, seen, noise, _shift(found, seen, noise), LACKING_AT_LAST)
        return found, noise, seen

    def _measure(self, patterns: Sequence[Pattern]) -> Observations:
        stimuli = on_columns(patterns, range(self.driven), self.bench.columns, self.t_stop)
        return self.bench.measure(stimuli, self.repeats)

    def _unprompted(self, neurons: Neurons) -> Array:
        """Spikes a sample without input beyond those of the model, ``[n]``."""
        t_stop = float(np.median(neurons.tau_mem)) * 8
        stimuli = Stimuli((Pattern(()),), (0,), self.bench.columns, t_stop)
        seen = self.bench.measure(stimuli, self.repeats)
        expected = predict(neurons, stimuli, derivatives=False).counts.sum(0)
        return np.asarray(np.maximum(seen.spikes / self.repeats - expected, 0.0))

    def _driven(self, fitted: Fit) -> Weights:
        """Weights of the columns that were driven for the neurons, as the fit has them."""
        n, columns = fitted.neurons.weight.shape
        value, error = np.full((n, self.bench.columns), np.nan), np.full((n, self.bench.columns), np.inf)
        error[:, :columns] = np.sqrt(np.einsum("npp->np", fitted.covariance)[:, OWN:])
        # a column that brought no spike to look at has no effect
        value[:, :columns] = np.where(np.isfinite(error[:, :columns]), fitted.neurons.weight, 0.0)
        return Weights(value, error)

    def synapses(self, found: Characterisation) -> Weights:
        """Step 4: the other columns, each by two short bursts, of the neurons that may have inputs there."""
        bench, fitted = self.bench, found.fit
        columns = np.arange(self.driven, bench.columns)
        if not len(columns):
            return found.weights
        patterns, t_stop = synapse_patterns(bench.targets)
        repeats = max(4, min(self.repeats, SYNAPSE_REPEATS))
        shared = fitted.covariance[:, :OWN, :OWN]
        shared = np.where(np.isfinite(shared), shared, 0.0)  # a neuron of which nothing is known is masked
        value, error = found.weights.value.copy(), found.weights.error.copy()
        typical = _typical_weight(fitted.neurons, bench.targets.weight)
        for part in column_parts(columns):
            rows = np.flatnonzero(bench.targets.fan_in > part[0])  # the others have no input there
            if not len(rows):
                continue
            seen = bench.measure(on_columns(patterns, part.tolist(), bench.columns, t_stop), repeats)
            start = np.repeat(typical[rows, None], len(part), 1)
            weights = fit_weights(fitted.neurons[rows], shared[rows], seen.of(rows), found.noise, part, start)
            value[np.ix_(rows, part)], error[np.ix_(rows, part)] = weights.value, weights.error
        return Weights(value, error)


def _typical_weight(neurons: Neurons, otherwise: float) -> Array:
    """Mean weight of each neuron's live columns."""
    live = neurons.weight > 0
    mean = neurons.weight.sum(1) / np.maximum(live.sum(1), 1)
    return np.where(live.any(1), mean, otherwise)


def device_time(device: Device) -> float:
    """The device's own clock (device s), 0 where it has none."""
    return float(getattr(device, "device_time", 0.0))


def _one_column(neurons: Neurons) -> Neurons:
    return replace(neurons, weight=neurons.weight[:, :1])


def _shift(found: Fit, seen: Observations, noise: Noise) -> Array:
    return mean_shift(found.neurons, seen, noise)


def _worst(found: Fit, seen: Observations, noise: Noise) -> tuple[Neurons, Noise, int, Array]:
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


def _drifted(found: Fit, seen: Observations, noise: Noise) -> Array:
    """Chance, for a neuron that stays what it is, of a change as large as between the halves of the repeats, ``[n]``.

    The halves' difference is projected on the coordinates: ``d^T A^-1 d / 4`` with ``d`` the difference of the right-hand
    sides is chi-squared, since the mean of half the repeats has twice the variance of the mean of all.
    """
    model = predict(found.neurons, seen.stimuli)
    early, late = (np.nan_to_num(half) for half in seen.halves)
    both = np.isfinite(seen.halves).all(0)
    kept = np.logical_and.accumulate(both, axis=2).sum(2)
    part = replace(seen, mean=model.times[..., :KEEP] + (early - late), agreed=np.minimum(seen.agreed, kept))
    normal = normal_of(found.neurons, part, noise, model)
    shared = normal.matrix[:, :OWN, :OWN]
    solved = np.linalg.pinv(shared, rcond=1e-10, hermitian=True) @ normal.right[:, :OWN, None]
    square = np.einsum("np,np->n", normal.right[:, :OWN], solved[..., 0]) / 4
    return np.asarray(chi_squared_tail(square, OWN))


class CrowdedLinkError(TargetError):
    """So many of very many neurons are unlike the model that the device's event link is at fault, not they."""


def _refuse_crowd(device: Device, judgement: Judgement, lost: int) -> None:
    """Raise :class:`CrowdedLinkError` where events of many neurons seem to have been lost on their way out."""
    n = len(judgement.verdict)
    unlike = sum(UNLIKE in reason for reason in judgement.reasons.values())
    if n > CROWD and unlike > CROWDED * n:
        raise CrowdedLinkError(
            f"{device.device_id}: {unlike} of {n} neurons do not behave like the model; when very many fire together their "
            f"events may overflow the device's link (lost: {lost}). Measure at most {CROWD} at once: neurons=range({CROWD}), and so on"
        )


def _refuse_chip(device: Device, judgement: Judgement) -> None:
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


__all__ = ["Characterisation", "Session", "characterise", "device_time", "joined"]
