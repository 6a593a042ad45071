"""Drift: a short sentinel stimulus in use, CUSUM in units of the calibration's own sigma, partial re-calibration.

The sentinel is a few patterns of the calibration, run in its repeats right after it: their mean times are the reference.
Each check runs them again and asks, neuron by neuron, how far the parameters must have moved to explain the change: the
difference of times is projected on the model's derivatives, which gives a deviation with a known error for each of

    tau_mem, tau_syn, leak, and all weights of the neuron together (gain over v_th - v_reset)

A CUSUM (Page 1954) of each deviation in both directions, ``S <- max(0, S + z - k)``, raises the alarm at ``h``: small
shifts that last are found as surely as large ones at once. The reference has errors of its own, which all checks share; it
is made from eight times as many repeats, and the allowance k = 1.5 sigma lies above what is left of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hwloop.errors import CalibrationError
from hwloop.mapping import Program
from hwloop.target import Device

from .bench import Bench, Observations, targets_of
from .calibrate import calibrate
from .design import choose
from .document import Calibration
from .fit import Noise, normal_of
from .model import KEEP, LEAK, OWN, TAU_MEM, TAU_SYN, Array, Neurons, predict
from .stimuli import candidates, on_columns, window

#: Allowance and decision limit of the CUSUM (sigma).
ALLOWANCE, LIMIT = 1.5, 9.0
#: Patterns and repeats of the sentinel, and repeats of its reference.
PATTERNS, REPEATS, REFERENCE_REPEATS = 6, 8, 64
#: Directions that are watched, as coordinates of the model; all weights of a neuron together come last.
WATCHED = (TAU_MEM, TAU_SYN, LEAK)
NAMES = ("tau_mem", "tau_syn", "leak", "weight")


@dataclass(frozen=True, eq=False)
class Check:
    """One check: drifted physical ``neurons``, the deviations ``z [n, 4]`` (sigma), and the CUSUM's level ``[n]``."""

    neurons: tuple[int, ...]
    z: Array
    level: Array
    device_time: float

    @property
    def drifted(self) -> bool:
        """Whether any neuron has drifted."""
        return bool(self.neurons)


