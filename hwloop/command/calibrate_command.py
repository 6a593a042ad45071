"""`hwloop calibrate`: calibrate a device for a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from ..compare import Comparison, compare
from ..cost import Cost, cost_of
from ..datasets import Dataset
from ..device.deploy import run_on
from ..device.registry import Device
from ..device.registry import compile as compile_for
from ..experiment import Experiment
from ..mapping import Program
from ..network import Network
from ..results import Result, measured_by_sample, simulated
from . import pages, terminal
from .answer import Answer
from .calibrations import FILE
from .folder import RunFolder, Trained
from .target_choice import TargetChoice

if TYPE_CHECKING:
    from hwloop_calibration import Calibration, Store
    from hwloop_calibration.document.effect import Effect

#: Test samples whose spikes are compared before and after.
EFFECT_SAMPLES = 500


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
    store: Store | None,
    folder: RunFolder | None,
) -> Answer:
    """Calibrate the chosen device for a trained network, and measure accuracy before and after.

    The calibration goes into ``store`` and ``folder``, where there are any.
    """
    from .work import load_on, open_chosen, origin, run_answer, state_on

    experiment, device, chosen = open_chosen(trained, choice)
    task, net = experiment.build_task(), trained.net
    with device:
        program = load_on(trained, experiment, device, task.validation)
        state = state_on(trained, device)
        tuned = bool(trained.scales) and trained.device_id == device.device_id
        # what was tuned on these very neurons stays on them
        mask = [*experiment.target.mask, *(trained.mask if tuned else ())]
        before = _measured(state, experiment, net, device, program, task.test, runs)
        calibration, placed = _calibrated(net, mask, device, program, how_much)
        path = None if store is None else store.save(calibration)
        device.load(placed)
        now = "calibrated" if state == "as is" else f"{state}, then calibrated"
        after = _measured(now, experiment, net, device, placed, task.test, runs)
        twin = net.with_twin(calibration, placed)
    results = [
        simulated(origin(trained), net, task.test, "test", experiment.decision),
        before.result,
        after.result,
        simulated("device twin, without noise", twin, task.test, "test", experiment.decision),
    ]
    effect = _effect(calibration, before, after, runs, tuned=tuned)
    if folder is not None:
        folder.begin(experiment)
        calibration.save(folder.path / FILE)
        costs = {found.result.network: pages.Costed(found.cost, found.result.source) for found in (before, after)}
        folder.write_report(pages.calibrate_page(experiment, calibration, results, effect, costs))

    def words() -> None:
        terminal.say(calibration.to_text(terminal.width()).rstrip())
        terminal.results(results)
        for sentence in effect.sentences():
            terminal.say(sentence)
        if path is not None:
            terminal.say(f"calibration {calibration.id}: {path}")

    content = {**chosen, "calibration": summary(calibration), "effect": effect.to_dict()}
    content["costs"] = {found.result.network: found.cost.to_dict() for found in (before, after)}
    besides = {"calibration_file": path}
    return run_answer("calibrate", folder, experiment, results, content, words, besides=besides)


@dataclass(frozen=True)
class _Measured:
    """One state of the chip: accuracy, shares of right runs by sample, a comparison of the first samples, and their cost."""

    result: Result
    right: Tensor
    program: Program
    comparison: Comparison
    cost: Cost


def _measured(
    state: str, experiment: Experiment, net: Network, device: Device, program: Program, data: Dataset, runs: int
) -> _Measured:
    """The loaded ``program`` on the test set, and on its first samples spike by spike."""
    decision = experiment.decision
    result, right = measured_by_sample(state, device, program, data, "test", decision=decision, runs=runs)
    some = data.select(slice(0, min(EFFECT_SAMPLES, len(data))))
    with torch.no_grad():
        reference = net(some.inputs)
    recording = run_on(device, some.inputs)
    found = compare(reference, recording, net=net, labels=some.labels, decision=decision)
    return _Measured(result, right, program, found, cost_of(recording, program, decision=decision))


def _effect(calibration: Calibration, before: _Measured, after: _Measured, runs: int, *, tuned: bool) -> Effect:
    from hwloop_calibration.document.effect import effect_of

    right = (before.right.numpy(), after.right.numpy())
    programs, comparisons = (before.program, after.program), (before.comparison, after.comparison)
    return effect_of(calibration, right, programs, comparisons, runs, tuned=tuned)


def _calibrated(
    net: Network, mask: list[int], device: Device, program: Program, how_much: HowMuch
) -> tuple[Calibration, Program]:
    """The calibration, and the network compiled for the calibrated device; its neurons are all calibrated."""
    from hwloop_calibration import calibrate
    from hwloop_calibration.characterise.expected import expected
    from hwloop_calibration.extent import used_by, with_spares

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


def summary(calibration: Calibration) -> dict[str, Any]:
    """What a summary says about a calibration."""
    held = calibration.held_out
    return {
        "id": calibration.id, "device": calibration.device_id, "gauge": calibration.gauge,
        "verdicts": {kind: calibration.verdict.count(kind) for kind in ("pass", "marginal", "fail", "masked")},
        "spread": {name: spread.model_dump() for name, spread in calibration.spread.items()},
        "held_out": None if held is None else held.model_dump(), "effort": calibration.effort.model_dump(),
    }  # fmt: skip
