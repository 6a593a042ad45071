"""`hwloop calibrations`: list, show, compare, export what is stored."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from . import terminal
from .answer import Answer
from .exit_status import Answering

if TYPE_CHECKING:
    from hwloop_calibration import Calibration, Store
    from hwloop_calibration.document.store import Entry

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")
_command = partial(app.command, cls=Answering)

#: The option of a command that reads or adds stored calibrations.
Folder = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="Where calibrations are kept; default: the user's data folder."),
]
_Name = Annotated[str, typer.Argument(metavar="CALIBRATION", help="Beginning of its id, or a file.")]

#: Difference of two estimates, in their standard errors, from which a neuron counts as changed.
CHANGED = 4.0


@_command("list", epilog="Example: hwloop calibrations list")
def list_(store: Folder = None) -> Answer:
    """List stored calibrations, newest first."""
    folder = _store(store).folder
    found = [_described(entry) for entry in _store(store).entries()]

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
    found = _store(store).find(name)
    document = {"id": found.id, "calibration": loads(found.to_bytes())}
    return Answer(document, lambda: terminal.say(found.to_text(terminal.width()).rstrip()))


@_command(epilog="Example: hwloop calibrations diff 3fa9c1d7e2b8 91be02c44d10")
def diff(first: _Name, second: _Name, store: Folder = None) -> Answer:
    """Compare two calibrations of one device: how far medians and single neurons have moved."""
    before, after = (_store(store).find(name) for name in (first, second))
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

    found = _store(store).find(name)
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


def _store(folder: Path | None) -> Store:
    from hwloop_calibration import Store

    return Store(folder)
