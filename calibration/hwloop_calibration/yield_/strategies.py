"""What can be done about a chip's mismatch, one function a strategy, all with the same chip, data and noise.

Each strategy leaves the device loaded with what it arrived at and says what it took. Choices are made on validation data;
the test set is the caller's, once, afterwards.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from hwloop.class_scores import class_scores
from hwloop.datasets import Dataset, Task
from hwloop.device.deploy import deploy, run_on
from hwloop.device.registry import Device, repetitions
from hwloop.errors import InputError, OptionError
from hwloop.experiment import Experiment
from hwloop.losses import Decision, accuracy, predict
from hwloop.mapping import Capabilities, Program
from hwloop.network import Network
from hwloop.training.harden import harden
from hwloop.training.loop import finetune
from hwloop.training.noise import NoiseModel

from ..calibrate import calibrate
from ..document.calibration import Calibration
from .gradient_free import perturbed

#: Neurons beside those of the network that are calibrated too: they replace the ones that are masked.
SPARE = 16
#: Steps and directions of the gradient-free loop at full effort.
SEARCH_STEPS, SEARCH_DIRECTIONS = 200, 2
#: Epochs of hardening on a twin, and of the loop that may follow it, at full effort; the learning rate of the latter.
TWIN_EPOCHS, AFTER_EPOCHS, AFTER_LR = 8, 4, 1e-3
#: What a chip type is known to vary by, and what trained-with-random-mismatch trains for.
CHIP_SPREAD = {
    "tau_mem": 0.1, "tau_syn": 0.1, "gain": 0.1, "v_th": 0.05, "v_leak": 0.03, "v_reset": 0.03, "synapse": 0.05,
}  # fmt: skip
#: Spread of a synapse's weight that no calibration of codes and gains removes: its converter's own steps.
RESIDUAL = {"synapse": 0.02}


@dataclass(frozen=True)
class Setting:
    """Where a strategy works.

    Attributes
    ----------
    experiment : Experiment
    task : Task
    nets : networks that were trained beforehand, without any device: ``software``, ``hardened``, ``random``
    device : Device, opened, as it left the factory
    noise : NoiseModel
        Of the chip type, from its data sheet.
    effort : float
        Share (0..1] of the usual epochs, steps or repeats that may be spent.
    seed : int
    calibration : Calibration, optional
        Of this device; strategies that need one make one where it is missing.
    """

    experiment: Experiment
    task: Task
    nets: Mapping[str, Network]
    device: Device
    noise: NoiseModel
    effort: float = 1.0
    seed: int = 0
    calibration: Calibration | None = None

    def net(self, name: str) -> Network:
        """A copy of the network called ``name``."""
        if name not in self.nets:
            raise InputError(f"no network called {name!r}; there are: {', '.join(self.nets)}")
        return copy.deepcopy(self.nets[name])

    def share(self, full: int) -> int:
        """``full`` epochs, steps or repeats at this effort, at least one."""
        return max(1, round(self.effort * full))

    def deploy(self, net: Network, mask: tuple[int, ...] = ()) -> Program:
        """``net`` on the device, its scale chosen on validation data there."""
        decision = self.experiment.decision
        return deploy(net, self.device, validation=self.task.validation, decision=decision, mask=mask)


@dataclass(frozen=True)
class Outcome:
    """What a strategy left on the device, and what it took.

    ``cells``, ``device_seconds``, ``samples``: cells written, device time and samples run until it was done.
    """

    program: Program
    seconds: float
    cells: int
    device_seconds: float
    samples: int


Strategy = Callable[[Setting], Program]


def as_is(setting: Setting) -> Program:
    """The software network, rounded and written."""
    return setting.deploy(setting.net("software"))


def hardened(setting: Setting) -> Program:
    """The network that was trained with the noise, written; of mismatch it knows nothing."""
    return setting.deploy(setting.net("hardened"))


def random_mismatch(setting: Setting) -> Program:
    """The network that was trained on another imagined chip in every batch, written."""
    return setting.deploy(setting.net("random"))


def in_the_loop(setting: Setting) -> Program:
    """The software network, fine-tuned by the chip's own spikes with the nominal model's gradients."""
    return _finetuned(setting, setting.net("software"), {})


def hardened_loop(setting: Setting) -> Program:
    """The hardened network, fine-tuned in the loop."""
    return _finetuned(setting, setting.net("hardened"), {})


def trimmed(setting: Setting) -> Program:
    """Every neuron trimmed to its nominal value; then the software network as is."""
    return setting.deploy(setting.net("software"), _mask(_applied(setting)))


def trimmed_hardened(setting: Setting) -> Program:
    """Every neuron trimmed to its nominal value; then the hardened network."""
    return setting.deploy(setting.net("hardened"), _mask(_applied(setting)))


def twin(setting: Setting) -> Program:
    """The hardened network, trained on the twin of the calibrated chip, with its noise; no step in the loop."""
    return _on_twin(setting)[1]


def twin_loop(setting: Setting) -> Program:
    """The same, then a short loop with the twin's gradients."""
    net, program = _on_twin(setting)
    options = {"epochs": setting.share(AFTER_EPOCHS), "lr": AFTER_LR, "weight_scale": list(program.scales)}
    return _finetuned(setting, net, options | {"mask": _left_out(program)})


def gradient_free(setting: Setting) -> Program:
    """The software network, moved by what perturbed weights did to the chip's loss."""
    steps = setting.share(SEARCH_STEPS)
    found = perturbed(
        setting.net("software"), setting.device, setting.task, steps=steps, directions=SEARCH_DIRECTIONS,
        decision=setting.experiment.decision, seed=setting.seed,
    )  # fmt: skip
    return found.program


