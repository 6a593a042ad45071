"""`hwloop lava`: the private environment of lava-nc, through what its backend registers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import terminal
from .answer import Answer
from .exit_status import Answering, Command

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
) -> Answer:
    """Build and test the environment that the target lava runs in; what is ready stays, unless --force."""
    lines: list[str] = _backend().setup(python, force=force, deadline=deadline, say=terminal.status)

    def words() -> None:
        for line in lines:
            terminal.say(line)

    return Answer({"environment": lines}, words)


@app.command(cls=Answering, epilog="Example: hwloop lava status")
def status() -> Answer:
    """Say which environment there is, and what to do where there is none."""
    from .doctor import Finding, say

    found = [Finding(*row) for row in _backend().doctor()]
    return Answer({"findings": found}, lambda: say(found))


def _backend() -> Any:
    from ..device.registry import factory

    return factory("lava")
