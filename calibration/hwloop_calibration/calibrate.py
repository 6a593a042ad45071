"""``hwloop.calibrate``: characterise, trim where the device can be trimmed, verify on held-out stimuli, write it down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata

import numpy as np

from hwloop.device.registry import Device
from hwloop.device.trim import Trimmable
from hwloop.errors import InputError
from hwloop.mapping import Program

from .characterise.bench import Bench, targets_of
from .characterise.held_out import held_out
from .characterise.measure import COLUMNS, REPEATS, Characterisation, CrowdedLinkError, Session, device_time
from .characterise.membranes import Potentials, read_potentials
from .characterise.model import Array, Neurons
from .characterise.quality import UNKNOWN
from .characterise.synapses import Weights
from .document.calibration import FACTOR_DIGITS, Calibration, Effort, Estimate, NoiseFound, Spread, as_row
from .document.parts import chunks, merged
from .extent import Wanted, lacking
from .trim.apply import drop_calibration, trim_codes, unless_complete
from .trim.codes import State, Trimmer, state_of

#: Rounds of writing trim cells: by the data sheet's law, then by each cell's own slope.
TRIM_ROUNDS = 2
#: Told what begins.
OnStage = Callable[[str], None]


def calibrate(
    device: Device,
    program: Program,
    *,
    neurons: Wanted = None,
    trim: bool = True,
    repeats: int = REPEATS,
    synapses: bool = True,
    tolerance: float = 0.02,
    on_stage: OnStage = lambda text: None,
) -> Calibration:
    """Calibrate ``device`` for ``program``; it holds the trim codes and the calibration afterwards.

    Parameters
    ----------
    device : opened device
    program : what it is to run; its neuron parameters are the targets
    neurons : physical neurons; default: those that the program uses, and some to spare for those that turn out to be of no
        use (where they do not suffice, more are calibrated); ``"all"``: the whole chip, for programs to come. Programs that
        use others are refused (:func:`hwloop.compile`). Where so many fire together that their events overflow the
        device's link, they are calibrated in parts
    trim : whether trim cells are written, where the device has any
    repeats : runs of every stimulus, at least 4
    synapses : whether the weight of every synapse column of the program is measured; except for ``"all"``, for neurons of
        the program the columns of their own layer
    tolerance : largest standard error, as a share, that passes
    on_stage : told what begins

    Raises
    ------
    InputError
        An option out of range.
    TargetError
        A dead or silent chip, one that answers with noise, one that drifts meanwhile, or a failed write. Codes and
        calibration of before are then back in place, as after Ctrl-C; where that fails too, the device has no calibration.
    """
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance = {tolerance}; allowed: between 0 and 1 (a share)")
    loaded = getattr(device, "program", None)

    def begin(chosen: Wanted) -> _Run:
        return _Run(device, program, chosen, repeats, synapses, tolerance, on_stage)

    with unless_complete(device):
        try:
            found = _in_parts(begin, neurons, trim, on_stage)
            while neurons is None and (more := lacking(program, found, device.capabilities.n_neurons)):
                on_stage(f"{device.device_id}: {len(found.mask)} neurons are of no use; calibrating {len(more)} more")
                found = merged([found, _in_parts(begin, more, trim, on_stage)], spreads)
        finally:
            if loaded is not None and not getattr(device, "closed", False):
                device.load(loaded)
        device.calibration = found  # type: ignore[attr-defined]  # recordings name it
    return found


def _in_parts(begin: Callable[[Wanted], _Run], neurons: Wanted, trim: bool, on_stage: OnStage) -> Calibration:
    """The calibration of ``neurons``, all at once or, where their events overflow the link, part by part."""
    whole = begin(neurons)
    try:
        return whole.calibrate(trim)
    except CrowdedLinkError as error:
        on_stage(str(error))
        spent = whole.effort()
        parts = [begin(part).calibrate(trim) for part in chunks(whole.bench.targets.neurons)]
        return merged(parts, spreads, spent)


class _Run:
    """One calibration under way."""

    def __init__(
        self, device: Device, program: Program, neurons: Wanted, repeats: int, synapses: bool,
        tolerance: float, on_stage: OnStage,
    ) -> None:  # fmt: skip
        self.device, self.program, self.synapses, self.on_stage = device, program, synapses, on_stage
        self.start, self.clock, self.cells = time.perf_counter(), device_time(device), device.writes.total
        self.trims = self._trim_writes()
        targets = targets_of(program, device, neurons)
        columns = min(max(COLUMNS, max(layer.fan_in for layer in program.layers)), device.capabilities.fan_in)
        self.bench = Bench(device, targets, columns)
        self.session = Session(self.bench, repeats, tolerance)
        self.tolerance = tolerance

    def calibrate(self, trim: bool) -> Calibration:
        self.bench.load()
        self.on_stage(f"{self.device.device_id}: measuring {len(self.bench.targets.neurons)} neurons")
        first = self._with_synapses(self.session.characterise())
        found = first
        first_potentials = potentials = self._potentials(found)
        unreachable: dict[int, str] = {}
        ranges = self.device.trim_ranges if trim and isinstance(self.device, Trimmable) else {}
        if ranges:
            rows = self.bench.targets.neurons
            held = {name: codes[rows] for name, codes in trim_codes(self.device).items()}
            trimmer = Trimmer(ranges, held)
            for number in range(TRIM_ROUNDS):
                state = self._state(found, potentials)
                writes = trimmer.next(state, ~found.judgement.masked)
                if not writes:
                    break
                self.on_stage(f"{self.device.device_id}: trimming, round {number + 1}")
                self._write(writes)
                found = rescaled(first, self.session.characterise(found.neurons))
                potentials = self._potentials(found)
            unreachable = trimmer.out_of_reach(self._state(found, potentials))
        return self._document(first, first_potentials, found, potentials, unreachable, bool(ranges))

    def _with_synapses(self, found: Characterisation) -> Characterisation:
        if not self.synapses:
            return found
        self.on_stage(f"{self.device.device_id}: measuring {self.bench.columns} synapse columns")
        return replace(found, weights=self.session.synapses(found))

    def _write(self, writes: dict[str, tuple[Array, Array]]) -> None:
        physical = self.bench.targets.neurons
        drop_calibration(self.device)
        for name, (rows, codes) in writes.items():
            self.device.write_trim(name, codes, physical[rows])  # type: ignore[attr-defined]  # Trimmable

    def _potentials(self, found: Characterisation) -> Potentials | None:
        return read_potentials(self.bench, found.neurons)

    def _state(self, found: Characterisation, potentials: Potentials | None) -> State:
        limits = self.device.capabilities
        target = self.bench.targets.nominal(1, 0.0, limits.refractory_min * limits.speedup)
        return state_of(
            found.neurons, target, found.errors, found.gain(), found.judgement, potentials, self.bench.targets.values,
            self.device.trim_ranges,  # type: ignore[attr-defined]
        )  # fmt: skip

    def _trim_writes(self) -> int:
        return int(getattr(self.device.writes, "trims", 0))

    # -- document -----------------------------------------------------------------------------

    def _document(
        self, first: Characterisation, first_potentials: Potentials | None, found: Characterisation,
        potentials: Potentials | None, unreachable: dict[int, str], trimmed: bool,
    ) -> Calibration:  # fmt: skip
        device, targets = self.device, self.bench.targets
        physical = targets.neurons
        reasons = {**found.judgement.reasons, **unreachable}
        verdict = ["masked" if k in unreachable else v for k, v in enumerate(found.judgement.verdict)]
        sound = np.array([v != "masked" for v in verdict])
        estimates = estimates_of(found, potentials)
        before = estimates_of(first, first_potentials) if trimmed else {}
        whole = replace(found.neurons, weight=_filled(found.weights, found))
        checked = held_out(self.bench, whole, self.bench.nominal(), sound)
        kelvin = getattr(device, "temperature", None)
        freedom = np.maximum(found.fit.freedom, 1)
        document = Calibration(
            device_id=device.device_id, target=device.capabilities.name, revision=device.capabilities.digest,
            firmware=device.firmware,
            ran_on=device.ran_on, date=datetime.now(UTC).isoformat(timespec="seconds"),
            temperature=None if kelvin is None else float(kelvin), device_time=device_time(device),
            hwloop=metadata.version("hwloop"), program_digest=self.program.digest,
            gauge="spikes" if potentials is None else "membranes", tolerance=self.tolerance,
            neurons=physical.tolist(), targets={k: [float(x) for x in v] for k, v in targets.values.items()},
            estimates=estimates, before=before,
            weights=[as_row(row, FACTOR_DIGITS) for row in factors_of(found, potentials)],
            codes={name: codes.tolist() for name, codes in trim_codes(device).items()} if trimmed else {},
            verdict=verdict, reasons={str(int(physical[k])): v for k, v in sorted(reasons.items())},
            notes={str(int(physical[k])): v for k, v in sorted(found.judgement.notes.items())},
            residual=as_row(np.sqrt(found.fit.cost / freedom), FACTOR_DIGITS),
            noise=NoiseFound(threshold=found.noise.threshold, jitter=found.noise.jitter), held_out=checked,
            spread=spreads(targets.values, before or estimates, estimates, sound), effort=self.effort(),
        )  # fmt: skip
        return document.sealed()

    def effort(self) -> Effort:
        """What it has cost so far."""
        trims = self._trim_writes() - self.trims
        return Effort(
            seconds=time.perf_counter() - self.start, device_seconds=max(0.0, device_time(self.device) - self.clock),
            runs=self.bench.runs, samples=self.bench.samples, cells_written=self.device.writes.total - self.cells - trims,
            trim_cells_written=trims,
        )  # fmt: skip


def rescaled(first: Characterisation, found: Characterisation) -> Characterisation:
    """``found`` with the weights of all columns that ``first`` has: trimming moves all synapses of a neuron by one factor.

    The factor is that of the columns that both have driven.
    """
    driven = found.neurons.weight.shape[1]
    old, new = first.weights.value[:, :driven], found.weights.value[:, :driven]
    live = (old > 0) & (new > 0)
    factor = np.where(live, new, 0.0).sum(1) / np.where(live, old, 1e-300).sum(1).clip(min=1e-300)
    factor = np.where(live.any(1), factor, 1.0)
    value, error = first.weights.value * factor[:, None], first.weights.error.copy()
    value[:, :driven], error[:, :driven] = new, found.weights.error[:, :driven]
    return replace(found, weights=Weights(value, error))


def _filled(weights: Weights, found: Characterisation) -> Array:
    """All weights; those that were not measured as the neuron's mean."""
    mean = found.gain()[:, None] * found.asked_weight
    value = np.where(np.isfinite(weights.value), weights.value, mean)
    return np.where(np.isfinite(value), value, 0.0)