#: Strategies that start with a calibration of the chip.
CALIBRATED = ("trimmed", "trimmed-hardened", "twin", "twin-loop")

#: Strategies by the name that plans and reports use.
STRATEGIES: dict[str, Strategy] = {
    "as-is": as_is,
    "hardened": hardened,
    "random-mismatch": random_mismatch,
    "trimmed": trimmed,
    "trimmed-hardened": trimmed_hardened,
    "twin": twin,
    "loop": in_the_loop,
    "hardened-loop": hardened_loop,
    "twin-loop": twin_loop,
    "gradient-free": gradient_free,
}


def apply_strategy(name: str, setting: Setting) -> Outcome:
    """Carry out strategy ``name``; :class:`OptionError` that lists the known ones where there is none."""
    if name not in STRATEGIES:
        raise OptionError(f"strategy {name!r}; known: {', '.join(STRATEGIES)}")
    if not 0 < setting.effort <= 1:
        raise InputError(f"effort = {setting.effort}; allowed: 0 < effort <= 1 (a share)")
    start, before = time.perf_counter(), _spent(setting.device)
    program = STRATEGIES[name](setting)
    after = _spent(setting.device)
    cells, seconds, samples = (b - a for a, b in zip(before, after, strict=True))
    took = time.perf_counter() - start
    if name in CALIBRATED and setting.calibration is not None:  # it was paid for earlier
        paid = setting.calibration.effort
        cells, seconds, samples = cells + paid.cells_written, seconds + paid.device_seconds, samples + paid.samples
        took += paid.seconds
    return Outcome(program, took, int(cells), float(seconds), int(samples))


def noise_of(capabilities: Capabilities, threshold: float, jitter: float, loss: float = 0.0) -> NoiseModel:
    """Noise in model seconds: threshold (swing), jitter (model s), lost events, and the stamps of ``capabilities``."""
    return NoiseModel(threshold, jitter, capabilities.time_step * capabilities.speedup, loss)


# -- decisions over several runs ------------------------------------------------------------------


def averaged_accuracy(device: Device, data: Dataset, runs: int, decision: Decision) -> tuple[float, float]:
    """Accuracy of single runs and of answers averaged over ``runs`` runs: ``(single, averaged)``.

    Averaged are first spike times, a silent output counting as ``t_stop``, or spike counts: noise that differs from run
    to run shrinks with the square root of their number, for as many times the device time.
    """
    recording = run_on(device, data.inputs, runs)
    single = accuracy(predict(recording, decision), data.labels.repeat(runs))
    score = torch.stack([class_scores(part.output, decision) for part in repetitions(recording, runs)]).mean(0)
    return single, accuracy(score.argmax(1), data.labels)


# -- parts ----------------------------------------------------------------------------------------


def calibrate_for(setting: Setting) -> Calibration:
    """The chip, trimmed and characterised where the network will stand, with some neurons to spare."""
    program = setting.deploy(setting.net("software"))
    used = sum(layer.n_out for layer in program.layers)
    neurons = range(min(used + SPARE, setting.device.capabilities.n_neurons))
    return calibrate(setting.device, program, neurons=neurons)


def _applied(setting: Setting) -> Calibration:
    """The setting's calibration, its codes written; a new one where the setting has none."""
    if setting.calibration is None:
        return calibrate_for(setting)
    # a study may outlive the day after which a calibration counts as stale; emulated chips age with their own clock
    setting.calibration.apply_to(setting.device, policy="allow")
    return setting.calibration


def _mask(calibration: Calibration) -> tuple[int, ...]:
    """Physical neurons that are not to be used."""
    return tuple(int(neuron) for neuron in calibration.mask)


def _on_twin(setting: Setting) -> tuple[Network, Program]:
    """The hardened network trained further on the chip's twin, and its program, loaded."""
    found = _applied(setting)
    net = setting.net("hardened")
    program = setting.deploy(net, _mask(found))
    model = net.with_twin(found, program)
    known = found.noise
    noise = NoiseModel(
        known.threshold, known.jitter, setting.noise.time_step, setting.noise.event_loss, spread=RESIDUAL
    )
    done = harden(
        model, program, setting.task, setting.experiment.build_finetune_loss(), noise, seed=setting.seed,
        epochs=setting.share(TWIN_EPOCHS), decision=setting.experiment.decision, lr_decay=0.65, progress=False,
    )  # fmt: skip
    setting.device.load(done.program)
    return model, done.program


def _finetuned(setting: Setting, net: Network, changes: Mapping[str, Any]) -> Program:
    options = {**setting.experiment.finetune_options(), "progress": False, "seed": setting.seed, **changes}
    options["epochs"] = changes.get("epochs", setting.share(options["epochs"]))
    loss = setting.experiment.build_finetune_loss()
    return finetune(net, setting.device, setting.task, loss, **options).program


def _left_out(program: Program) -> list[int]:
    """Physical neurons below the highest used one that the placement left out."""
    used = {int(n) for layer in program.layers for n in layer.neurons}
    return [n for n in range(max(used)) if n not in used]


def _spent(device: Device) -> tuple[float, float, float]:
    """Cells written, device time (s), samples run, so far; 0 where a device does not count."""
    return (
        float(device.writes.total),
        float(getattr(device, "device_time", 0.0)),
        float(getattr(device, "samples_run", 0)),
    )
