"""`hwloop calibrate` and `hwloop calibrations`: calibrate a device for a network; list, show, compare, export what is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ..errors import OptionError
from ..results import measured, simulated
from ..target import compile as compile_for
from . import terminal
from .folder import Trained
from .target_choice import TargetChoice

if TYPE_CHECKING:
    from hwloop_calibration import Calibration, Store

    from .work import Output

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

_Store = Annotated[
    Path | None,
    typer.Option("--store", metavar="DIR", help="Where calibrations are kept; default: the user's data folder."),
]
_Name = Annotated[str, typer.Argument(metavar="CALIBRATION", help="Beginning of its id, or a file.")]

#: Difference of two estimates, in their standard errors, from which a neuron counts as changed.
CHANGED = 4.0


def calibrate_run(
    trained: Trained,
    choice: TargetChoice,
    runs: int,
    trim: bool,
    repeats: int,
    store: Path | None,
    output: Output | None,
) -> None:
    """Calibrate the chosen device for a trained network, store the calibration, and measure accuracy before and after."""
    from hwloop_calibration import Store, calibrate

    from .work import _deploy, _open, _summarise

    folder = None if output is None else output.prepare("calibrate")
    experiment, device, chosen = _open(trained, choice)
    task, net = experiment.build_task(), trained.net
    how: dict[str, Any] = {"decision": experiment.decision, "runs": runs}
    with device:
        program = _deploy(trained, experiment, device, task.validation)
        results = [
            simulated("software", net, task.test, "test", experiment.decision),
            measured("as is", device, program, task.test, "test", **how),
        ]
        calibration = calibrate(device, program, trim=trim, repeats=repeats, on_stage=terminal.status)
        path = Store(store).save(calibration)
        placed = compile_for(net, device, weight_scale=list(program.scales), mask=experiment.target.mask)
        device.load(placed)
        results.append(measured("calibrated", device, placed, task.test, "test", **how))
        twin = net.with_twin(calibration, placed)
        results.append(simulated("device twin, without noise", twin, task.test, "test", experiment.decision))
    terminal.say(calibration.to_text(terminal.width()).rstrip())
    terminal.results(results)
    terminal.say(f"calibration {calibration.id}: {path}")
    if folder is not None:
        folder.begin(experiment)
        write(folder.path, calibration)
        _summarise(folder, experiment, results, {**chosen, "calibration": summary(calibration)})


def write(folder: Path, calibration: Calibration) -> None:
    """The calibration and its report into ``folder``."""
    calibration.save(folder / "calibration.json")
    calibration.to_html(folder / "report.html")


def summary(calibration: Calibration) -> dict[str, Any]:
    """What a summary says about a calibration."""
    held = calibration.held_out
    return {
        "id": calibration.id, "device": calibration.device_id, "gauge": calibration.gauge,
        "verdicts": {kind: calibration.verdict.count(kind) for kind in ("pass", "marginal", "fail", "masked")},
        "spread": {name: spread.model_dump() for name, spread in calibration.spread.items()},
        "held_out": None if held is None else held.model_dump(), "effort": calibration.effort.model_dump(),
    }  # fmt: skip


# -- what is stored -------------------------------------------------------------------------------


@app.command("list", epilog="Example: hwloop calibrations list")
def list_(store: _Store = None) -> None:
    """List stored calibrations, newest first."""
    found = _store(store).entries()
    if not found:
        terminal.say(f"no calibrations in {_store(store).folder}; make one with hwloop calibrate")
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
def show(name: _Name, store: _Store = None) -> None:
    """Show one calibration."""
    terminal.say(_store(store).find(name).to_text(terminal.width()).rstrip())


@app.command(epilog="Example: hwloop calibrations diff 3fa9c1d7e2b8 91be02c44d10")
def diff(first: _Name, second: _Name, store: _Store = None) -> None:
    """Compare two calibrations of one device: how far medians and single neurons have moved."""
    before, after = (_store(store).find(name) for name in (first, second))
    terminal.say(f"{before.id} ({before.device_id}, {before.date}) to {after.id} ({after.device_id}, {after.date})")
    terminal.table(
        ("parameter", "median before", "median after", "RMS change", "neurons changed"), differences(before, after)
    )


@app.command(epilog="Example: hwloop calibrations export 3fa9c1d7e2b8 chip7.html")
def export(
    name: _Name, path: Annotated[Path, typer.Argument(help="FILE.json, FILE.html or FILE.txt.")], store: _Store = None
) -> None:
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
    terminal.say(f"{found.id} of {found.device_id}: {path}")


def differences(before: Calibration, after: Calibration) -> list[tuple[str, str, str, str, str]]:
    """Rows of :func:`diff`; a neuron has changed by more than :data:`CHANGED` standard errors of the difference.

    Raises :class:`OptionError` where the two have no neuron in common.
    """
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


def _store(folder: Path | None) -> Store:
    from hwloop_calibration import Store

    return Store(folder)
