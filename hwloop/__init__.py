"""hwloop: train spiking networks with exact event-based gradients and bring them to neuromorphic hardware."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .compare import Comparison as Comparison
from .compare import compare as compare
from .datasets import Dataset as Dataset
from .datasets import Task as Task
from .deployment import deploy as deploy
from .deployment import measure as measure
from .deployment import run_on as run_on
from .errors import CalibrationError as CalibrationError
from .errors import CheckpointError as CheckpointError
from .errors import CompileError as CompileError
from .errors import DataError as DataError
from .errors import GradientError as GradientError
from .errors import HwloopError as HwloopError
from .errors import InputError as InputError
from .errors import OptionError as OptionError
from .errors import TargetError as TargetError
from .mapping import Program as Program
from .network import LIF as LIF
from .network import Dense as Dense
from .network import Network as Network
from .record import Record as Record
from .record import Recording as Recording
from .spikes import Spikes as Spikes
from .target import Device as Device
from .target import Target as Target
from .target import available as available
from .target import compile as compile
from .target import open as open
from .training import evaluate as evaluate
from .training import fit as fit
from .training.loop import finetune as finetune

if _TYPE_CHECKING:
    from hwloop_calibration import Calibration as Calibration
    from hwloop_calibration import calibrate as calibrate

__version__ = "0.1.0"

#: Names from packages that are imported when first used.
_LAZY = {"Calibration": "hwloop_calibration", "calibrate": "hwloop_calibration"}

__all__ = [
    "LIF",
    "Calibration",
    "CalibrationError",
    "CheckpointError",
    "Comparison",
    "CompileError",
    "DataError",
    "Dataset",
    "Dense",
    "Device",
    "GradientError",
    "HwloopError",
    "InputError",
    "Network",
    "OptionError",
    "Program",
    "Record",
    "Recording",
    "Spikes",
    "Target",
    "TargetError",
    "Task",
    "available",
    "calibrate",
    "compare",
    "compile",
    "deploy",
    "evaluate",
    "finetune",
    "fit",
    "measure",
    "open",
    "run_on",
]


def __getattr__(name: str) -> _Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
