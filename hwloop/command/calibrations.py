"""`hwloop calibrations`: list, show, compare, export what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import CalibrationError, OptionError, TargetError
from . import terminal

if TYPE_CHECKING:
    from hwloop_calibration import Calibration, Store

    from ..device.registry import Device
    from .folder import RunFolder

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

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


@app.command("list", epilog="Example: hwloop calibrations list")
def list_(store: Folder = None) -> None:
    """List stored calibrations, newest first."""
    found = store_in(store).entries()
    if not found:
        terminal.say(f"no calibrations in {store_in(store).folder}; make one with hwloop calibrate")
        return
    rows = []
    for entry in found:
        c = entry.calibration
        if c is None:
            rows.append((entry.path.stem, "-", "-", "-", entry.problem))
        else:
            usable = f"{len(c.neurons) - len(c.mask)}/{len(c.neurons)}"
            rows.append((c.id, c.device_id, c.date, usable, "trimmed" if c.codes else "characterised"))
    terminal.table(("calibration", "device", "made", "usable", "what"), rows)


@app.command(epilog="Example: hwloop calibrations show 3fa9c1d7e2b8")
def show(name: _Name, store: Folder = None) -> None:
    """Show one calibration."""
    terminal.say(store_in(store).find(name).to_text(terminal.width()).rstrip())


@app.command(epilog="Example: hwloop calibrations diff 3fa9c1d7e2b8 91be02c44d10")
def diff(first: _Name, second: _Name, store: Folder = None) -> None:
    """Compare two calibrations of one device: how far medians and single neurons have moved."""
    before, after = (store_in(store).find(name) for name in (first, second))
    terminal.say(f"{before.id} ({before.device_id}, {before.date}) to {after.id} ({after.device_id}, {after.date})")
    terminal.table(
        ("parameter", "median before", "median after", "RMS change", "neurons changed"), differences(before, after)
    )


@app.command(epilog="Example: hwloop calibrations export 3fa9c1d7e2b8 chip7.html")
def export(
    name: _Name, path: Annotated[Path, typer.Argument(help="FILE.json, FILE.html or FILE.txt.")], store: Folder = None
) -> None:
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
    terminal.say(f"{found.id} of {found.device_id}: {path}")


def differences(before: Calibration, after: Calibration) -> list[tuple[str, str, str, str, str]]:
    """Rows of :func:`diff`; a neuron has changed by more than :data:`CHANGED` standard errors of the difference.

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
        first, second = (f"{float(np.median(values[both])):.6g}" for values in (old, new))
        rows.append(
            (name, first, second, f"{float(np.sqrt(np.mean(change**2))):.3g}", f"{changed} of {int(both.sum())}")
        )
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
