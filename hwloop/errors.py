"""Every error that hwloop raises on purpose, one tree; each class says who can mend it.

HwloopError
├── InputError (ValueError)      the caller: a value is out of its range; names value and allowed range
│   └── OptionError              the caller: an option, name or file key that does not exist
├── DataError                    the owner of a data file or folder: missing, truncated, malformed
├── CheckpointError              the owner of a checkpoint: damaged, or of another network
├── CompileError                 the network's author: the target cannot carry it (limit, value, layer, fix)
├── CalibrationError             the owner of a calibration: foreign, stale, edited, or of other neurons
├── TargetError                  the owner of the target: unknown, not openable, failed while running
│   └── LinkError                the owner of the line to a board: silent, damaged, taken, or not what it was
├── RankError                    the owner of the machines: a rank of a run on several processes is lost or has failed
└── GradientError                the caller: a gradient that the chosen policy refuses

Warnings: CompileWarning (what compiling lost, with the remedy), CalibrationWarning (a foreign or stale calibration in use).
"""

from __future__ import annotations


class HwloopError(Exception):
    """Root of all errors raised by hwloop."""


class InputError(HwloopError, ValueError):
    """A value is outside its allowed range; the message names both and what to do."""


class OptionError(InputError):
    """A name, option or key that does not exist; the message lists those that do."""


class DataError(HwloopError):
    """A data file or folder is missing, truncated or malformed."""


class CheckpointError(HwloopError):
    """A checkpoint is damaged or belongs to another network."""


class CalibrationError(HwloopError):
    """A calibration is foreign, stale, edited, or does not cover what it is used for."""


class CompileWarning(UserWarning):
    """Compiling lost something of the network: weights that became zero, delays off their ticks, a layer that falls silent."""


class CalibrationWarning(UserWarning):
    """A foreign or stale calibration is used, since the policy says "warn"."""


class TimeScaleWarning(UserWarning):
    """Times and time constants do not go together: another unit, or finer than the dtype tells apart."""


class TargetError(HwloopError):
    """A target is unknown, cannot be opened, or failed while running."""


class LinkError(TargetError):
    """The line to a board is silent, taken by another process, or the board does not answer as agreed."""


class RankError(HwloopError):
    """A rank of a run on several processes is lost or has failed; the message says which, and how to go on."""


class GradientError(HwloopError):
    """A spike's derivative is below the floor and the policy is ``raise``."""


class CompileError(HwloopError):
    """The target cannot carry the network.

    Attributes
    ----------
    limit, value, layer, fix : str
        What the target allows, what was found, where, and the cheapest change that makes it fit.
    """

    def __init__(self, limit: str, value: str, layer: str, fix: str) -> None:
        self.limit, self.value, self.layer, self.fix = limit, value, layer, fix
        super().__init__(f"{layer}: found {value}; the target allows {limit}. Cheapest fix: {fix}")

    def __reduce__(self) -> tuple[type[CompileError], tuple[str, str, str, str]]:
        # on its way out of a worker process
        return type(self), (self.limit, self.value, self.layer, self.fix)
