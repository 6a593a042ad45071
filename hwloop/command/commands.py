"""The options of ``hwloop``: each command reads its own, and hands them to :mod:`hwloop.command.work`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..experiments import builtin
from . import (
    bench_command,
    calibrations,
    completion,
    conform_command,
    cost_command,
    lava_command,
    nir_command,
    options,
    stored_commands,
)
from .answer import Answer
from .exit_status import Answering, Command, Commands

# help and version are to come at once: what imports torch is imported by the command that needs it
if TYPE_CHECKING:
    from .folder import RunFolder

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit status: 0 done; 1 failed (data, checkpoint, target, a network that does not fit); 2 wrong use "
    "(unknown option, name or target, a value that is not allowed); 130 interrupted.",
)

app.add_typer(calibrations.app, name="calibrations", help="Stored calibrations: list, show, compare, export.")
app.add_typer(lava_command.app, name="lava", help="The private environment that the target lava runs in.")

app.add_typer(
    nir_command.app, name="nir", help="Networks in NIR files: what one means, and a trained one written as one."
)

_command, _plain_command = partial(app.command, cls=Command), partial(app.command, cls=Answering)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"hwloop {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train spiking networks with exact gradients, deploy them to neuromorphic chips, repair them by measured spikes."""


@_command(epilog="Example: hwloop demo --quick --out out/demo")
def demo(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller and shorter: to see that it runs.")] = False,
    seed: options.Seed = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            help="A chip, one of several; default: emulator:0 to emulator:2.",
            autocompletion=completion.targets,
        ),
    ] = None,
    jobs: options.Jobs = -1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report.html goes.")] = Path("out/demo"),
    force: options.Force = False,
) -> Answer:
    """The main job on Yin-Yang: train, deploy to three emulated chips as is, compare, fine-tune each in the loop."""
    from ..experiment import Experiment
    from .demo_command import demo_run
    from .folder import opened

    experiment = Experiment.load("demo-quick" if quick else "demo")
    with opened(out, "demo", force=force) as folder:
        return demo_run(experiment if seed is None else experiment.changed(seed=seed), target or [], jobs, folder)


@_command(epilog="Example: hwloop train yin-yang --seed 1 --out out/yy")
def train(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT|FILE.toml]",
            help=f"Built in: {', '.join(builtin())}; default: yin-yang.",
            autocompletion=completion.experiments,
        ),
    ] = None,
    seed: options.Seed = None,
    data: options.Data = None,
    epochs: options.Epochs = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: out/EXPERIMENT-seedN.")] = None,
    resume: options.Resume = False,
    force: options.Force = False,
    distributed: Annotated[
        bool,
        typer.Option("--distributed", help="As one of several processes that torchrun started; see docs/ranks.md."),
    ] = False,
    deadline: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="Longest wait for another process; default: 300.")
    ] = None,
) -> Answer | None:
    """Train a network in software; its run folder is what deploy, compare and finetune take."""
    from . import distributed_command, named_runs, work
    from .folder import opened

    chosen = named_runs.experiment_of(experiment, out if resume else None)
    chosen = named_runs.with_options(chosen, seed, data, {} if epochs is None else {"training": {"epochs": epochs}})
    path = out or Path("out") / f"{chosen.name}-seed{chosen.seed}"
    with distributed_command.ranks_of(distributed, deadline, path) as ranks:
        if not ranks.first:
            distributed_command.help_first(chosen, ranks)
            return None  # the first answers
        with opened(path, "train", resume=resume, force=force) as folder:
            return work.train(chosen, folder, ranks)


@_command(epilog="Example: hwloop deploy out/yy --target emulator:7 --preset bss2")
def deploy(
    run: options.Run,
    target: options.Target = None,
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    dt: options.Step = None,
    option: options.Extra = None,
    calibration: options.Calibrated = None,
    experiment: options.Of = None,
    data: options.Data = None,
    runs: options.Runs = 5,
    out: options.Out = None,
    force: options.Force = False,
) -> Answer:
    """Compile a trained network, load it as it is, and measure its accuracy; refuses what the target cannot carry."""
    from . import named_runs, work
    from .target_choice import TargetChoice

    choice = TargetChoice(
        target, preset, spread, mismatch, trial_noise, option or (), dt, calibrations.chosen(calibration)
    )
    with _opened(out, "deploy", force) as folder:
        return work.deploy_run(named_runs.load(run, experiment, data), choice, runs, folder)


