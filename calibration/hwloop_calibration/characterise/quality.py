"""What a fit is worth, neuron by neuron: defects with their reason, what was not identified, pass, marginal or fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from .bench import Observations
from .chance import chi_squared_tail
from .fit import Fit
from .model import LATENCY, OWN, SHARED, T_REF, Array, Neurons

Verdict: TypeAlias = Literal["pass", "marginal", "fail", "masked"]

#: Standard error (of a logarithm, the swing, or for t_ref and latency of tau_syn) above which a coordinate counts as not
#: identified; and correlation from which two coordinates are called inseparable.
UNKNOWN, INSEPARABLE = 0.1, 0.97
#: Chance that a sound neuron is refused for its residuals or its drift; 1e-6 on 512 neurons is 1 chip in 2,000.
CHANCE = 1e-6
#: A sum of squares may exceed the noise by this factor before it counts: the noise is the chip's, not each neuron's.
TOLERATED = 1.6
#: Share of samples with spikes that most repeats lack, above which a neuron is hot (a few stimuli leave a neuron near its
#: threshold); and share of samples that have to be answered at all.
HOT, LEAST_ANSWERED = 0.6, 0.1
#: How the reason of a neuron that no parameters explain begins.
UNLIKE = "does not behave like the model"
#: Share of samples without input in which a neuron that should be silent may fire.
STRAY = 0.5


@dataclass(frozen=True, eq=False)
class Judgement:
    """Verdicts ``[n]``, reasons (by index) of those that are masked, and notes on what was not identified."""

    verdict: list[Verdict]
    reasons: dict[int, str]
    notes: dict[int, str]
    identified: Array

    @property
    def masked(self) -> Array:
        """Bool ``[n]``."""
        return np.array([v == "masked" for v in self.verdict])


def coordinate_errors(fit: Fit) -> Array:
    """Standard errors ``[n, 6]`` of the shared coordinates and of the mean ``ln w`` over the driven columns."""
    shared = np.sqrt(np.einsum("npp->np", fit.covariance)[:, :OWN])
    live = fit.neurons.weight != 0
    share = live / np.maximum(live.sum(1, keepdims=True), 1)
    block = np.where(np.isfinite(fit.covariance[:, OWN:, OWN:]), fit.covariance[:, OWN:, OWN:], 0.0)
    weight = np.sqrt(np.einsum("np,npq,nq->n", share, block, share))
    return np.concatenate([shared, np.where(live.any(1), weight, np.inf)[:, None]], 1)


def in_scale(errors: Array, neurons: Neurons) -> Array:
    """Errors as shares: of the value (times, weight), of the swing (leak), of tau_syn (t_ref, latency)."""
    scaled = errors.copy()
    scaled[:, T_REF : LATENCY + 1] /= neurons.tau_syn[:, None]
    return scaled


def judge(fit: Fit, seen: Observations, silent: Array, drift: Array, tolerance: float) -> Judgement:
    """Judge every neuron.

    Parameters
    ----------
    fit, seen : the fit and what it was made from
    silent : ``[n]`` spikes per sample without input, beyond what the fitted neuron fires then
    drift : ``[n]`` chance of the change seen between the two halves of the repeats
    tolerance : largest error, as a share, that passes; up to twice that is marginal
    """
    n = len(fit.neurons)
    errors = in_scale(coordinate_errors(fit), fit.neurons)
    identified = errors < UNKNOWN
    verdict: list[Verdict] = []
    reasons, notes = {}, {}
    excess = chi_squared_tail(fit.cost / TOLERATED, np.maximum(fit.freedom, 1))
    answered = (seen.agreed > 0).mean(0)
    for k in range(n):
        reason = _defect(k, fit, seen, silent, drift, excess, answered)
        if reason:
            reasons[k] = reason
            verdict.append("masked")
            continue
        if not identified[k].all():
            notes[k] = _inseparable(k, fit, identified[k])
        worst = float(errors[k][identified[k]].max(initial=0.0))
        verdict.append("pass" if worst <= tolerance else "marginal" if worst <= 2 * tolerance else "fail")
    return Judgement(verdict, reasons, notes, identified)


def _defect(
    k: int, fit: Fit, seen: Observations, silent: Array, drift: Array, excess: Array, answered: Array
) -> str | None:
    """Why a neuron cannot be used, if so."""
    samples = len(seen.stimuli)
    if seen.spikes[k] == 0:
        return "silent: never fired"
    if silent[k] > STRAY:
        return f"stuck or hot: {silent[k]:.2g} spikes a sample without input"
    if answered[k] < LEAST_ANSWERED:
        return f"erratic: repeats agree in {100 * answered[k]:.0f} % of the samples"
    if fit.used[k] < OWN + 2:
        return f"hardly fires: {int(fit.used[k])} usable spikes for {OWN + 1} parameters"
    extra = seen.extra[k] / samples
    if extra > HOT:
        return f"hot: spikes that other repeats lack in {100 * extra:.0f} % of the samples"
    if drift[k] < CHANCE:
        return "drifts: its answers changed while it was measured"
    if excess[k] < CHANCE or fit.unexplained[k] > 0.05 * fit.used[k]:
        ratio = fit.cost[k] / max(float(fit.freedom[k]), 1.0)
        return f"{UNLIKE}: residuals {ratio:.3g} times the noise, {int(fit.unexplained[k])} spikes unexplained"
    return None


def _inseparable(k: int, fit: Fit, identified: Array) -> str:
    """Which coordinate is unknown, and with which other one it can be exchanged."""
    names = [*SHARED, "weight"]
    place = [*range(OWN), OWN + int(np.argmax(fit.neurons.weight[k] != 0))]
    covariance = fit.covariance[k][np.ix_(place, place)]
    parts = []
    for x in np.flatnonzero(~identified).tolist():
        others = [y for y in range(len(place)) if y != x]
        deviation = np.sqrt(np.diag(covariance))
        with np.errstate(invalid="ignore"):
            correlation = np.abs(covariance[x, others] / (deviation[x] * deviation[others]))
        best = int(np.argmax(np.nan_to_num(correlation)))
        if np.isfinite(correlation[best]) and correlation[best] > INSEPARABLE:
            parts.append(f"{names[x]} and {names[others[best]]} not separable with these stimuli")
        else:
            parts.append(f"{names[x]} not identified by these stimuli")
    return "; ".join(parts)