@dataclass
class Sentinel:
    """Watches a calibrated device; :meth:`check` whenever a moment is free, :meth:`recalibrate` where it says so.

    Parameters
    ----------
    device : opened device, calibrated
    calibration : what it was calibrated to
    program : what it runs; every check puts back what the device holds
    allowance, limit : of the CUSUM (sigma)
    """

    device: Device
    calibration: Calibration
    program: Program
    allowance: float = ALLOWANCE
    limit: float = LIMIT
    history: list[Check] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.calibration.device_id != self.device.device_id:
            raise CalibrationError(
                f"calibration {self.calibration.id} is of device {self.calibration.device_id}; this is {self.device.device_id}"
            )
        targets = targets_of(self.program, self.device, self.calibration.neurons)
        self._bench = Bench(self.device, targets, min(4, self.device.capabilities.fan_in))
        self._neurons = _neurons_of(self.calibration, self._bench)
        self._noise = Noise(self.calibration.noise.threshold, self.calibration.noise.jitter, 0.0)
        self._sound = np.array([v != "masked" for v in self.calibration.verdict])
        tau_mem, tau_syn = targets.typical("tau_mem"), targets.typical("tau_syn")
        patterns = candidates(tau_mem, tau_syn)
        typical = self._neurons[np.flatnonzero(self._sound)[:: max(1, int(self._sound.sum()) // 8)][:8]]
        chosen = choose(patterns, replace(typical, weight=typical.weight[:, :1]), self._noise, PATTERNS)
        t_stop = window(patterns, tau_mem, tau_syn, targets.typical("t_ref"))
        self._stimuli = on_columns(chosen, [0], self._bench.columns, t_stop)
        self._high = np.zeros((len(self._neurons), len(NAMES)))
        self._low = np.zeros_like(self._high)
        self._reference = self._measure(REFERENCE_REPEATS)

    def _measure(self, repeats: int) -> Observations:
        """Run the sentinel, and put the program back that the device holds."""
        loaded = getattr(self.device, "program", None) or self.program
        try:
            self._bench.load()
            return self._bench.measure(self._stimuli, repeats)
        finally:
            self.device.load(loaded)

    def check(self) -> Check:
        """Run the sentinel and update the CUSUM of every neuron."""
        z = deviations(self._neurons, self._reference, self._measure(REPEATS), self._noise)
        z[~self._sound] = 0.0
        self._high = np.maximum(0.0, self._high + z - self.allowance)
        self._low = np.maximum(0.0, self._low - z - self.allowance)
        level = np.maximum(self._high, self._low).max(1)
        drifted = np.asarray(self.calibration.neurons)[level > self.limit]
        found = Check(tuple(drifted.tolist()), z, level, float(getattr(self.device, "device_time", 0.0)))
        self.history.append(found)
        return found

    def on_epoch(self, epoch: object) -> None:
        """For ``on_epoch`` of :func:`hwloop.finetune`: check after every epoch, calibrate what has drifted, go on."""
        if self.check().drifted:
            self.recalibrate(synapses=False)

    def recalibrate(self, neurons: Sequence[int] | None = None, **options: object) -> Calibration:
        """Calibrate the drifted neurons of the last check alone (or ``neurons``), and go on watching from there.

        ``options``: of :func:`hwloop.calibrate`. Returns the calibration with the new rows; the others keep theirs.
        """
        chosen = list(neurons if neurons is not None else self.history[-1].neurons if self.history else ())
        if not chosen:
            return self.calibration
        part = calibrate(self.device, self.program, neurons=sorted(chosen), **options)  # type: ignore[arg-type]
        self.calibration = merged(self.calibration, part)
        self.device.calibration = self.calibration  # type: ignore[attr-defined]
        rows = np.searchsorted(self.calibration.neurons, sorted(chosen))
        self._sound[rows] = [self.calibration.verdict[r] != "masked" for r in rows]
        self._neurons = _neurons_of(self.calibration, self._bench)
        self._high[rows], self._low[rows] = 0.0, 0.0
        self._reference = _replaced(self._reference, self._measure(REFERENCE_REPEATS), rows)
        return self.calibration


def deviations(neurons: Neurons, before: Observations, now: Observations, noise: Noise) -> Array:
    """How far each watched coordinate has moved, alone, in units of its error ``[n, 4]``.

    For one coordinate ``d = J^T Sigma^-1 (t_now - t_before)`` has the variance ``A (1 + m_now / m_before)`` with the numbers of
    repeats ``m``, since both measurements have the same noise a repeat: ``z = d / sqrt`` of it.
    """
    model = predict(neurons, now.stimuli)
    agreed = np.minimum(before.agreed, now.agreed)
    moved = replace(now, mean=model.times[..., :KEEP] + np.nan_to_num(now.mean - before.mean), agreed=agreed)
    normal = normal_of(neurons, moved, noise, model)
    curvature = np.einsum("npp->np", normal.matrix)
    right = np.concatenate([normal.right[:, list(WATCHED)], normal.right[:, OWN:].sum(1, keepdims=True)], 1)
    power = np.concatenate([curvature[:, list(WATCHED)], curvature[:, OWN:].sum(1, keepdims=True)], 1)
    return np.asarray(right / np.sqrt((1 + now.repeats / before.repeats) * np.where(power > 0, power, np.inf)))


def merged(whole: Calibration, part: Calibration) -> Calibration:
    """``whole`` with the rows of ``part``'s neurons replaced; codes, date and noise are those of ``part``.

    Raises :class:`CalibrationError` where they are of different devices, gauges or columns.
    """
    if (whole.device_id, whole.gauge) != (part.device_id, part.gauge) or not set(part.neurons) <= set(whole.neurons):
        raise CalibrationError(
            f"calibration {part.id} of {part.device_id} ({part.gauge}) does not fit into {whole.id} of {whole.device_id} "
            f"({whole.gauge}); calibrate the same device in the same way"
        )
    place = {n: k for k, n in enumerate(whole.neurons)}
    rows = [place[n] for n in part.neurons]

    def put(old: list[object], new: list[object]) -> list[object]:
        result = list(old)
        for row, value in zip(rows, new, strict=True):
            result[row] = value
        return result

    data, fresh = whole.model_dump(), part.model_dump()
    for name in data["targets"]:
        data["targets"][name] = put(data["targets"][name], fresh["targets"][name])
    for name, estimate in data["estimates"].items():
        for key in estimate:
            estimate[key] = put(estimate[key], fresh["estimates"][name][key])
    for name in ("weights", "verdict", "residual"):
        data[name] = put(data[name], fresh[name])
    own = {str(n) for n in part.neurons}
    for name in ("reasons", "notes"):
        data[name] = {**{k: v for k, v in data[name].items() if k not in own}, **fresh[name]}
    for name in ("date", "temperature", "device_time", "firmware", "noise", "effort", "program_digest"):
        data[name] = fresh[name]
    if fresh["codes"]:
        data["codes"] = fresh["codes"]
    return Calibration.model_validate(data).sealed()


def _neurons_of(calibration: Calibration, bench: Bench) -> Neurons:
    """The calibrated neurons in swing units, weights of the bench's columns; masked ones as the data sheet has them."""
    limits = bench.device.capabilities
    nominal = bench.targets.nominal(
        bench.columns, limits.latency * limits.speedup, limits.refractory_min * limits.speedup
    )

    def known(values: Array, otherwise: Array) -> Array:
        return np.where(np.isfinite(values), values, otherwise)

    swing = calibration.value("v_th") - calibration.value("v_reset")
    leak = (calibration.value("v_leak") - calibration.value("v_reset")) / swing
    gain = known(calibration.value("gain") * bench.targets.swing / swing, np.ones(len(nominal)))
    return Neurons(
        known(calibration.value("tau_mem"), nominal.tau_mem), known(calibration.value("tau_syn"), nominal.tau_syn),
        known(leak, nominal.leak), known(calibration.value("t_ref"), nominal.t_ref),
        known(calibration.value("latency"), nominal.latency), bench.asked_weight * gain[:, None],
    )  # fmt: skip


def _replaced(old: Observations, new: Observations, rows: Array) -> Observations:
    """``old`` with neurons ``rows`` as ``new`` has them."""
    changed = {}
    for name in ("mean", "variance", "support", "agreed"):
        changed[name] = getattr(old, name).copy()
        changed[name][:, rows] = getattr(new, name)[:, rows]
    return replace(old, **changed)
