"""Which neurons are calibrated: those that a program uses, with some to spare, or all of the chip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from hwloop.errors import CalibrationError, InputError
from hwloop.mapping import Program

from .characterise.model import Array

if TYPE_CHECKING:
    from .document.calibration import Calibration

#: Neurons that are calibrated: None: those of the program and spares; "all": the chip's; or those that are named.
Wanted: TypeAlias = Sequence[int] | Literal["all"] | None

#: Neurons that are calibrated beside those in use: of bss2 about one in a hundred turns out to be dead.
SPARES, LEAST_SPARES = 0.05, 2
#: Neurons that are calibrated at least where there were too few spares: among few, dead ones would be too large a share.
LEAST_MORE = 8


def used_by(program: Program) -> list[int]:
    """Physical neurons that ``program`` stands on, ascending, each once: pieces use them one after the other."""
    return sorted({int(n) for layer in program.layers for n in layer.neurons})


def with_spares(program: Program, available: int, mask: Iterable[int] = ()) -> list[int]:
    """The neurons of ``program``, and the next free ones, which take the place of those that turn out to be of no use."""
    used = used_by(program)
    free = [n for n in range(used[-1] + 1, available) if n not in set(mask)]
    return used + free[: max(LEAST_SPARES, round(SPARES * len(used)))]


def chosen_of(program: Program, available: int, neurons: Wanted) -> Array:
    """Physical neurons ``[n]``, ascending, that ``neurons`` means; :class:`InputError` where it names none of the chip."""
    if isinstance(neurons, str):
        if neurons != "all":
            raise InputError(
                f'neurons = {neurons!r}; allowed: "all", None (those of the program), or a list of numbers'
            )
        return np.arange(available)
    wanted = with_spares(program, available) if neurons is None else list(neurons)
    chosen = np.unique(np.asarray(wanted, dtype=np.int64))
    if len(chosen) != len(wanted) or chosen.size == 0 or chosen[0] < 0 or chosen[-1] >= available:
        raise InputError(f"neurons {wanted[:5]}...; allowed: one or more different ones of 0..{available - 1}")
    return chosen


def lacking(program: Program, calibration: Calibration, available: int) -> list[int]:
    """The next neurons of the chip to be calibrated, where ``calibration`` has fewer sound ones than ``program`` uses."""
    short = len(used_by(program)) - (len(calibration.neurons) - len(calibration.mask))
    first = calibration.neurons[-1] + 1
    return list(range(first, min(available, first + max(LEAST_MORE, 2 * short)))) if short > 0 else []


def check_covers(calibration: Calibration, program: Program) -> None:
    """:class:`CalibrationError` where ``program`` uses a neuron that ``calibration`` does not know."""
    unknown = sorted(set(used_by(program)) - set(calibration.neurons))
    if unknown:
        raise CalibrationError(
            f"calibration {calibration.id} of {calibration.device_id} lacks {len(unknown)} neurons that the program uses (first: "
            f"physical neuron {unknown[0]}). Calibrate for this program: hwloop.calibrate(device, program), or the whole chip: "
            'neurons="all"'
        )


__all__ = ["Wanted", "check_covers", "chosen_of", "lacking", "used_by", "with_spares"]
