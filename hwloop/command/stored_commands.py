"""Commands on files: experiments (``init``, ``run``), runs (``diff``), deployments (``bundle``, ``verify``), sessions (``replay``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from . import completion, options
from .answer import Answer

_Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A .hwb file that `hwloop bundle` wrote.")]
_Runnable = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.toml|BUNDLE",
        help="An experiment (a file, or built in), or a .hwb bundle.",
        autocompletion=completion.experiments,
    ),
]
_On = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="Such as serial:/dev/ttyUSB0; default: what the bundle was made on.",
        autocompletion=completion.targets,
    ),
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
) -> Answer:
    """Put a deployment into one file: network, program, target, calibration, and what the device answers to golden inputs."""
    from . import named_runs
    from .bundle_command import bundle_run
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or (), dt)
    trained = named_runs.load(run, experiment, data)
    path = out or named_runs.beside(run, choice.in_experiment(trained.experiment).target.name).with_suffix(".hwb")
    return bundle_run(trained, choice, calibration, samples, path, force)


def run(
    what: _Runnable,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Of an experiment: another value, e.g. training.epochs=3."),
    ] = None,
    input_: Annotated[
        Path | None,
        typer.Option(
            "--input", metavar="FILE", help="Of a bundle: spikes, .npz or NIRData; default: the golden inputs."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help="Such as emulator:7; default: what is stated there.",
            autocompletion=completion.targets,
        ),
    ] = None,
    option: options.Extra = None,
    log: options.Log = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE.npz",
            help="Of an experiment, the folder of the run (default: out/EXPERIMENT-seedN); of a bundle, where spikes go.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Of an experiment: go on where the run in --out was interrupted.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> Answer:
    """Run an experiment, train, deploy, compare and fine-tune as its file says; or a bundle on its target or another."""
    from ..experiments import builtin

    if what.suffix != ".toml" and str(what) not in builtin():
        _refuse("of a bundle", {"--set": set_, "--resume": resume})
        from .bundle_command import run_bundle

        return run_bundle(what, input_, target, option or (), log, out, force)
    _refuse("of an experiment", {"--input": input_, "--option": option, "--log": log})
    from ..experiment import Experiment
    from .folder import opened
    from .run_experiment import run_experiment
    from .target_choice import TargetChoice

    experiment = TargetChoice(target).in_experiment(Experiment.load(str(what), set_ or ()))
    path = out or Path("out") / f"{experiment.name}-seed{experiment.seed}"
    with opened(path, "run", resume=resume, force=force) as folder:
        return run_experiment(experiment, folder)


def _refuse(of: str, given: dict[str, Any]) -> None:
    from ..errors import OptionError

    for name, value in given.items():
        if value:
            raise OptionError(f"{name} is not for runs {of}; leave it out (see hwloop run --help)")


def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE.toml]", help="The file to write.")] = Path("experiment.toml"),
    source: Annotated[
        str,
        typer.Option(
            "--from", metavar="EXPERIMENT", help="A built-in experiment.", autocompletion=completion.experiments
        ),
    ] = "yin-yang",
) -> Answer:
    """Write an experiment file to edit, with a comment on every value; it runs as it is. Nothing is overwritten."""
    from .init_command import init as write

    return write(path, source)


def diff(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of another.")],
) -> Answer:
    """Say how two runs differ: values of their experiments, data, versions, figures, weights."""
    from .diff_command import diff_runs

    return diff_runs(first, second)


def verify(
    what: _Bundle,
    target: _On = None,
    option: options.Extra = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="By which spikes may move; 0: bit for bit.")
    ] = 0.0,
    log: options.Log = None,
) -> Answer:
    """Run the golden inputs of a bundle on the device; status 1 and the first difference where it answers otherwise."""
    from .bundle_command import verify_on

    return verify_on(what, target, option or (), tolerance, log)


def replay(log: Annotated[Path, typer.Argument(metavar="LOG", help="A session log.")]) -> Answer:
    """Say what a session log holds: devices, programs, runs, times, and the first damage; status 1 where there is any."""
    from .replay_command import summarise_log

    return summarise_log(log)


#: Every command with an example.
COMMANDS: dict[Callable[..., Any], str] = {
    bundle: "hwloop bundle out/yy --target emulator:7 --preset bss2 --out yy.hwb",
    init: "hwloop init my.toml --from yin-yang",
    run: "hwloop run my.toml --set training.epochs=3 --out out/mine   or   hwloop run yy.hwb --input new.npz",
    diff: "hwloop diff out/mine out/other",
    verify: "hwloop verify yy.hwb --target serial:/dev/ttyUSB0",
    replay: "hwloop replay session.log",
}
