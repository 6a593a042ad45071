"""hwloop: train spiking networks with exact event-based gradients and bring them to neuromorphic hardware.

Importing the package imports nothing else: each public name is imported when it is first used (PEP 562), so that a
command that only prints its help does not wait for torch.
"""

import sys as _sys
from importlib import import_module as _import_module
from importlib.util import find_spec as _find_spec
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from .version import VERSION as _VERSION

if _TYPE_CHECKING:
    from hwloop_calibration import Calibration as Calibration
    from hwloop_calibration import calibrate as calibrate

    from .bundle import load_bundle as load_bundle
    from .bundle import save_bundle as save_bundle
    from .compare import Comparison as Comparison
    from .compare import compare as compare
    from .cost import Cost as Cost
    from .cost import cost_of as cost_of
    from .datasets import Dataset as Dataset
    from .datasets import Task as Task
    from .device.deploy import deploy as deploy
    from .device.deploy import measure as measure
    from .device.deploy import run_on as run_on
    from .device.registry import Device as Device
    from .device.registry import Target as Target
    from .device.registry import available as available
    from .device.registry import compile as compile
    from .device.registry import open as open
    from .device.repeats import UntilSure as UntilSure
    from .device.repeats import sure_on as sure_on
    from .errors import CalibrationError as CalibrationError
    from .errors import CheckpointError as CheckpointError
    from .errors import CompileError as CompileError
    from .errors import CompileWarning as CompileWarning
    from .errors import DataError as DataError
    from .errors import GradientError as GradientError
    from .errors import HwloopError as HwloopError
    from .errors import InputError as InputError
    from .errors import OptionError as OptionError
    from .errors import RankError as RankError
    from .errors import TargetError as TargetError
    from .errors import TimeScaleWarning as TimeScaleWarning
    from .mapping import Program as Program
    from .network import IF as IF
    from .network import LI as LI
    from .network import LIF as LIF
    from .network import AvgPool2d as AvgPool2d
    from .network import Conv2d as Conv2d
    from .network import Delay as Delay
    from .network import DeltaLIF as DeltaLIF
    from .network import Dense as Dense
    from .network import Flatten as Flatten
    from .network import Input as Input
    from .network import Network as Network
    from .network import Projection as Projection
    from .network import Scale as Scale
    from .network import Sparse as Sparse
    from .network import SumPool2d as SumPool2d
    from .record import Record as Record
    from .record import Recording as Recording
    from .session_log import record_session as record_session
    from .spikes import Spikes as Spikes
    from .training import evaluate as evaluate
    from .training import fit as fit
    from .training.loop import finetune as finetune

__version__ = _VERSION

#: Where each public name comes from.
_HOMES = {
    "AvgPool2d": ".network",
    "Calibration": "hwloop_calibration",
    "CalibrationError": ".errors",
    "CheckpointError": ".errors",
    "Comparison": ".compare",
    "CompileError": ".errors",
    "CompileWarning": ".errors",
    "Conv2d": ".network",
    "Cost": ".cost",
    "DataError": ".errors",
    "Dataset": ".datasets",
    "Delay": ".network",
    "DeltaLIF": ".network",
    "Dense": ".network",
    "Device": ".device.registry",
    "Flatten": ".network",
    "GradientError": ".errors",
    "HwloopError": ".errors",
    "IF": ".network",
    "Input": ".network",
    "InputError": ".errors",
    "LI": ".network",
    "LIF": ".network",
    "Network": ".network",
    "OptionError": ".errors",
    "Program": ".mapping",
    "Projection": ".network",
    "RankError": ".errors",
    "Record": ".record",
    "Recording": ".record",
    "Scale": ".network",
    "Sparse": ".network",
    "Spikes": ".spikes",
    "SumPool2d": ".network",
    "Target": ".device.registry",
    "TargetError": ".errors",
    "Task": ".datasets",
    "TimeScaleWarning": ".errors",
    "UntilSure": ".device.repeats",
    "available": ".device.registry",
    "calibrate": "hwloop_calibration",
    "compare": ".compare",
    "compile": ".device.registry",
    "cost_of": ".cost",
    "deploy": ".device.deploy",
    "evaluate": ".training",
    "finetune": ".training.loop",
    "fit": ".training",
    "load_bundle": ".bundle",
    "measure": ".device.deploy",
    "open": ".device.registry",
    "record_session": ".session_log",
    "run_on": ".device.deploy",
    "save_bundle": ".bundle",
    "sure_on": ".device.repeats",
}

__all__ = [
    "IF",
    "LI",
    "LIF",
    "AvgPool2d",
    "Calibration",
    "CalibrationError",
    "CheckpointError",
    "Comparison",
    "CompileError",
    "CompileWarning",
    "Conv2d",
    "Cost",
    "DataError",
    "Dataset",
    "Delay",
    "DeltaLIF",
    "Dense",
    "Device",
    "Flatten",
    "GradientError",
    "HwloopError",
    "Input",
    "InputError",
    "Network",
    "OptionError",
    "Program",
    "Projection",
    "RankError",
    "Record",
    "Recording",
    "Scale",
    "Sparse",
    "Spikes",
    "SumPool2d",
    "Target",
    "TargetError",
    "Task",
    "TimeScaleWarning",
    "UntilSure",
    "available",
    "calibrate",
    "compare",
    "compile",
    "cost_of",
    "deploy",
    "evaluate",
    "finetune",
    "fit",
    "load_bundle",
    "measure",
    "open",
    "record_session",
    "run_on",
    "save_bundle",
    "sure_on",
]

if not _TYPE_CHECKING:  # a checker is to refuse unknown names

    def __getattr__(name: str) -> _Any:
        if name in _HOMES:
            value = getattr(_import_module(_HOMES[name], __name__), name)
        elif not name.startswith("_") and _find_spec(f"{__name__}.{name}") is not None:
            value = _import_module(f"{__name__}.{name}")  # hwloop.losses and the like, without an import of their own
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Package(_ModuleType):
    """The package, whose function ``compare`` goes before its subpackage of that name.

    Importing a subpackage sets an attribute of its name, whoever imports it; the function would be lost to it.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name == "compare" and isinstance(value, _ModuleType)):
            super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Package
