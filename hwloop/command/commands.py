"""The options of ``hwloop``: each command reads its own, and hands them to :mod:`hwloop.command.work`."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import __version__
from ..experiments import builtin
from . import calibrations, lava, nir_command
from .errors import FAILED, Command, Commands

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
app.add_typer(lava.app, name="lava", help="The private environment that the target lava runs in.")

app.add_typer(
    nir_command.app, name="nir", help="Networks in NIR files: what one means, and a trained one written as one."
)

_command = partial(app.command, cls=Command)

_Seed = Annotated[int | None, typer.Option(min=0, help="First weights and sample order; default: the experiment's.")]
_Data = Annotated[str | None, typer.Option(help="Folder of the data files; default: HWLOOP_DATA, else ./data.")]
_Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch in --out.")]
_Force = Annotated[bool, typer.Option("--force", help="Replace the run of the same kind that is in --out.")]
_Epochs = Annotated[int | None, typer.Option(min=1, help="Instead of the experiment's.")]
_Runs = Annotated[int, typer.Option(min=1, max=1000, help="Runs on the device that accuracies are averaged over.")]
_Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run of train or finetune, or a checkpoint in it.")
]
_Of = Annotated[str | None, typer.Option("--experiment", help="What RUN is, where its folder does not say.")]
_Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write report.html and summary.json there.")]

_Jobs = Annotated[int, typer.Option(min=-1, help="Processes side by side, one thread each; -1: one a core.")]

_Target = Annotated[str | None, typer.Option("--target", "-t", help="Such as emulator:7; default: the experiment's.")]
_Preset = Annotated[str | None, typer.Option(help="Preset of the emulator: a name, or a .toml file.")]
_Spread = Annotated[
    float | None, typer.Option(min=0.0, max=1.0, help="Spread of tau_mem, tau_syn and gain over neurons; .2 is 20 %.")
]
_Mismatch = Annotated[bool | None, typer.Option(help="Whether emulated neurons differ; without: the noise ceiling.")]
_Noise = Annotated[bool | None, typer.Option(help="Whether two emulated runs of one input differ.")]
_Step = Annotated[
    str | None,
    typer.Option("--dt", metavar="SECONDS|auto", help="Time step of loihi or lava; auto measures which one."),
]
_Extra = Annotated[list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="Further target option.")]


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
    seed: _Seed = None,
    jobs: _Jobs = -1,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report.html goes.")] = Path("out/demo"),
    force: _Force = False,
) -> None:
    """The main job on Yin-Yang: train, deploy to three emulated chips as is, compare, fine-tune each in the loop."""
    from ..experiment import Experiment
    from .demo_command import demo_run
    from .folder import opened

    experiment = Experiment.load("demo-quick" if quick else "demo")
    with opened(out, "demo", force=force) as folder:
        demo_run(experiment if seed is None else experiment.changed(seed=seed), jobs, folder)


@_command(epilog="Example: hwloop train yin-yang --seed 1 --out out/yy")
def train(
    experiment: Annotated[
        str | None,
        typer.Argument(metavar="[EXPERIMENT|FILE.toml]", help=f"Built in: {', '.join(builtin())}; default: yin-yang."),
    ] = None,
    seed: _Seed = None,
    data: _Data = None,
    epochs: _Epochs = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: out/EXPERIMENT-seedN.")] = None,
    resume: _Resume = False,
    force: _Force = False,
) -> None:
    """Train a network in software; its run folder is what deploy, compare and finetune take."""
    from . import work
    from .folder import opened

    chosen = work.experiment_of(experiment, out if resume else None)
    chosen = work.with_options(chosen, seed, data, {} if epochs is None else {"training": {"epochs": epochs}})
    path = out or Path("out") / f"{chosen.name}-seed{chosen.seed}"
    with opened(path, "train", resume=resume, force=force) as folder:
        work.train(chosen, folder)


@_command(epilog="Example: hwloop deploy out/yy --target emulator:7 --preset bss2")
def deploy(
    run: _Run,
    target: _Target = None,
    preset: _Preset = None,
    spread: _Spread = None,
    mismatch: _Mismatch = None,
    trial_noise: _Noise = None,
    dt: _Step = None,
    option: _Extra = None,
    experiment: _Of = None,
    data: _Data = None,
    runs: _Runs = 5,
    out: _Out = None,
    force: _Force = False,
) -> None:
    """Compile a trained network, load it as it is, and measure its accuracy; refuses what the target cannot carry."""
    from . import work
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or (), dt)
    with _opened(out, "deploy", force) as folder:
        work.deploy_run(work.load(run, experiment, data), choice, runs, folder)


@_command(epilog="Example: hwloop compare out/yy --target emulator:7 --out out/yy-compared")
def compare(
    run: _Run,
    target: _Target = None,
    preset: _Preset = None,
    spread: _Spread = None,
    mismatch: _Mismatch = None,
    trial_noise: _Noise = None,
    dt: _Step = None,
    option: _Extra = None,
    experiment: _Of = None,
    data: _Data = None,
    samples: Annotated[int | None, typer.Option(min=1, help="The first so many test samples; default: all.")] = None,
    out: _Out = None,
    force: _Force = False,
) -> None:
    """Compare simulated with measured spikes on test samples: spike times, distances, decisions, first divergence."""
    from . import work
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or (), dt)
    with _opened(out, "compare", force) as folder:
        work.compare_run(work.load(run, experiment, data), choice, samples, folder)


@_command(epilog="Example: hwloop finetune out/yy --target emulator:7 --preset bss2 --out out/yy-chip7")
def finetune(
    run: _Run,
    target: _Target = None,
    preset: _Preset = None,
    spread: _Spread = None,
    mismatch: _Mismatch = None,
    trial_noise: _Noise = None,
    dt: _Step = None,
    option: _Extra = None,
    experiment: _Of = None,
    data: _Data = None,
    seed: _Seed = None,
    epochs: _Epochs = None,
    runs: _Runs = 5,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: RUN-TARGET.")] = None,
    resume: _Resume = False,
    force: _Force = False,
) -> None:
    """Repair a trained network on a device: measured spikes in the loss and gradient that trained it."""
    from . import work
    from .folder import opened
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or (), dt)
    trained = work.load(run, experiment, data, seed, {} if epochs is None else {"finetune": {"epochs": epochs}})
    path = out or work.beside(run, choice.in_experiment(trained.experiment).target.name)
    with opened(path, "finetune", resume=resume, force=force) as folder:
        work.finetune_run(trained, choice, runs, folder)


@_command(epilog="Example: hwloop calibrate out/yy --target emulator:7 --preset bss2 --out out/yy-calibrated")
def calibrate(
    run: _Run,
    target: _Target = None,
    preset: _Preset = None,
    spread: _Spread = None,
    mismatch: _Mismatch = None,
    trial_noise: _Noise = None,
    option: _Extra = None,
    experiment: _Of = None,
    data: _Data = None,
    trim: Annotated[bool, typer.Option(help="Whether trim cells are written, where the device has any.")] = True,
    repeats: Annotated[int, typer.Option(min=4, max=1000, help="Runs of every stimulus.")] = 16,
    all_neurons: Annotated[
        bool, typer.Option("--all-neurons", help="Measure the whole chip, not only what the network uses and spares.")
    ] = False,
    store: calibrations.Folder = None,
    runs: _Runs = 5,
    out: _Out = None,
    force: _Force = False,
) -> None:
    """Calibrate a device for a trained network: what every neuron is, trimmed to what it should be; stored, with a report."""
    from . import work
    from .calibrate import HowMuch, calibrate_run
    from .target_choice import TargetChoice

    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or ())
    trained = work.load(run, experiment, data)
    with _opened(out, "calibrate", force) as folder:
        calibrate_run(trained, choice, runs, HowMuch(trim, repeats, all_neurons), store, folder)


@_command("yield", epilog="Example: hwloop yield out/yy --preset bss2 --chips 30 --out out/yy-yield")
def yield_study(
    run: _Run,
    preset: Annotated[str, typer.Option(help="Preset of the emulated chips: a name, or a .toml file.")] = "bss2",
    spread: _Spread = None,
    chips: Annotated[int, typer.Option(min=1, max=100_000, help="Chips 0 .. N-1 of the wafer.")] = 30,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", "-s", help="One of several; default: all of them.")
    ] = None,
    effort: Annotated[
        list[float] | None, typer.Option(help="Share of the usual epochs or steps, one of several; default: 1.")
    ] = None,
    jobs: _Jobs = -1,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Run on this Dask cluster, such as tcp://host:8786.")
    ] = None,
    experiment: _Of = None,
    data: _Data = None,
    runs: _Runs = 5,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Default: RUN-yield.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the rows that --out lacks.")] = False,
    force: _Force = False,
) -> None:
    """How good a trained network is over many emulated chips, for each strategy against their mismatch."""
    from . import work
    from .folder import opened
    from .yield_command import make_plan, yield_run

    trained = work.load(run, experiment, data)
    plan = make_plan(preset, spread, chips, strategy, effort, runs)
    with opened(out or work.beside(run, "yield"), "yield", resume=resume, force=force) as folder:
        yield_run(trained, plan, jobs, dask, folder)


@app.command(epilog="Example: hwloop serve --target emulator:7 --preset bss2 --port tcp://127.0.0.1:4000")
def serve(
    target: Annotated[str, typer.Option("--target", "-t", help="Such as emulator:7 or loihi.")],
    preset: _Preset = None,
    spread: _Spread = None,
    mismatch: _Mismatch = None,
    trial_noise: _Noise = None,
    dt: _Step = None,
    option: _Extra = None,
    port: Annotated[
        str, typer.Option(help="pty, pty:LINK (a name that leads to it), or tcp://[HOST]:PORT; without HOST this computer alone.")
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
    room = {"program": program_bytes, "input": input_bytes, "output": output_bytes, "max_body": max_body, "window": window}
    serve_run(choice.find_named(target), port, room)


@app.command(epilog="Example: hwloop targets emulator:7 --preset bss2")
def targets(
    name: Annotated[str | None, typer.Argument(metavar="[TARGET]", help="Show this one in full.")] = None,
    preset: _Preset = None,
    option: _Extra = None,
) -> None:
    """List the targets and what they can carry; with a target or a preset, what it does to a network."""
    from . import listing
    from .target_choice import TargetChoice

    if name is None and preset is None:
        listing.list_targets()
    else:
        listing.show_target(name, TargetChoice(name, preset, extra=option or ()))


@app.command(epilog="Example: hwloop doctor")
def doctor() -> None:
    """Show what is installed, which targets and data are there, what is missing, and what to do about it."""
    from .doctor import report

    if not report():
        raise typer.Exit(FAILED)


def _opened(out: Path | None, kind: str, force: bool) -> AbstractContextManager[RunFolder | None]:
    """The folder of a run that writes one where it is told to."""
    from .folder import opened

    return nullcontext() if out is None else opened(out, kind, force=force)
