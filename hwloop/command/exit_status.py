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
from functools import cache
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import HwloopError, InputError
from . import options, terminal
from .answer import Answer, as_json, give, give_error

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130

#: Work on batches of this project gains nothing from more threads, and loses much where cores are shared: torch's
#: threads wait for each other actively.
THREADS = 1


#: What typer raises for wrong use; it brings a click of its own, whose names are not public.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
#: What contexts of a call share: whether a document is asked for, and of which command.
_ASKED, _COMMAND = "hwloop.json", "hwloop.command"
#: The option of every command, and the one of those that also write what they found into a file.
JSON, JSON_FILE = "--json", "--json-file"


class Commands(TyperGroup):
    """The group of all commands: turns errors into messages, and into documents where those are asked for."""

    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of a call; of its arguments those before the command are read here."""
        asked = _asks(args)
        try:
            ctx = super().make_context(info_name, args, parent, **extra)
        except _UsageError as error:
            _wrong_use(error, asked)
            raise
        ctx.meta.setdefault(_ASKED, asked)
        return ctx

    def invoke(self, ctx: Any) -> Any:
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except _UsageError as error:
            _wrong_use(error, ctx.meta[_ASKED])
            raise
        except InputError as error:
            raise _ended(ctx, error, str(error), WRONG_USE) from None
        except HwloopError as error:
            raise _ended(ctx, error, str(error), FAILED) from None
        except OSError as error:  # of the system: a full disk, a folder where a file is meant, a path that is too long
            where = f"{error.filename}: " if error.filename is not None else ""
            message = f"{where}{error.strerror or error}; check the path, its permissions and the space left"
            raise _ended(ctx, error, message, FAILED) from None
        except KeyboardInterrupt as error:
            raise _ended(ctx, error, "interrupted", INTERRUPTED) from None


def _ended(ctx: Any, error: BaseException, message: str, status: int) -> typer.Exit:
    """Say why the command ended, and the exit that it ends with."""
    if isinstance(error, KeyboardInterrupt):
        terminal.note(message)
    else:
        terminal.complain(message)
    if ctx.meta[_ASKED]:
        give_error(ctx.meta.get(_COMMAND, ""), type(error).__name__, message, status)
    return typer.Exit(status)


def _wrong_use(error: Any, asked: bool) -> None:
    """The document of what typer refuses; its words are typer's."""
    if asked:
        give_error("" if error.ctx is None else _path(error.ctx), "OptionError", error.format_message(), WRONG_USE)


def _asks(args: list[str]) -> bool:
    """Whether a document is asked for, as far as it can be told before the command is known."""
    before = args[: args.index("--")] if "--" in args else args
    return JSON in before and not _names_file([*before, ""][before.index(JSON) + 1])


def _names_file(word: str) -> bool:
    return word.endswith(".json") and not word.startswith("-")


def _path(ctx: Any) -> str:
    """The command of ``ctx``, such as ``"nir check"``."""
    return "" if ctx.parent is None else f"{_path(ctx.parent)} {ctx.info_name}".strip()


class Answering(TyperCommand):
    """A command that returns an :class:`~.answer.Answer`: said in words, or with ``--json`` as one document."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.append(_json_option())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options; ``--json FILE.json`` is ``--json-file FILE.json`` where there is such an option."""
        ctx.meta[_COMMAND] = _path(ctx)
        if any(JSON_FILE in parameter.opts for parameter in self.params):
            args = [JSON_FILE if word == JSON and _names_file(then) else word for word, then in pairwise([*args, ""])]
        rest = super().parse_args(ctx, args)
        ctx.meta[_ASKED] = ctx.params["json"]
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run it, and give its answer."""
        asked = ctx.params.pop("json")
        with as_json(_path(ctx)) if asked else nullcontext():
            answer: Answer | None = super().invoke(ctx)
            if answer is not None:
                give(answer)
        if answer is not None and not answer.passed:
            raise typer.Exit(FAILED)


@cache
def _json_option() -> Any:
    """The option, as typer makes one: its classes take other arguments in every version."""
    app = typer.Typer(add_completion=False)

    @app.command()
    def command(json: options.Json = False) -> None:
        raise NotImplementedError

    return typer.main.get_command(app).params[0]


class Command(Answering):
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
