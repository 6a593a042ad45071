"""The main job on Yin-Yang: train in software, deploy to three emulated chips as is and calibrated, compare,
fine-tune each in the loop.

Nothing here is special to the demonstration but the choice of experiment and chips: each step is one public function.
What does not depend on each other runs side by side, in processes of one thread each: calibrating a chip asks for the
neurons' parameters alone, so it does not wait for the training; and every chip is fine-tuned on its own.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .compare import Comparison, compare
from .cost import Cost, cost_of
from .datasets import Task
from .device.deploy import deploy, run_on
from .device.registry import Device, Emulating, Target, describe, factory, find, in_words
from .device.registry import compile as compile_for
from .experiment import Experiment
from .mapping import Program
from .network import Network
from .progress import say
from .record import Record
from .results import Result, measured, measured_by_sample, simulated
from .training import FitResult, fit
from .training.loop import LoopResult, finetune
from .workers import how_many, workers

if TYPE_CHECKING:
    from hwloop_calibration import Calibration
    from hwloop_calibration.document.effect import Effect

#: The chips of the demonstration.
CHIPS = ("emulator:0", "emulator:1", "emulator:2")

#: Runs of the test set on a chip: trial noise moves a single run by about a tenth of its standard error.
RUNS = 5

#: Runs of every stimulus of a calibration: half the usual number, to be quick.
CALIBRATION_REPEATS = 8

#: Told what begins.
OnStage = Callable[[str], None]


@dataclass(frozen=True)
class ChipResult:
    """One chip: as deployed, calibrated and fine-tuned.

    ``calibrated``: the software network, as it is, on the chip with its neurons trimmed (in a session of its own; the
    fine-tuned one runs on the chip as it was).

    ``before``, ``trimmed`` and ``after`` compare its spikes, as is, calibrated and fine-tuned, with those of the software network, on
    the test set. ``effect``: what calibrating did to its answers. ``costs``: of an answer, by the same names. ``effects`` is what
    the chip does to a network, ``(name, value, source)``; ``emulated`` and ``not_emulated`` say it in words.
    """

    name: str
    as_is: Result
    calibrated: Result
    tuned: Result
    before: Comparison
    trimmed: Comparison
    after: Comparison
    effect: Effect
    costs: dict[str, Cost]
    loop: LoopResult
    program: Program
    effects: list[tuple[str, str, str]]
    emulated: list[str]
    not_emulated: list[str]
    seconds: float

    @property
    def device_id(self) -> str:
        """Which chip."""
        return self.as_is.device_id


@dataclass(frozen=True)
class DemoResult:
    """All that the report is made from.

    ``noise_only``: the software network, as is, on a chip emulated in this process that has the noise of the first and no
    mismatch; None where the chips are not emulated, or not known how. ``software_cost``: of an answer in simulation.
    """

    experiment: Experiment
    task: Task
    net: Network
    training: FitResult
    software: Result
    software_cost: Cost
    noise_only: Result | None
    chips: tuple[ChipResult, ...]
    seconds: float

    @property
    def emulated(self) -> bool:
        """Whether all chips are."""
        return all(chip.as_is.ran_on == "emulator" for chip in self.chips)

    @property
    def chips_in_words(self) -> str:
        """How many there are, and whether they are emulated."""
        return f"{len(self.chips)} {'emulated ' * self.emulated}analog chip{'s' * (len(self.chips) > 1)}"

    @property
    def results(self) -> list[Result]:
        """Every accuracy."""
        pairs = [result for chip in self.chips for result in (chip.as_is, chip.calibrated, chip.tuned)]
        return [self.software, *([] if self.noise_only is None else [self.noise_only]), *pairs]


def run_demo(
    experiment: Experiment,
    chips: Sequence[str] = CHIPS,
    *,
    runs: int = RUNS,
    jobs: int = -1,
    progress: bool | None = None,
    on_stage: OnStage = lambda text: None,
) -> DemoResult:
    """Train, deploy, compare and fine-tune.

    Parameters
    ----------
    experiment : Experiment
        Its target's name is replaced by each of ``chips``.
    chips : names as :func:`hwloop.open` takes them
    runs : runs of the test set on each chip
    jobs : processes side by side; -1: one a core. The result is the same
    progress : as in :func:`hwloop.fit`
    on_stage : told what begins, and how far it is

    Raises
    ------
    HwloopError
        As the functions it calls.
    """
    start = time.perf_counter()
    neurons = [_neurons(name, experiment) for name in chips]
    ideal = _without_mismatch(chips[0], experiment)
    with workers(how_many(jobs, 1 + len(chips)), on_stage) as side:
        on_stage(f"training {experiment.name} in software, {experiment.training.epochs} epochs")
        training = side.submit(_train, experiment, progress)
        on_stage(f"calibrating {neurons[0]} neurons of each of {', '.join(chips)}")
        calibrations = [side.submit(_calibrate, name, experiment) for name in chips]
        net, fitted = training.result()
        on_stage(
            f"each of {', '.join(chips)}: deploying as is and calibrated, comparing, fine-tuning "
            f"{experiment.finetune.epochs} epochs in the loop"
        )
        repaired = [
            side.submit(_repair, name, experiment, net, calibration.result(), runs, progress)
            for name, calibration in zip(chips, calibrations, strict=True)
        ]
        task = experiment.build_task()
        software = simulated("software", net, task.test, "test", experiment.decision)
        with torch.no_grad():
            cost = cost_of(net(task.test.inputs), net, decision=experiment.decision)
        noise_only = None if ideal is None else _as_is_on(ideal, experiment, net, task, runs)
        results = tuple(call.result() for call in repaired)
    return DemoResult(experiment, task, net, fitted, software, cost, noise_only, results, time.perf_counter() - start)


def _neurons(name: str, experiment: Experiment) -> int:
    """How many neurons will be calibrated; what the target cannot carry is refused here, before the work."""
    from hwloop_calibration.extent import with_spares

    target = find(name, **experiment.target.options())
    program = compile_for(experiment.build_network(), target, mask=experiment.target.mask)
    return len(with_spares(program, target.capabilities.n_neurons))


def _train(experiment: Experiment, progress: bool | None) -> tuple[Network, FitResult]:
    net = experiment.build_network()
    done = fit(net, experiment.build_task(), experiment.build_loss(), progress=progress, **experiment.fit_options())
    return net, done


def _calibrate(name: str, experiment: Experiment) -> Calibration:
    """What the neurons are that the network will stand on, and trim codes for them: weights have no part in it."""
    from hwloop_calibration import calibrate

    with _session(name, experiment, 1) as chip:
        program = compile_for(experiment.build_network(), chip, mask=experiment.target.mask)
        return calibrate(chip, program, repeats=CALIBRATION_REPEATS, synapses=False, on_stage=say)


def _repair(
    name: str, experiment: Experiment, net: Network, calibration: Calibration, runs: int, progress: bool | None
) -> ChipResult:
    from hwloop_calibration.document.effect import effect_of

    start = time.perf_counter()
    task, decision = experiment.build_task(), experiment.decision
    tuned_net = copy.deepcopy(net)
    with torch.no_grad():
        reference = net(task.test.inputs)
    with _session(name, experiment, 0) as chip:
        as_is = _deployed("as is", experiment, net, chip, task, runs)
        before = _against(reference, chip, net, task, experiment)
        options = {**experiment.finetune_options(), "weight_scale": list(as_is.program.scales)}
        loop = finetune(tuned_net, chip, task, experiment.build_finetune_loss(), progress=progress, **options)
        tuned = measured("fine-tuned", chip, loop.program, task.test, "test", decision=decision, runs=runs)
        after = _against(reference, chip, net, task, experiment)
        effects, words = describe(chip.target), in_words(chip.target)
    with _session(name, experiment, 2) as chip:
        chip.apply(calibration)  # type: ignore[attr-defined]  # every device that can be calibrated has it
        calibrated = _deployed("calibrated", experiment, net, chip, task, runs)
        trimmed = _against(reference, chip, net, task, experiment)
    right = (as_is.right.numpy(), calibrated.right.numpy())
    effect = effect_of(calibration, right, (as_is.program, calibrated.program), (before, trimmed), runs)
    ran = (
        ("as is", before, as_is.program),
        ("calibrated", trimmed, calibrated.program),
        ("fine-tuned", after, loop.program),
    )
    costs = {state: cost_of(found.measured, program, decision=decision) for state, found, program in ran}
    seconds = time.perf_counter() - start
    return ChipResult(
        name, as_is.result, calibrated.result, tuned, before, trimmed, after, effect, costs, loop, as_is.program, effects, *words, seconds
    )  # fmt: skip


class _Deployed(NamedTuple):
    """A program on a chip, its accuracy there, and of every sample the share of runs that was right."""

    program: Program
    result: Result
    right: Tensor


def _deployed(state: str, experiment: Experiment, net: Network, chip: Device, task: Task, runs: int) -> _Deployed:
    """The network on the chip, by the experiment's rules, and its accuracy there."""
    how = experiment.target
    program = deploy(
        net,
        chip,
        validation=task.validation,
        weight_scale=how.weight_scale,
        mask=how.mask,
        decision=experiment.decision,
    )
    found = measured_by_sample(state, chip, program, task.test, "test", decision=experiment.decision, runs=runs)
    return _Deployed(program, *found)


def _target(name: str, experiment: Experiment, number: int) -> Target:
    """The chip; an emulated one in session ``number`` of its noise, whatever else this process has opened."""
    options = experiment.target.options()
    if "session" in signature(factory(name.partition(":")[0])).parameters:
        options["session"] = number
    return find(name, **options)


def _session(name: str, experiment: Experiment, number: int) -> Device:
    return _target(name, experiment, number).open()


def _without_mismatch(name: str, experiment: Experiment) -> Target | None:
    """What emulates the noise of ``name`` alone; asked before the chip is opened, which one at a time may do."""
    target = _target(name, experiment, 0)
    return target.without_mismatch() if isinstance(target, Emulating) else None


def _as_is_on(ideal: Target, experiment: Experiment, net: Network, task: Task, runs: int) -> Result:
    with ideal.open() as chip:
        program = deploy(net, chip, validation=task.validation, decision=experiment.decision)
        return measured("as is, no mismatch", chip, program, task.test, "test", decision=experiment.decision, runs=runs)


def _against(reference: Record, chip: Device, net: Network, task: Task, experiment: Experiment) -> Comparison:
    recording = run_on(chip, task.test.inputs)
    return compare(reference, recording, net=net, labels=task.test.labels, decision=experiment.decision)
