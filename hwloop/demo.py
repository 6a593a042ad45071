"""The main job on Yin-Yang: train in software, deploy to three emulated chips as is and calibrated, compare,
fine-tune each in the loop.

Nothing here is special to the demonstration but the choice of experiment and chips: each step is one public function.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .compare import Comparison, compare
from .datasets import Task
from .deployment import deploy, run_on
from .experiment import Experiment
from .mapping import Program
from .network import Network
from .record import Record
from .results import Result, measured, simulated
from .target import Device, describe
from .target import compile as compile_for
from .target import open as open_device
from .training import FitResult, fit
from .training.loop import LoopResult, finetune

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

    ``calibrated``: the software network, as it is, on the chip after its neurons were trimmed (in a session of its own; the
    fine-tuned one runs on the chip as it was).

    ``before`` and ``after`` compare its spikes with those of the software network, on the test set. ``effects`` is what
    the chip does to a network, ``(name, value, source)``.
    """

    name: str
    as_is: Result
    calibrated: Result
    tuned: Result
    before: Comparison
    after: Comparison
    loop: LoopResult
    program: Program
    effects: list[tuple[str, str, str]]
    seconds: float

    @property
    def device_id(self) -> str:
        """Which chip."""
        return self.as_is.device_id


@dataclass(frozen=True)
class DemoResult:
    """All that the report is made from.

    ``noise_only``: the software network, as is, on a chip that has the noise of the others and no mismatch.
    """

    experiment: Experiment
    task: Task
    net: Network
    training: FitResult
    software: Result
    noise_only: Result
    chips: tuple[ChipResult, ...]
    seconds: float

    @property
    def results(self) -> list[Result]:
        """Every accuracy."""
        pairs = [result for chip in self.chips for result in (chip.as_is, chip.calibrated, chip.tuned)]
        return [self.software, self.noise_only, *pairs]


def run_demo(
    experiment: Experiment,
    chips: Sequence[str] = CHIPS,
    *,
    runs: int = RUNS,
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
    progress : as in :func:`hwloop.fit`
    on_stage : told what begins

    Raises
    ------
    HwloopError
        As the functions it calls.
    """
    start = time.perf_counter()
    task, net, loss = experiment.build_task(), experiment.build_network(), experiment.build_loss()
    on_stage(f"training {_shape(net)} in software, {experiment.training.epochs} epochs")
    training = fit(net, task, loss, progress=progress, **experiment.fit_options())
    software = simulated("software", net, task.test, "test", experiment.decision)
    noise_only = _without_mismatch(chips[0], experiment, net, task, runs)
    with torch.no_grad():
        reference = net(task.test.inputs)
    repaired = []
    for name in chips:
        on_stage(
            f"{name}: deploying as is, comparing, calibrating, fine-tuning {experiment.finetune.epochs} epochs in the loop"
        )
        repaired.append(_repair(name, experiment, net, task, reference, runs, progress))
    seconds = time.perf_counter() - start
    return DemoResult(experiment, task, net, training, software, noise_only, tuple(repaired), seconds)


def _repair(
    name: str, experiment: Experiment, net: Network, task: Task, reference: Record, runs: int, progress: bool | None
) -> ChipResult:
    start = time.perf_counter()
    decision = experiment.decision
    tuned_net = copy.deepcopy(net)
    with open_device(name, **experiment.target.options()) as chip:
        program = deploy(
            net, chip, validation=task.validation, weight_scale=experiment.target.weight_scale,
            mask=experiment.target.mask, decision=decision,
        )  # fmt: skip
        as_is = measured("as is", chip, program, task.test, "test", decision=decision, runs=runs)
        before = _against(reference, chip, net, task, experiment)
        options = {**experiment.finetune_options(), "weight_scale": list(program.scales)}
        loop = finetune(tuned_net, chip, task, experiment.build_finetune_loss(), progress=progress, **options)
        tuned = measured("fine-tuned", chip, loop.program, task.test, "test", decision=decision, runs=runs)
        after = _against(reference, chip, net, task, experiment)
    calibrated = _calibrated(name, experiment, net, task, runs)
    return ChipResult(
        name, as_is, calibrated, tuned, before, after, loop, program, describe(chip.target), time.perf_counter() - start
    )


def _calibrated(name: str, experiment: Experiment, net: Network, task: Task, runs: int) -> Result:
    """The network on the chip once the neurons that it stands on are trimmed."""
    from hwloop_calibration import calibrate

    with open_device(name, **experiment.target.options()) as chip:
        program = compile_for(net, chip, mask=experiment.target.mask)
        used = [int(n) for layer in program.layers for n in layer.neurons]
        calibrate(chip, program, neurons=used, repeats=CALIBRATION_REPEATS, synapses=False)
        program = deploy(
            net, chip, validation=task.validation, weight_scale=experiment.target.weight_scale,
            mask=experiment.target.mask, decision=experiment.decision,
        )  # fmt: skip
        return measured("calibrated", chip, program, task.test, "test", decision=experiment.decision, runs=runs)


def _without_mismatch(name: str, experiment: Experiment, net: Network, task: Task, runs: int) -> Result:
    with open_device(name, **{**experiment.target.options(), "mismatch": False}) as chip:
        program = deploy(net, chip, validation=task.validation, decision=experiment.decision)
        return measured("as is, no mismatch", chip, program, task.test, "test", decision=experiment.decision, runs=runs)


def _against(reference: Record, chip: Device, net: Network, task: Task, experiment: Experiment) -> Comparison:
    recording = run_on(chip, task.test.inputs)
    return compare(reference, recording, net=net, labels=task.test.labels, decision=experiment.decision)


def _shape(net: Network) -> str:
    return "-".join(str(n) for n in (net.n_in, *(lif.n for _, lif in net.blocks)))