@_command(epilog="Example: hwloop compare out/yy --target emulator:7 --out out/yy-compared")
def compare(
    run: options.Run,
    target: options.Target = None,
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    dt: options.Step = None,
    option: options.Extra = None,
    calibration: options.Calibrated = None,
    experiment: options.Of = None,
    data: options.Data = None,
    samples: Annotated[int | None, typer.Option(min=1, help="The first so many test samples; default: all.")] = None,
    out: options.Out = None,
    force: options.Force = False,
) -> Answer:
    """Compare simulated with measured spikes on test samples: spike times, distances, decisions, first divergence."""
    from . import named_runs, work
    from .target_choice import TargetChoice

    choice = TargetChoice(
        target, preset, spread, mismatch, trial_noise, option or (), dt, calibrations.chosen(calibration)
    )
    with _opened(out, "compare", force) as folder:
        return work.compare_run(named_runs.load(run, experiment, data), choice, samples, folder)


@_command(epilog="Example: hwloop finetune out/yy --target emulator:7 --preset bss2 --out out/yy-chip7")
def finetune(
    run: options.Run,
    target: options.Target = None,
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    dt: options.Step = None,
    option: options.Extra = None,
    calibration: options.Calibrated = None,
    experiment: options.Of = None,
    data: options.Data = None,
    seed: options.Seed = None,
    epochs: options.Epochs = None,
    runs: options.Runs = 5,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: RUN-TARGET.")] = None,
    log: options.Log = None,
    resume: options.Resume = False,
    force: options.Force = False,
) -> Answer:
    """Repair a trained network on a device: measured spikes in the loss and gradient that trained it."""
    from . import named_runs, work
    from .folder import opened
    from .target_choice import TargetChoice

    choice = TargetChoice(
        target, preset, spread, mismatch, trial_noise, option or (), dt, calibrations.chosen(calibration)
    )
    trained = named_runs.load(run, experiment, data, seed, {} if epochs is None else {"finetune": {"epochs": epochs}})
    path = out or named_runs.beside(run, choice.in_experiment(trained.experiment).target.name)
    with opened(path, "finetune", resume=resume, force=force) as folder:
        return work.finetune_run(trained, choice, runs, folder, log)


@_command(epilog="Example: hwloop calibrate out/yy --target emulator:7 --preset bss2 --out out/yy-calibrated")
def calibrate(
    run: options.Run,
    target: options.Target = None,
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    option: options.Extra = None,
    experiment: options.Of = None,
    data: options.Data = None,
    trim: Annotated[bool, typer.Option(help="Whether trim cells are written, where the device has any.")] = True,
    repeats: Annotated[int, typer.Option(min=4, max=1000, help="Runs of every stimulus.")] = 16,
    all_neurons: Annotated[
        bool, typer.Option("--all-neurons", help="Measure the whole chip, not only what the network uses and spares.")
    ] = False,
    store: calibrations.Folder = None,
    runs: options.Runs = 5,
    out: options.Out = None,
    force: options.Force = False,
) -> Answer:
    """Calibrate a device for a trained network: what every neuron is, trimmed to what it should be; stored, with a report."""
    from . import named_runs
    from .calibrate_command import HowMuch, calibrate_run
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or ())
    trained = named_runs.load(run, experiment, data)
    with _opened(out, "calibrate", force) as folder:
        return calibrate_run(
            trained, choice, runs, HowMuch(trim, repeats, all_neurons), calibrations.store_in(store), folder
        )


