"""Drift: a short sentinel stimulus in use, CUSUM in units of the calibration's own sigma, partial re-calibration.

The sentinel is a few patterns of the calibration, run in its repeats right after it: their mean times are the reference.
Each check runs them again and asks, neuron by neuron, how far the parameters must have moved to explain the change: the
difference of times is projected on the model's derivatives, which gives a deviation with a known error for each of

    tau_mem, tau_syn, leak, and all weights of the neuron together (gain over v_th - v_reset)

A CUSUM (Page 1954) of each deviation in both directions, ``S <- max(0, S + z - k)``, raises the alarm at ``h``: small
shifts that last are found as surely as large ones at once. The reference has errors of its own, which all checks share: made
from r times as many repeats it leaves every neuron with a constant offset of variance 1 / (1 + r), and that, not the noise
of the checks, decides about false alarms. On a chip of 512 neurons that does not drift, watched once a minute, one expects

    r    k, h      neurons in a false alarm a day    checks until a drift of 1 sigma a check is found, mean
    8    1,   9    65                                5.2
    8    1.5, 9     0.69                             5.7
    16   1.5, 8     0.033 (one in a month)           5.4     <- the defaults
    16   2,   6     0.001                            5.4     but a lasting shift of 2.5 sigma takes 11 checks, not 8
    32   1.5, 7     0.011                            5.1     for twice the reference

by the Markov chain of Brook & Evans (Biometrika 59:539, 1972), averaged over the offsets; see ``tests/calibration/test_cusum.py``.
That holds as long as z is normal with variance 1: spikes that graze the threshold, whose times are neither, are left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hwloop.device.registry import Device
from hwloop.errors import CalibrationError, TargetError
from hwloop.mapping import Program

from ..calibrate import calibrate
from ..characterise.bench import Bench, Observations, targets_of
from ..characterise.design import choose
from ..characterise.fit import Noise, mean_shift, normal_of
from ..characterise.held_out import held_out
from ..characterise.known import neurons_of
from ..characterise.model import KEEP, LEAK, OWN, TAU_MEM, TAU_SYN, Array, Neurons, predict
from ..characterise.stimuli import candidates, on_columns, window
from ..document.calibration import Calibration
from ..document.parts import chunks, joint_held_out
from ..document.renewed import given_up, merged
from ..extent import check_covers
from ..trim.apply import unless_complete
from .upkeep import Followed, Upkeep

_log = logging.getLogger(__name__)

#: Allowance and decision limit of the CUSUM (sigma).
ALLOWANCE, LIMIT = 1.5, 8.0
#: Patterns and repeats of the sentinel, and repeats of its reference.
PATTERNS, REPEATS, REFERENCE_REPEATS = 6, 8, 128
#: Directions that are watched, as coordinates of the model; all weights of a neuron together come last.
WATCHED = (TAU_MEM, TAU_SYN, LEAK)
NAMES = ("tau_mem", "tau_syn", "leak", "weight")
#: RMS of the other neurons' deviations (sigma) up to which a calibration that failed is the fault of its neurons.
STEADY = 3.0


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


@dataclass(frozen=True, eq=False)
class Tended:
    """What :meth:`Sentinel.tend` found and did; ``followed`` is None where nothing had drifted, or nobody keeps a network up."""

    check: Check
    calibration: Calibration
    followed: Followed | None


@dataclass
class Sentinel:
    """Watches a calibrated device: :meth:`tend` whenever a moment is free.

    Its parts alone: :meth:`check`, and :meth:`recalibrate` where that says so.

    Parameters
    ----------
    device : opened device, calibrated
    calibration : what it was calibrated to
    program : what its neurons are asked to be; every check puts back what the device holds
    allowance, limit : of the CUSUM (sigma)
    upkeep : Upkeep, optional
        The network that runs on the device, and how it is kept working: see :meth:`Upkeep.follow`. Without one a neuron that
        is masked by a re-calibration stays in use.

    Raises
    ------
    CalibrationError
        The calibration is of another device, or lacks neurons that are in use.
    """

    device: Device
    calibration: Calibration
    program: Program
    allowance: float = ALLOWANCE
    limit: float = LIMIT
    history: list[Check] = field(default_factory=list)
    upkeep: Upkeep | None = None

    def __post_init__(self) -> None:
        if self.calibration.device_id != self.device.device_id:
            raise CalibrationError(
                f"calibration {self.calibration.id} is of device {self.calibration.device_id}; this is "
                f"{self.device.device_id}: calibrate it"
            )
        check_covers(self.calibration, self.program if self.upkeep is None else self.upkeep.program)
        targets = targets_of(self.program, self.device, self.calibration.neurons)
        columns = min(4, self.device.capabilities.fan_in)
        self._bench = Bench(self.device, targets, columns)
        # bursts of very many neurons overflow a device's event link: they take turns
        parts = chunks(self.calibration.neurons)
        self._turns = (
            [self._bench]
            if len(parts) == 1
            else [Bench(self.device, targets_of(self.program, self.device, part), columns) for part in parts]
        )
        self._neurons = neurons_of(self.calibration, self._bench)
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
            found = []
            for bench in self._turns:
                bench.load()
                found.append(bench.measure(self._stimuli, repeats))
            return _beside(found)
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

    def tend(self) -> Tended:
        """Check; calibrate anew what has drifted; let the network follow (:attr:`upkeep`).

        Raises :class:`CalibrationError` where the network cannot follow: it needs neurons and none is free.
        """
        check, followed = self.check(), None
        if check.drifted:
            self.recalibrate(check.neurons, synapses=False)
            followed = None if self.upkeep is None else self.upkeep.follow(self.calibration)
        return Tended(check, self.calibration, followed)

    def on_epoch(self, epoch: object) -> Program | None:
        """For ``on_epoch`` of :func:`hwloop.finetune`: check after every epoch, calibrate what has drifted, go on.

        With an :attr:`upkeep` of the network that is fine-tuned, neurons that can no longer be used are moved as
        :meth:`tend` does, and the program that is returned tells the loop, whose own steps then adapt the weights.
        """
        check = self.check()
        if not check.drifted:
            return None
        self.recalibrate(check.neurons, synapses=False)
        if self.upkeep is None:
            return None
        self.upkeep.program = getattr(self.device, "program", None) or self.upkeep.program
        return self.upkeep.program if self.upkeep.place(self.calibration) else None

    def recalibrate(self, neurons: Sequence[int] | None = None, **options: Any) -> Calibration:
        """Calibrate the drifted neurons of the last check alone (or ``neurons``), and go on watching from there.

        ``options``: of :func:`hwloop.calibrate`. Returns the calibration with the new rows; the others keep theirs. The
        held-out figures are measured anew, over all neurons. Neurons that cannot be calibrated are masked, as long as
        those that were not to be calibrated answer as before.

        Raises
        ------
        TargetError
            The device as a whole does not answer as it did, or a write failed; codes and calibration of before stay, here and
            on the device, as they do after Ctrl-C.
        """
        chosen = sorted(neurons if neurons is not None else self.history[-1].neurons if self.history else ())
        if not chosen:
            return self.calibration
        rows = np.searchsorted(self.calibration.neurons, chosen)
        with unless_complete(self.device):
            verified = self._verified(self._renewed(chosen, rows, options))
            reference = _replaced(self._reference, self._measure(REFERENCE_REPEATS), rows)
            found = neurons_of(verified, self._bench)
            self.device.calibration = verified  # type: ignore[attr-defined]
        self.calibration, self._reference, self._neurons = verified, reference, found
        self._sound[rows] = [verified.verdict[r] != "masked" for r in rows]
        self._high[rows], self._low[rows] = 0.0, 0.0
        return self.calibration

    def _renewed(self, chosen: list[int], rows: Array, options: dict[str, Any]) -> Calibration:
        """The calibration with new rows of the neurons ``chosen``, or with these masked where they cannot be calibrated."""
        try:
            part = calibrate(self.device, self.program, neurons=chosen, **options)
        except TargetError as error:
            if not self._others_steady(rows):
                raise
            _log.warning("%s: neurons %s are masked: %s", self.device.device_id, chosen, error)
            return given_up(self.calibration, chosen, str(error))
        return merged(self.calibration, part)

    def _others_steady(self, rows: Array) -> bool:
        """Whether the sound neurons that are not among ``rows`` answer as in the reference."""
        others = self._sound.copy()
        others[rows] = False
        z = deviations(self._neurons, self._reference, self._measure(REPEATS), self._noise)[others]
        return len(z) > 0 and float(np.sqrt(np.mean(z**2))) < STEADY

    def _verified(self, calibration: Calibration) -> Calibration:
        """The calibration with held-out figures of what its neurons are now, sealed."""
        loaded = getattr(self.device, "program", None) or self.program
        columns = len(calibration.weights[0])
        sound = {n for n, verdict in zip(calibration.neurons, calibration.verdict, strict=True) if verdict != "masked"}
        found = []
        try:
            for part in chunks(calibration.neurons):
                bench = Bench(self.device, targets_of(self.program, self.device, part), columns)
                bench.load()
                usable = np.array([n in sound for n in part])
                found.append(held_out(bench, neurons_of(calibration, bench), bench.nominal(), usable))
        finally:
            self.device.load(loaded)
        return calibration.model_copy(update={"held_out": joint_held_out(found)}).sealed()


def deviations(neurons: Neurons, before: Observations, now: Observations, noise: Noise) -> Array:
    """How far each watched coordinate has moved, alone, in units of its error ``[n, 4]``.

    For one coordinate ``d = J^T Sigma^-1 (t_now - t_before)`` has the variance ``A (1 + m_now / m_before)`` with the numbers of
    repeats ``m``, since both measurements have the same noise a repeat: ``z = d / sqrt`` of it. Spikes whose time is no
    straight line of the threshold within its noise are not used: their means over different numbers of repeats differ.
    """
    model = predict(neurons, now.stimuli)
    agreed = np.minimum(before.agreed, now.agreed)
    moved = replace(now, mean=model.times[..., :KEEP] + np.nan_to_num(now.mean - before.mean), agreed=agreed)
    straight = np.where(np.isnan(mean_shift(neurons, now, noise)), np.nan, 0.0)
    normal = normal_of(neurons, moved, noise, model, straight)
    curvature = np.einsum("npp->np", normal.matrix)
    right = np.concatenate([normal.right[:, list(WATCHED)], normal.right[:, OWN:].sum(1, keepdims=True)], 1)
    power = np.concatenate([curvature[:, list(WATCHED)], curvature[:, OWN:].sum(1, keepdims=True)], 1)
    return np.asarray(right / np.sqrt((1 + now.repeats / before.repeats) * np.where(power > 0, power, np.inf)))


def _beside(parts: list[Observations]) -> Observations:
    """Observations of the same stimuli on disjoint neurons as one."""
    if len(parts) == 1:
        return parts[0]

    def joint(name: str, axis: int) -> Array:
        return np.concatenate([getattr(part, name) for part in parts], axis)

    first = parts[0]
    return Observations(
        first.stimuli, joint("mean", 1), joint("variance", 1), joint("support", 1), joint("agreed", 1), first.repeats,
        joint("extra", 0), joint("spikes", 0), joint("halves", 2),
    )  # fmt: skip


def _replaced(old: Observations, new: Observations, rows: Array) -> Observations:
    """``old`` with neurons ``rows`` as ``new`` has them."""
    changed = {}
    for name in ("mean", "variance", "support", "agreed"):
        changed[name] = getattr(old, name).copy()
        changed[name][:, rows] = getattr(new, name)[:, rows]
    return replace(old, **changed)
