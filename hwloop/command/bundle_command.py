"""What ``hwloop bundle``, ``run`` and ``verify`` do, once their options are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..bundle import Bundle, load_bundle, save_bundle, verify_bundle
from ..bundle.contents import apply_calibration
from ..device.registry import Device
from ..errors import InputError, OptionError, TargetError
from ..spikes import Spikes
from . import terminal
from .answer import Answer
from .folder import Trained
from .target_choice import TargetChoice, pairs
from .work import load_on, open_chosen, recorded


def bundle_run(
    trained: Trained, choice: TargetChoice, calibration: str | None, samples: int, path: Path, force: bool
) -> Answer:
    """Deploy a trained network, run the golden inputs on the device opened anew, and write all of it."""
    _free(path, force)
    found = _calibration(calibration)
    experiment, device, _ = open_chosen(trained, choice)
    task = experiment.build_task()
    with device:
        _calibrated(device, found)
        program = load_on(trained, experiment, device, task.validation)
    inputs = task.test.inputs[: min(samples, len(task.test))]
    source = f"network of {experiment.name}, seed {experiment.seed}" + (
        f", fine-tuned on {trained.device_id}" if trained.scales else ""
    )
    # anew, since what a device went through before may show in what it answers
    with choice.find(experiment).open() as fresh:
        _calibrated(fresh, found)
        terminal.status(f"running {len(inputs)} golden samples on {fresh.device_id}")
        made = save_bundle(path, trained.net, program, fresh, inputs, source=source)
    return _described(made, path)


def run_bundle(
    path: Path,
    events: Path | None,
    target: str | None,
    options: Sequence[str],
    log: Path | None,
    out: Path | None,
    force: bool,
) -> Answer:
    """Run inputs on a device that is loaded with a bundle."""
    bundle = _load(path)
    if out is not None:
        _free(out, force)
    inputs = bundle.golden.inputs if events is None else _events(events, bundle)
    with _opened(bundle, target, options, log) as device:
        program = bundle.load_on(device)
        recording = device.run(inputs)
    rows = [
        (name, train.n_units, int(train.counts.sum()), int((train.counts == 0).sum()))
        for name, train in zip(program.names, recording.populations, strict=True)
    ]
    if out is not None:
        from ..event_files import write_events

        provenance = {
            **recording.provenance(),
            "bundle_run": bundle.provenance.run_id,
            "inputs": str(events or "golden"),
        }
        write_events(out, dict(zip(program.names, recording.populations, strict=True)), provenance)

    def words() -> None:
        terminal.say(
            f"{len(inputs)} samples on {recording.device_id} ({recording.ran_on}), program {program.digest[:12]}"
        )
        columns = ("population", "neurons", "spikes", "silent samples")
        terminal.table(columns, rows, columns[1:])
        if out is not None:
            terminal.say(f"spikes: {out}")

    keys = ("population", "neurons", "spikes", "silent_samples")
    document = {
        "samples": len(inputs), "device_id": recording.device_id, "ran_on": recording.ran_on, "program_digest": program.digest,
        "populations": [dict(zip(keys, row, strict=True)) for row in rows], "spikes_file": out,
    }  # fmt: skip
    return Answer(document, words)


def verify_on(path: Path, target: str | None, options: Sequence[str], tolerance: float, log: Path | None) -> Answer:
    """Whether the device answers to the golden inputs as it did."""
    bundle = _load(path)
    with _opened(bundle, target, options, log) as device:
        found = verify_bundle(bundle, device, tolerance=tolerance)
    return Answer({"passed": found.passed, **asdict(found)}, lambda: terminal.say(str(found)), passed=found.passed)


def _load(path: Path) -> Bundle:
    if path.suffix == ".toml":
        raise OptionError(f"{path} is an experiment; allowed: a bundle (.hwb). Run it: hwloop run {path}")
    return load_bundle(path)


def _opened(bundle: Bundle, target: str | None, options: Sequence[str], log: Path | None) -> Device:
    try:
        device = bundle.open(target, **pairs(options))
    except TargetError as error:
        raise OptionError(str(error)) from error  # a target that is not there is wrong use
    return recorded(device, log)


def _events(path: Path, bundle: Bundle) -> Spikes:
    from ..event_files import read_events

    inputs = read_events(path)
    if inputs.n_units != bundle.codes.n_in:
        raise InputError(f"{path} has {inputs.n_units} units; allowed: {bundle.codes.n_in}, the inputs of the program")
    # the model's dtype decides, as it does in the simulator
    return inputs.to(bundle.golden.inputs.times.dtype)


def _free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise InputError(f"{path} exists; name another --out, or replace it with --force")


def _calibration(name: str | None) -> Any:
    if name is None:
        return None
    from hwloop_calibration import Store

    return Store().find(name)


def _calibrated(device: Device, calibration: Any) -> None:
    if calibration is not None:
        apply_calibration(device, calibration)


def _described(bundle: Bundle, path: Path) -> Answer:
    text, golden, size = bundle.provenance, bundle.golden, path.stat().st_size
    spikes = sum(int(train.counts.sum()) for train in golden.populations)

    def words() -> None:
        terminal.say(f"{path}: {size} bytes, run {text.run_id}")
        terminal.say(f"{text.device_id} ({text.ran_on}, {text.firmware}), program {text.program[:12]}")
        terminal.say(f"{len(golden.inputs)} golden samples, {spikes} spikes; check it with hwloop verify {path}")

    document = {
        "file": path, "bytes": size, "run_id": text.run_id, "device_id": text.device_id, "ran_on": text.ran_on, "firmware": text.firmware,
        "program_digest": text.program, "golden_samples": len(golden.inputs), "golden_spikes": spikes,
    }  # fmt: skip
    return Answer(document, words)
