"""`hwloop calibrations`: list, show, compare, export what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CalibrationError, OptionError, TargetError
from . import terminal
from .answer import Answer
from .exit_status import Answering

if TYPE_CHECKING:
    from hwloop_calibration import Calibration, Store
    from hwloop_calibration.document.store import Entry

    from ..device.registry import Device
    from .folder import RunFolder

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")
_command = partial(app.command, cls=Answering)

#: The option of a command that reads or adds stored calibrations.
Folder = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="Where calibrations are kept; default: the user's data folder."),
]
_Name = Annotated[str, typer.Argument(metavar="CALIBRATION", help="Beginning of its id, or a file.")]

#: What a run calls the calibration that it made, or that its network was tuned with.
FILE = "calibration.json"

#: Difference of two estimates, in their standard errors, from which a neuron counts as changed.
CHANGED = 4.0


@_command("list", epilog="Example: hwloop calibrations list")
def list_(store: Folder = None) -> Answer:
    """List stored calibrations, newest first."""
    folder = store_in(store).folder
    found = [_described(entry) for entry in store_in(store).entries()]

    def words() -> None:
        if found:
            terminal.table(("calibration", "device", "made", "usable", "what"), [_row(entry) for entry in found])
        else:
            terminal.say(f"no calibrations in {folder}; make one with hwloop calibrate")

    return Answer({"store": folder, "calibrations": found}, words)


def _described(entry: Entry) -> dict[str, Any]:
    """What a listing says of ``entry``."""
    c = entry.calibration
    if c is None:
        return {"id": entry.path.stem, "file": entry.path, "problem": entry.problem}
    usable = {"neurons": len(c.neurons), "usable": len(c.neurons) - len(c.mask)}
    return {
        "id": c.id, "file": entry.path, "device_id": c.device_id, "date": c.date, **usable, "trimmed": bool(c.codes)
    }  # fmt: skip


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    if "problem" in entry:
        return (entry["id"], "-", "-", "-", entry["problem"])
    what = "trimmed" if entry["trimmed"] else "characterised"
    return (entry["id"], entry["device_id"], entry["date"], f"{entry['usable']}/{entry['neurons']}", what)


@_command(epilog="Example: hwloop calibrations show 3fa9c1d7e2b8")
def show(name: _Name, store: Folder = None) -> Answer:
    """Show one calibration."""
    found = store_in(store).find(name)
    document = {"id": found.id, "calibration": loads(found.to_bytes())}
    return Answer(document, lambda: terminal.say(found.to_text(terminal.width()).rstrip()))


@_command(epilog="Example: hwloop calibrations diff 3fa9c1d7e2b8 91be02c44d10")
def diff(first: _Name, second: _Name, store: Folder = None) -> Answer:
    """Compare two calibrations of one device: how far medians and single neurons have moved."""
    before, after = (store_in(store).find(name) for name in (first, second))
    found = differences(before, after)

    def words() -> None:
        terminal.say(f"{before.id} ({before.device_id}, {before.date}) to {after.id} ({after.device_id}, {after.date})")
        columns = ("parameter", "median before", "median after", "RMS change", "neurons changed")
        terminal.table(columns, [change.row() for change in found])

    ends = [{"id": c.id, "device_id": c.device_id, "date": c.date} for c in (before, after)]
    return Answer({"first": ends[0], "second": ends[1], "parameters": found}, words)


@_command(epilog="Example: hwloop calibrations export 3fa9c1d7e2b8 chip7.html")
def export(
    name: _Name, path: Annotated[Path, typer.Argument(help="FILE.json, FILE.html or FILE.txt.")], store: Folder = None
) -> Answer:
    """Write a calibration to a file: the document itself, or its report."""
    from .. import storage

    found = store_in(store).find(name)
    if path.suffix == ".json":
        found.save(path)
    elif path.suffix == ".html":
        found.to_html(path)
    elif path.suffix == ".txt":
        storage.write_bytes(path, found.to_text().encode())
    else:
        raise OptionError(f"{path}: kind {path.suffix or 'missing'!r}; allowed: .json, .html, .txt")
    document = {"id": found.id, "device_id": found.device_id, "file": path}
    return Answer(document, lambda: terminal.say(f"{found.id} of {found.device_id}: {path}"))


@dataclass(frozen=True)
class Change:
    """How far one parameter has moved between two calibrations: medians, RMS over neurons, and how many of them changed."""

    parameter: str
    median_before: float
    median_after: float
    rms_change: float
    changed: int
    neurons: int

    def row(self) -> tuple[str, ...]:
        """Cells of a table."""
        medians = (f"{self.median_before:.6g}", f"{self.median_after:.6g}")
        return (self.parameter, *medians, f"{self.rms_change:.3g}", f"{self.changed} of {self.neurons}")


def differences(before: Calibration, after: Calibration) -> list[Change]:
    """Changes of all parameters; a neuron has changed by more than :data:`CHANGED` standard errors of the difference.

    Raises :class:`OptionError` where the two have no neuron in common.
    """
    import numpy as np

    common = sorted(set(before.neurons) & set(after.neurons))
    if not common:
        raise OptionError(
            f"{before.id} and {after.id} have no neuron in common; compare two that measured the same neurons"
        )
    places = [np.searchsorted(c.neurons, common) for c in (before, after)]
    rows = []
    for name in before.estimates:
        old, new = before.value(name)[places[0]], after.value(name)[places[1]]
        error = np.hypot(before.error(name)[places[0]], after.error(name)[places[1]])
        both = np.isfinite(old) & np.isfinite(new)
        if not both.any():
            continue
        change = new[both] - old[both]
        changed = int((np.abs(change) > CHANGED * error[both]).sum())
        one, other = float(np.median(old[both])), float(np.median(new[both]))
        rows.append(Change(name, one, other, float(np.sqrt(np.mean(change**2))), changed, int(both.sum())))
    return rows


def chosen(name: str | None, store: Path | None = None) -> Calibration | None:
    """The stored calibration that ``name`` means: the beginning of its id, or a file; None where none is named."""
    return None if name is None else store_in(store).find(name)


def put_calibration(device: Device, calibration: Calibration) -> None:
    """Write ``calibration`` to ``device``; an old one with a warning.

    Raises :class:`CalibrationError` for that of another device, :class:`TargetError` where the device takes none.
    """
    apply = getattr(device, "apply", None)
    if apply is None:
        raise TargetError(f"{device.device_id} takes no calibration; leave it out, or name a target that takes one")
    if calibration.device_id != device.device_id:
        raise CalibrationError(
            f"calibration {calibration.id} is of device {calibration.device_id}; this is {device.device_id}. Calibrate this device "
            "(hwloop calibrate), or name its own"
        )
    apply(calibration, policy="warn")


def keep_calibration(folder: RunFolder, device: Device) -> None:
    """Keep the calibration that ``device`` has beside the network that is tuned with it."""
    found: Calibration | None = getattr(device, "calibration", None)
    if found is not None:
        found.save(folder.path / FILE)


def kept_calibration(run: Path) -> Calibration | None:
    """The calibration that the network in ``run`` was tuned with; None where the device had none."""
    from hwloop_calibration import Calibration

    path = run / FILE
    return Calibration.load(path) if path.is_file() else None


def store_in(folder: Path | None) -> Store:
    """The stored calibrations in ``folder``, by default the user's."""
    from hwloop_calibration import Store

    return Store(folder)
