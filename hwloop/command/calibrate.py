"""`hwloop calibrate`: calibrate a device for a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..results import measured, simulated
from ..target import compile as compile_for
from . import terminal
from .folder import RunFolder, Trained
from .target_choice import TargetChoice

if TYPE_CHECKING:
    from hwloop_calibration import Calibration


def calibrate_run(
    trained: Trained,
    choice: TargetChoice,
    runs: int,
    trim: bool,
    repeats: int,
    store: Path | None,
    folder: RunFolder | None,
) -> None:
    """Calibrate the chosen device for a trained network, store the calibration, and measure accuracy before and after."""
    from hwloop_calibration import Store, calibrate

    from .work import load_on, open_chosen, summarise

    experiment, device, chosen = open_chosen(trained, choice)
    task, net = experiment.build_task(), trained.net
    how: dict[str, Any] = {"decision": experiment.decision, "runs": runs}
    with device:
        program = load_on(trained, experiment, device, task.validation)
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
        summarise(folder, experiment, results, {**chosen, "calibration": summary(calibration)})


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
