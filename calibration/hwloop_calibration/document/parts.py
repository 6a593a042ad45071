"""One calibration document out of several, of disjoint neurons of one device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hwloop.errors import CalibrationError

from ..characterise.model import Array
from .calibration import Calibration, Effort, Estimate, HeldOut, NoiseFound, Spread

#: Neurons whose spikes an event link takes: bursts of 512 neurons overflow the FIFO of ``bss2`` (512 events, 8 ns each), and
#: where spikes are lost the others are paired wrongly.
CROWD = 128
#: Share of neurons unlike the model that is taken for such a loss.
CROWDED = 0.05

#: What says how far parameters spread; see :func:`~..calibrate.spreads`.
Spreads = Callable[[dict[str, Array], dict[str, Estimate], dict[str, Estimate], Array], dict[str, Spread]]


def chunks(neurons: Sequence[int] | Array) -> list[list[int]]:
    """``neurons`` in ascending order, in as few parts of equal size as have at most :data:`CROWD` each."""
    ordered = sorted(int(n) for n in neurons)
    count = -(-len(ordered) // CROWD)
    return [part.tolist() for part in np.array_split(np.array(ordered), count)]


def merged(parts: Sequence[Calibration], spreads: Spreads, spent: Effort | None = None) -> Calibration:
    """The parts as one document, sealed; what describes the device is that of the last, effort is the sum.

    ``spent``: effort before the first part, counted too.

    Raises :class:`CalibrationError` where parts are of different devices or targets, or share a neuron.
    """
    last = parts[-1]
    for part in parts:
        for name in ("device_id", "revision", "firmware", "program_digest", "gauge"):
            if getattr(part, name) != getattr(last, name):
                raise CalibrationError(
                    f"parts of different {name}: {getattr(part, name)!r} and {getattr(last, name)!r}; allowed: parts of one "
                    "device and one program"
                )
    neurons = [n for part in parts for n in part.neurons]
    if sorted(set(neurons)) != neurons:
        raise CalibrationError(
            "the parts share neurons or are not in ascending order; allowed: disjoint ascending parts"
        )
    targets = {name: [x for part in parts for x in part.targets[name]] for name in last.targets}
    estimates, before = (_estimates([getattr(part, name) for part in parts]) for name in ("estimates", "before"))
    verdict = [v for part in parts for v in part.verdict]
    sound = np.array([v != "masked" for v in verdict])
    efforts = [*([] if spent is None else [spent]), *(part.effort for part in parts)]
    return last.model_copy(
        update={
            "neurons": neurons, "targets": targets, "estimates": estimates, "before": before, "verdict": verdict,
            "weights": [row for part in parts for row in part.weights],
            "reasons": {key: text for part in parts for key, text in part.reasons.items()},
            "notes": {key: text for part in parts for key, text in part.notes.items()},
            "residual": [x for part in parts for x in part.residual],
            "noise": NoiseFound(threshold=_rms(parts, "threshold"), jitter=_rms(parts, "jitter")),
            "held_out": joint_held_out([part.held_out for part in parts if part.held_out is not None]),
            "spread": spreads({k: np.array(v) for k, v in targets.items()}, before or estimates, estimates, sound),
            "effort": Effort(**{name: _sum(efforts, name) for name in Effort.model_fields}),
        }
    ).sealed()  # fmt: skip


def _estimates(tables: list[dict[str, Estimate]]) -> dict[str, Estimate]:
    """Rows of all parts one after the other; empty where a part has none."""
    if not all(tables):
        return {}
    return {
        name: Estimate(
            value=[x for table in tables for x in table[name].value],
            error=[x for table in tables for x in table[name].error],
            identified=[x for table in tables for x in table[name].identified],
        )
        for name in tables[-1]
    }


def _rms(parts: Sequence[Calibration], name: str) -> float:
    """Noise of all parts: a mean square, each neuron counting alike."""
    square = sum(len(part.neurons) * getattr(part.noise, name) ** 2 for part in parts)
    return float(np.sqrt(square / sum(len(part.neurons) for part in parts)))


def joint_held_out(found: list[HeldOut]) -> HeldOut | None:
    """Errors of all parts: mean squares over spikes; missing and extra spikes a neuron and sample over samples."""
    if not found:
        return None
    spikes, samples = _sum(found, "spikes"), _sum(found, "samples")

    def square(name: str) -> float:
        return float(np.sqrt(sum(h.spikes * getattr(h, name) ** 2 for h in found) / max(spikes, 1)))

    def mean(name: str) -> float:
        return float(sum(h.samples * getattr(h, name) for h in found) / max(samples, 1))

    return HeldOut(
        samples=samples, spikes=spikes, twin=square("twin"), nominal=square("nominal"), jitter=square("jitter"),
        missing=mean("missing"), extra=mean("extra"),
    )  # fmt: skip


def _sum(items: Sequence[Any], name: str) -> Any:
    return sum(getattr(item, name) for item in items)


__all__ = ["CROWD", "CROWDED", "chunks", "joint_held_out", "merged"]
