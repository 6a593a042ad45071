"""`hwloop lava`: the private environment of lava-nc, through what its backend registers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import terminal
from .exit_status import Command

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="rich", epilog="Example: hwloop lava setup"
)


@app.command(cls=Command, epilog="Example: hwloop lava setup --python python3.10")
def setup(
    python: Annotated[
        str | None, typer.Option(metavar="PATH", help="Interpreter to make it from, 3.10 to 3.13; default: this one.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build anew, also where there is a ready one.")] = False,
    deadline: Annotated[float, typer.Option(min=1.0, help="Longest time (s).")] = 600.0,
) -> None:
    """Build and test the environment that the target lava runs in; what is ready stays, unless --force."""
    for line in _backend().setup(python, force=force, deadline=deadline, say=terminal.status):
        terminal.say(line)


@app.command(epilog="Example: hwloop lava status")
def status() -> None:
    """Say which environment there is, and what to do where there is none."""
    from .doctor import COLUMNS

    terminal.table(COLUMNS, [(what, found, advice or "-") for what, found, advice in _backend().doctor()])


def _backend() -> Any:
    from ..device.registry import factory

    return factory("lava")
