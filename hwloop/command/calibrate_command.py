"""`hwloop calibrate`: calibrate a device for a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..device.registry import Device
from ..device.registry import compile as compile_for
from ..experiment import Experiment
from ..mapping import Program
from ..network import Network
from ..results import measured, simulated
from . import terminal
from .answer import Answer
from .folder import RunFolder, Trained
from .target_choice import TargetChoice

if TYPE_CHECKING:
    from hwloop_calibration import Calibration


@dataclass(frozen=True)
class HowMuch:
    """What is measured: ``trim``, ``repeats`` as of :func:`hwloop.calibrate`; ``whole``: every neuron of the chip."""

    trim: bool
    repeats: int
    whole: bool


def calibrate_run(
    trained: Trained,
    choice: TargetChoice,
    runs: int,
    how_much: HowMuch,
    store: Path | None,
    folder: RunFolder | None,
) -> Answer:
    """Calibrate the chosen device for a trained network, store the calibration, and measure accuracy before and after."""
    from hwloop_calibration import Store

    from .work import load_on, open_chosen, run_answer

    experiment, device, chosen = open_chosen(trained, choice)
    task, net = experiment.build_task(), trained.net
    how: dict[str, Any] = {"decision": experiment.decision, "runs": runs}
    with device:
        program = load_on(trained, experiment, device, task.validation)
        results = [
            simulated("software", net, task.test, "test", experiment.decision),
            measured("as is", device, program, task.test, "test", **how),
        ]
        calibration, placed = _calibrated(trained.net, experiment, device, program, how_much)
        path = Store(store).save(calibration)
        device.load(placed)
        results.append(measured("calibrated", device, placed, task.test, "test", **how))
        twin = net.with_twin(calibration, placed)
        results.append(simulated("device twin, without noise", twin, task.test, "test", experiment.decision))
    if folder is not None:
        folder.begin(experiment)
        write(folder.path, calibration)

    def words() -> None:
        terminal.say(calibration.to_text(terminal.width()).rstrip())
        terminal.results(results)
        terminal.say(f"calibration {calibration.id}: {path}")

    content = {**chosen, "calibration": summary(calibration)}
    besides = {"calibration_file": path}
    return run_answer("calibrate", folder, experiment, results, content, words, besides=besides)


def _calibrated(
    net: Network, experiment: Experiment, device: Device, program: Program, how_much: HowMuch
) -> tuple[Calibration, Program]:
    """The calibration, and the network compiled for the calibrated device; its neurons are all calibrated."""
    from hwloop_calibration import calibrate
    from hwloop_calibration.characterise.expected import expected
    from hwloop_calibration.extent import used_by, with_spares

    mask = experiment.target.mask
    neurons: list[int] | Literal["all"] = (
        "all" if how_much.whole else with_spares(program, device.capabilities.n_neurons, mask)
    )
    while True:
        how: dict[str, Any] = {"neurons": neurons, "trim": how_much.trim, "repeats": how_much.repeats}
        terminal.status(f"{device.device_id}: calibrating {expected(device, program, **how)}")
        if neurons != "all":
            terminal.status(
                "these are the neurons that the network uses, and spares; --all-neurons measures the whole chip"
            )
        calibration = calibrate(device, program, **how, on_stage=terminal.status)
        # for the target: the device, calibrated, would refuse a placement that needs more neurons than were calibrated
        placed = compile_for(net, device.target, weight_scale=list(program.scales), mask=[*mask, *calibration.mask])
        if set(used_by(placed)) <= set(calibration.neurons) or neurons == "all":
            return calibration, placed
        terminal.status(
            f"{len(calibration.mask)} of these neurons cannot be used, more than there were spares: once more, with more"
        )
        neurons = sorted({*neurons, *with_spares(placed, device.capabilities.n_neurons, mask)})


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
