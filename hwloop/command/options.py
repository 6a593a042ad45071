"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import completion

Seed = Annotated[int | None, typer.Option(min=0, help="First weights and sample order; default: the experiment's.")]
Data = Annotated[str | None, typer.Option(help="Folder of the data files; default: HWLOOP_DATA, else ./data.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch in --out.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the run of the same kind that is in --out.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Instead of the experiment's.")]
Runs = Annotated[int, typer.Option(min=1, max=1000, help="Runs on the device that accuracies are averaged over.")]
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run of train or finetune, or a checkpoint in it.")
]
Of = Annotated[str | None, typer.Option("--experiment", help="What RUN is, where its folder does not say.")]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="Write report.html and summary.json there.")]

Jobs = Annotated[int, typer.Option(min=-1, help="Processes side by side, one thread each; -1: one a core.")]

Target = Annotated[
    str | None,
    typer.Option(
        "--target", "-t", help="Such as emulator:7; default: the experiment's.", autocompletion=completion.targets
    ),
]
Preset = Annotated[str | None, typer.Option(help="Preset of the emulator: a name, or a .toml file.")]
Spread = Annotated[
    float | None, typer.Option(min=0.0, max=1.0, help="Spread of tau_mem, tau_syn and gain over neurons; .2 is 20 %.")
]
Mismatch = Annotated[bool | None, typer.Option(help="Whether emulated neurons differ; without: the noise ceiling.")]
Noise = Annotated[bool | None, typer.Option(help="Whether two emulated runs of one input differ.")]
Step = Annotated[
    str | None,
    typer.Option("--dt", metavar="SECONDS|auto", help="Time step of loihi or lava; auto measures which one."),
]
Extra = Annotated[list[str] | None, typer.Option("--option", "-o", metavar="KEY=VALUE", help="Further target option.")]

Calibrated = Annotated[
    str | None,
    typer.Option(
        "--calibration", metavar="ID|FILE", help="Written to the chip first: beginning of a stored one's id, or a file."
    ),
]

#: Of every command; it is read by :class:`hwloop.command.exit_status.Answering`.
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON document; words go to standard error.")
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json-file", metavar="FILE", help="Write every figure there, and the words to standard output."),
]
Log = Annotated[
    Path | None,
    typer.Option(metavar="LOG", help="Record the session with the device into this file, for `hwloop replay`."),
]
