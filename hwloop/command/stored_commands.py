"""``hwloop bundle``, ``run``, ``verify`` and ``replay``: deployments and sessions as files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from . import options

_Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A .hwb file that `hwloop bundle` wrote.")]
_On = Annotated[
    str | None,
    typer.Option("--target", "-t", help="Such as serial:/dev/ttyUSB0; default: what the bundle was made on."),
]


def bundle(
    run: options.Run,
    target: options.Target = None,
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    dt: options.Step = None,
    option: options.Extra = None,
    experiment: options.Of = None,
    data: options.Data = None,
    calibration: Annotated[
        str | None, typer.Option(metavar="CALIBRATION", help="Use this one: beginning of its id, or a file.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=10_000, help="The first so many test samples are the golden input.")
    ] = 20,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: RUN-TARGET.hwb.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
) -> None:
    """Put a deployment into one file: network, program, target, calibration, and what the device answers to golden inputs."""
    from . import work
    from .bundle_command import bundle_run
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or (), dt)
    trained = work.load(run, experiment, data)
    path = out or work.beside(run, choice.in_experiment(trained.experiment).target.name).with_suffix(".hwb")
    bundle_run(trained, choice, calibration, samples, path, force)


def run(
    what: _Bundle,
    input_: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE", help="Spikes, .npz or NIRData; default: the golden inputs."),
    ] = None,
    target: _On = None,
    option: options.Extra = None,
    log: options.Log = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Write the spikes of every population there.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
) -> None:
    """Run a bundle on its target, or on another, on inputs of its own or new ones."""
    from .bundle_command import run_bundle

    run_bundle(what, input_, target, option or (), log, out, force)


def verify(
    what: _Bundle,
    target: _On = None,
    option: options.Extra = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="By which spikes may move; 0: bit for bit.")
    ] = 0.0,
    log: options.Log = None,
) -> None:
    """Run the golden inputs of a bundle on the device; status 1 and the first difference where it answers otherwise."""
    from .bundle_command import verify_on
    from .exit_status import FAILED

    if not verify_on(what, target, option or (), tolerance, log):
        raise typer.Exit(FAILED)


def replay(log: Annotated[Path, typer.Argument(metavar="LOG", help="A session log.")]) -> None:
    """Say what a session log holds: devices, programs, runs, times, and the first damage; status 1 where there is any."""
    from .exit_status import FAILED
    from .replay_command import summarise_log

    if not summarise_log(log):
        raise typer.Exit(FAILED)


#: Every command with an example.
COMMANDS: dict[Callable[..., Any], str] = {
    bundle: "hwloop bundle out/yy --target emulator:7 --preset bss2 --out yy.hwb",
    run: "hwloop run yy.hwb --input new.npz --out answers.npz",
    verify: "hwloop verify yy.hwb --target serial:/dev/ttyUSB0",
    replay: "hwloop replay session.log",
}