@_command("yield", epilog="Example: hwloop yield out/yy --preset bss2 --chips 30 --out out/yy-yield")
def yield_study(
    run: options.Run,
    preset: Annotated[str, typer.Option(help="Preset of the emulated chips: a name, or a .toml file.")] = "bss2",
    spread: options.Spread = None,
    chips: Annotated[int, typer.Option(min=1, max=100_000, help="Chips 0 .. N-1 of the wafer.")] = 30,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", help="One of several; default: all of them.")
    ] = None,
    effort: Annotated[
        list[float] | None, typer.Option(help="Share of the usual epochs or steps, one of several; default: 1.")
    ] = None,
    jobs: options.Jobs = -1,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask cluster, such as tcp://host:8786.")
    ] = None,
    experiment: options.Of = None,
    data: options.Data = None,
    runs: options.Runs = 5,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: RUN-yield.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the rows that --out lacks.")] = False,
    force: options.Force = False,
) -> Answer:
    """How good a trained network is over many emulated chips, for each strategy against their mismatch."""
    from . import named_runs
    from .folder import opened
    from .yield_command import make_plan, yield_run

    trained = named_runs.load(run, experiment, data)
    plan = make_plan(preset, spread, chips, strategy, effort, runs)
    with opened(out or named_runs.beside(run, "yield"), "yield", resume=resume, force=force) as folder:
        return yield_run(trained, plan, jobs, dask, folder)


@_plain_command(epilog="Example: hwloop serve --target emulator:7 --preset bss2 --port tcp://127.0.0.1:4000")
def serve(
    target: Annotated[
        str,
        typer.Option("--target", "-t", help="Such as emulator:7 or loihi.", autocompletion=completion.targets),
    ],
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    dt: options.Step = None,
    option: options.Extra = None,
    port: Annotated[
        str,
        typer.Option(
            help="pty, pty:LINK (a name that leads to it), or tcp://[HOST]:PORT; without HOST this computer alone."
        ),
    ] = "pty",
    program_bytes: Annotated[int, typer.Option(min=64, help="Memory of the board for a program.")] = 64 * 2**20,
    input_bytes: Annotated[int, typer.Option(min=64, help="Memory for the events of a batch.")] = 16 * 2**20,
    output_bytes: Annotated[int, typer.Option(min=64, help="Memory for the events of a run.")] = 64 * 2**20,
    max_body: Annotated[int, typer.Option(min=128, max=16384, help="Largest body of a frame (bytes).")] = 16384,
    window: Annotated[int, typer.Option(min=1, max=255, help="Chunks that may be under way at a time.")] = 8,
) -> None:
    """Serve a target of this computer as a board on a line; prints the name under which hwloop opens it."""
    from .serve_command import serve_run
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or (), dt)
    room = {
        "program": program_bytes,
        "input": input_bytes,
        "output": output_bytes,
        "max_body": max_body,
        "window": window,
    }
    serve_run(choice.find_named(target), target, port, room)


@_plain_command(epilog="Example: hwloop targets emulator:7 --preset bss2")
def targets(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="Show this one in full.", autocompletion=completion.targets),
    ] = None,
    preset: options.Preset = None,
    option: options.Extra = None,
) -> Answer:
    """List the targets and what they can carry; with a target or a preset, what it does to a network."""
    from . import listing
    from .target_choice import TargetChoice

    if name is None and preset is None:
        return listing.list_targets()
    return listing.show_target(name, TargetChoice(name, preset, extra=option or ()))


@_plain_command(epilog="Example: hwloop doctor")
def doctor() -> Answer:
    """Show what is installed, which targets and data are there, what is missing, and what to do about it."""
    from .doctor import report

    return report()


_plain_command(epilog="Example: hwloop bench --quick --workload YY --out out/bench")(bench_command.bench)


_command(epilog="Example: hwloop conform emulator:7 --preset bss2 --badge conformance.svg")(conform_command.conform)


_command(epilog="Example: hwloop cost out/yy --target loihi --json")(cost_command.cost)


_plain_command(epilog='Example: eval "$(hwloop completion bash)"')(completion.completion)


for _function, _example in stored_commands.COMMANDS.items():
    _command(epilog=f"Example: {_example}")(_function)


def _opened(out: Path | None, kind: str, force: bool) -> AbstractContextManager[RunFolder | None]:
    """The folder of a run that writes one where it is told to."""
    from .folder import opened

    return nullcontext() if out is None else opened(out, kind, force=force)
