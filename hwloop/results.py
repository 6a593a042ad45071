"""Results of a command and its summary: every figure says where it ran."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from . import storage
from .arguments import whole
from .compare.source import Source
from .datasets import Dataset
from .device.deploy import measure_samples
from .device.registry import Device
from .losses import Decision
from .mapping import Program
from .network import Network
from .record import RanOn
from .training import Evaluation, evaluate

FORMAT, VERSION = "hwloop-summary", 1

#: Packages whose versions stand in every summary.
PACKAGES = ("hwloop", "torch", "numpy", "numba")

#: Whether a run is under way (or was cut off) or done.
Status = Literal["running", "finished"]


@dataclass(frozen=True)
class Result:
    """Accuracy (0..1) of one network on one data set, and where it ran.

    ``silent``: samples without any output spike, mean over ``runs``.
    """

    network: str
    data: str
    accuracy: float
    samples: int
    silent: int
    ran_on: RanOn
    device_id: str = ""
    program_digest: str = ""
    runs: int = 1

    @property
    def source(self) -> Source:
        """For captions of tables and figures."""
        return Source(self.ran_on, self.device_id, self.program_digest)

    def row(self) -> tuple[str, str, str, str, int, int, int, str]:
        """Cells of a table with the columns :data:`COLUMNS`."""
        place = (self.network, self.ran_on, self.device_id or "-", self.data)
        return (*place, self.samples, self.runs, self.silent, f"{100 * self.accuracy:.1f} %")


#: Columns of a table of results.
COLUMNS = ("network", "ran on", "device", "data", "samples", "runs", "without answer", "accuracy")


def programs_of(results: Sequence[Result]) -> dict[str, str]:
    """The digest of every program that ran, by the network and the device that it is of: for provenance."""
    return {f"program, {r.network} on {r.device_id}": r.program_digest for r in results if r.program_digest}


def simulated(network: str, net: Network, data: Dataset, name: str, decision: Decision = "first") -> Result:
    """Accuracy of ``net`` in simulation on ``data``, called ``name``."""
    return _result(network, name, evaluate(net, data, decision=decision), "simulator")


def measured(
    network: str, device: Device, program: Program, data: Dataset, name: str, *, decision: Decision, runs: int
) -> Result:
    """Accuracy of the loaded ``program`` on ``data``, mean over ``runs``."""
    return measured_by_sample(network, device, program, data, name, decision=decision, runs=runs)[0]


def measured_by_sample(
    network: str, device: Device, program: Program, data: Dataset, name: str, *, decision: Decision, runs: int
) -> tuple[Result, Tensor]:
    """As :func:`measured`, and of every sample the share of the runs that was right."""
    runs = whole("runs", runs)
    found, right = measure_samples(device, data, decision=decision, repeats=runs)
    return _result(network, name, found, device.ran_on, device.device_id, program.digest, runs), right


def _result(
    network: str, data: str, found: Evaluation, ran_on: RanOn, device_id: str = "", digest: str = "", runs: int = 1
) -> Result:
    return Result(network, data, found.accuracy, found.samples, found.silent, ran_on, device_id, digest, runs)


def versions() -> dict[str, str]:
    """Versions of hwloop and of what its results depend on."""
    found = {name: metadata.version(name) for name in PACKAGES}
    return {**found, "python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}


def summary_of(
    kind: str, *, status: Status, seed: int, results: Sequence[Result] = (), **content: Any
) -> dict[str, Any]:
    """What ``summary.json`` of a run holds: what was run, with what, and what came out."""
    return {
        "kind": kind,
        "status": status,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": seed,
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "results": [asdict(result) for result in results],
        **content,
    }


def write_summary(
    folder: Path, kind: str, *, status: Status, seed: int, results: Sequence[Result] = (), **content: Any
) -> dict[str, Any]:
    """Write :func:`summary_of` a run into ``folder`` in one step; what was written."""
    document = summary_of(kind, status=status, seed=seed, results=results, **content)
    storage.write_json(folder / "summary.json", document, kind=FORMAT, version=VERSION)
    return document


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of the run in ``folder``; raises :class:`hwloop.errors.DataError` where there is none."""
    return storage.read_json(folder / "summary.json", kind=FORMAT, version=VERSION)
