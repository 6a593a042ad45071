"""Rows of the study ``mnist-16``: a network on a calibrated chip, trimmed, trained on the chip's twin, then in a short loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from noise_rows import NOISE
from study_rows import TEST_REPEATS, base_network, experiment_of

import hwloop as hl
from hwloop.training import NoiseModel, harden

#: Neurons that are characterised beside those that the network takes: some are broken.
SPARE = 24
#: Epochs on the twin, and in the loop after it.
TWIN_EPOCHS, LOOP_EPOCHS = 3, 2


def on_twin(row: dict[str, Any], out: Path, data: str | None) -> dict[str, Any]:
    """One chip: accuracy on the test set after each step; the first two take no training on the chip."""
    experiment = experiment_of(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), base_network(row, out, experiment)
    how: dict[str, Any] = {"decision": experiment.decision, "repeats": TEST_REPEATS}
    deploying: dict[str, Any] = {"validation": task.validation, "decision": experiment.decision}
    with hl.open(f"emulator:{row['chip']}", preset="bss2", session=1) as chip:
        program = hl.deploy(net, chip, **deploying)
        used = max(int(neuron) for layer in program.layers for neuron in layer.neurons) + 1
        neurons = range(min(used + SPARE, chip.capabilities.n_neurons))
        calibration = hl.calibrate(chip, program, neurons=neurons)
        program = hl.deploy(net, chip, **deploying, mask=[int(neuron) for neuron in calibration.mask])
        trimmed = hl.measure(chip, task.test, **how)
        twin, known = net.with_twin(calibration, program), calibration.noise
        noise = NoiseModel(known.threshold, known.jitter, NOISE.time_step, NOISE.event_loss)
        loss = experiment.build_finetune_loss()
        chip.load(
            harden(
                twin,
                program,
                task,
                loss,
                noise,
                epochs=TWIN_EPOCHS,
                decision=experiment.decision,
                lr_decay=0.65,
                progress=False,
            ).program
        )
        trained = hl.measure(chip, task.test, **how)
        options = {**experiment.finetune_options(), "epochs": LOOP_EPOCHS, "progress": False}
        result = hl.finetune(twin, chip, task, loss, **options)
        tuned = hl.measure(chip, task.test, **how)
        return {
            "ran_on": result.ran_on, "device": result.device_id, "trimmed": trimmed.accuracy, "twin": trained.accuracy,
            "tuned": tuned.accuracy, "validation": result.best_validation.accuracy,
        }  # fmt: skip
