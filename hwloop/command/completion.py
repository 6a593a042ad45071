"""``hwloop completion``: the script by which a shell completes commands, options, experiments and targets."""

from __future__ import annotations

from enum import StrEnum
from importlib import metadata
from typing import Annotated

import typer

from ..experiments import builtin
from .answer import Answer

#: The variable by which the script asks the command: typer derives it from the name.
_VARIABLE = "_HWLOOP_COMPLETE"
#: As ``hwloop.target.ENTRY_POINT_GROUP``, whose module takes a second to import.
GROUP = "hwloop.backends"


class Shell(StrEnum):
    """Shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that is to run it.")]) -> Answer:
    """Print what makes a shell complete hwloop on TAB: commands, options, experiments, targets, files."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # there since 0.12, not exported

    script = get_completion_script(prog_name="hwloop", complete_var=_VARIABLE, shell=shell.value)
    return Answer({"shell": shell.value, "script": script}, lambda: typer.echo(script))


def experiments(incomplete: str) -> list[str]:
    """Built-in experiments that begin with ``incomplete``."""
    return [name for name in builtin() if name.startswith(incomplete)]


def targets(incomplete: str) -> list[str]:
    """Installed backends that begin with ``incomplete``; none is imported."""
    names = {entry.name for entry in metadata.entry_points(group=GROUP)}
    return sorted(name for name in names if name.startswith(incomplete))
