"""From an error to an exit status and one clear message, without a traceback.

0    done
1    failed: data, checkpoint, target or network did not do
2    wrong use: an unknown command, option, name or target, or a value that is not allowed
130  interrupted (Ctrl-C); what was saved stays
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import HwloopError, InputError
from . import terminal

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

#: Work on batches of this project gains nothing from more threads, and loses much where cores are shared: torch's
#: threads wait for each other actively.
THREADS = 1


class Commands(TyperGroup):
    """The group of all commands: turns errors into messages."""

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            terminal.complain(str(error))
            raise typer.Exit(WRONG_USE) from None
        except HwloopError as error:
            terminal.complain(str(error))
            raise typer.Exit(FAILED) from None
        except OSError as error:  # of the system: a full disk, a folder where a file is meant, a path that is too long
            where = f"{error.filename}: " if error.filename is not None else ""
            terminal.complain(f"{where}{error.strerror or error}; check the path, its permissions and the space left")
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            terminal.note("interrupted")
            raise typer.Exit(INTERRUPTED) from None


class Command(TyperCommand):
    """A command that computes: it says how far it is, and torch runs on one thread unless told otherwise."""

    def invoke(self, ctx: Any) -> Any:
        """Run it; its help and its options have been dealt with before."""
        from .distributed_command import helps, refuse_torchrun
        from .patience import reporting

        distributed = bool(ctx.params.get("distributed"))
        if not distributed:
            refuse_torchrun(str(self.name))
        with _threads(), nullcontext() if helps(distributed) else reporting(), _plain_warnings():
            return super().invoke(ctx)


@contextmanager
def _threads() -> Iterator[None]:
    """One thread for torch, unless the user set OMP_NUM_THREADS."""
    import torch

    before = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as one line each, without the place in the source that they come from; each once."""
    seen: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if (text := str(message)) not in seen:
            seen.add(text)
            terminal.note(f"warning: {text}")

    before, warnings.showwarning = warnings.showwarning, show
    try:
        yield
    finally:
        warnings.showwarning = before
