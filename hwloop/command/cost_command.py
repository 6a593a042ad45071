"""``hwloop cost``: operations, memory, latency and energy of a trained network, on a target or in simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import completion, options
from .answer import Answer

if TYPE_CHECKING:
    from ..compare.source import Source
    from ..cost import Cost
    from ..experiment import Experiment
    from .folder import Trained
    from .target_choice import TargetChoice


def cost(
    run: options.Run,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help="Such as emulator:7; default: the simulator's own operations.",
            autocompletion=completion.targets,
        ),
    ] = None,
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    dt: options.Step = None,
    option: options.Extra = None,
    calibration: options.Calibrated = None,
    experiment: options.Of = None,
    data: options.Data = None,
    samples: Annotated[int, typer.Option(min=1, help="The first so many test samples are counted.")] = 100,
    json_file: options.JsonFile = None,
    out: options.Out = None,
    force: options.Force = False,
) -> Answer:
    """Count what an answer costs: synaptic events, membrane updates, memory, latency; energy where a price is published."""
    from contextlib import nullcontext

    from .. import storage
    from ..cost.cost_report import FORMAT, VERSION
    from . import calibrations, named_runs, pages, terminal, work
    from .folder import opened
    from .target_choice import TargetChoice

    choice = TargetChoice(
        target, preset, spread, mismatch, trial_noise, option or (), dt, calibrations.chosen(calibration)
    )
    with nullcontext() if out is None else opened(out, "cost", force=force) as folder:
        chosen, found, source = _counted(named_runs.load(run, experiment, data), choice, target is not None, samples)
        if json_file is not None:
            storage.write_json(json_file, found.to_dict(), kind=FORMAT, version=VERSION)
        if folder is not None:
            folder.begin(chosen)
            folder.write_report(pages.cost_page(chosen, found, source))
        if not found.operations.effective:
            terminal.note("no synaptic event was counted: is the network silent on these samples?")
        return work.run_answer("cost", folder, chosen, [], {"cost": found.to_dict()}, lambda: _print(found))


def _counted(trained: Trained, choice: TargetChoice, on_target: bool, samples: int) -> tuple[Experiment, Cost, Source]:
    """The experiment, what was counted, and where it ran."""
    import torch

    from ..compare.source import Source
    from ..cost import cost_of
    from . import work

    if not on_target:
        chosen = trained.experiment
        with torch.no_grad():
            record = trained.net(chosen.build_task().test.inputs[:samples])
        return chosen, cost_of(record, trained.net, decision=chosen.decision), Source("simulator")
    chosen, device, _ = work.open_chosen(trained, choice)
    task = chosen.build_task()
    with device:
        program = work.load_on(trained, chosen, device, task.validation)
        found = work.cost_on(device, program, task.test.inputs[:samples], chosen.decision)
        return chosen, found, Source(device.ran_on, device.device_id, program.digest)


def _print(found: Cost) -> None:
    from . import terminal

    terminal.say(f"{found.target} ({found.ran_on}), {found.samples} samples", "bold")
    for caption, columns, rows in found.tables():
        terminal.say(caption)
        cells = [["-" if v is None else f"{v:.6g}" if isinstance(v, float) else v for v in row] for row in rows]
        terminal.table(columns, cells, columns[1:] if len(columns) > 2 else ())