def factors_of(found: Characterisation, potentials: Potentials | None) -> Array:
    """Weights over what was asked ``[n, columns]``, NaN where unknown."""
    factors = found.weights.value / found.asked_weight
    if potentials is not None:
        factors = factors * (potentials.swing / found.targets.swing)[:, None]
    dead = found.weights.value == 0
    return np.where(np.isfinite(found.weights.error) | dead, factors, np.nan)


def estimates_of(found: Characterisation, potentials: Potentials | None) -> dict[str, Estimate]:
    """All parameters in model units; see :class:`~.document.calibration.Calibration` for the two gauges."""
    n, asked, errors, known = found.neurons, found.targets.values, found.errors, found.judgement.identified
    swing = found.targets.swing
    sound = ~found.judgement.masked
    never = np.zeros(len(n), bool)
    gain, gain_error = found.gain(), errors[:, 5]
    if potentials is None:
        v_reset, v_th, v_leak = asked["v_reset"], asked["v_th"], asked["v_reset"] + swing * n.leak
        by_zero, by_unit, by_leak = np.full(len(n), np.nan), np.full(len(n), np.nan), swing * errors[:, 2]
        levels = never
    else:
        v_reset, v_th = potentials.v_reset, potentials.v_reset + potentials.swing
        v_leak = v_reset + potentials.swing * n.leak
        # at rest the converter shows the leak itself; reset and threshold lie a leak's and a swing's error beside it
        by_leak = potentials.v_reset_error
        by_zero = np.hypot(potentials.v_reset_error, potentials.swing * errors[:, 2])
        by_unit = np.hypot(potentials.swing_error, potentials.swing * errors[:, 5])
        gain = gain * potentials.swing / swing
        gain_error = np.hypot(gain_error, by_unit / potentials.swing)
        levels = np.isfinite(v_reset)
    table = {
        "tau_mem": (n.tau_mem, n.tau_mem * errors[:, 0], known[:, 0]),
        "tau_syn": (n.tau_syn, n.tau_syn * errors[:, 1], known[:, 1]),
        "v_th": (v_th, np.hypot(by_zero, by_unit), levels),
        "v_leak": (v_leak, by_leak, known[:, 2]),
        "v_reset": (v_reset, by_zero, levels),
        "t_ref": (n.t_ref, errors[:, 3], known[:, 3] & (errors[:, 3] < np.maximum(n.t_ref, 1e-300) / 2)),
        "gain": (gain, gain * gain_error, known[:, 5]),
        "latency": (n.latency, errors[:, 4], known[:, 4]),
    }
    return {
        name: Estimate(
            value=as_row(np.where(sound, value, np.nan)), error=as_row(np.where(sound, error, np.nan)),
            identified=(sound & known_here).tolist(),
        )
        for name, (value, error, known_here) in table.items()
    }  # fmt: skip


def spreads(
    targets: dict[str, Array], before: dict[str, Estimate], after: dict[str, Estimate], sound: Array
) -> dict[str, Spread]:
    """Deviation over sound neurons of ``value / target`` (times, gain) or ``(value - target) / swing`` (potentials)."""
    swing = np.asarray(targets["v_th"]) - np.asarray(targets["v_reset"])

    def spread(name: str, table: dict[str, Estimate]) -> float | None:
        estimate = table[name]
        value = np.array([np.nan if x is None else x for x in estimate.value])
        chosen = sound & np.asarray(estimate.identified) & np.isfinite(value)
        if name == "gain":
            relative = value
        elif name.startswith("v_"):
            relative = (value - np.asarray(targets[name])) / swing
        else:
            asked = np.asarray(targets[name])
            chosen &= asked > 0
            relative = value / np.where(asked > 0, asked, 1.0)
        return float(np.std(relative[chosen])) if chosen.sum() > 1 else None

    found = {}
    for name in after:
        if name == "latency":
            continue
        pair = spread(name, before), spread(name, after)
        if pair[0] is not None and pair[1] is not None:
            found[name] = Spread(before=pair[0], after=pair[1])
    return found


__all__ = ["UNKNOWN", "Neurons", "calibrate", "estimates_of", "factors_of", "spreads"]
