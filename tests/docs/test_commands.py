"""Commands that the pages show exist, with these options: hwloop, make, scripts of the project, test files."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from hwloop.cli import app

from .support import PAGES, ROOT, name_of, shell_lines

COMMAND = typer.main.get_command(app)
_START = re.compile(r"(?:.*?/bin/)?(?:python3? -m )?hwloop (.*)|torchrun .*?-m hwloop (.*)")


def hwloop_arguments(line: str) -> list[str] | None:
    """What follows ``hwloop`` in ``line``, where it begins a command."""
    found = _START.fullmatch(line)
    if found is None:
        return None
    rest = (found[1] or found[2]).replace("...", " ").replace("[", " ").replace("]", " ").split(" | ")[0].split("; ")[0]
    return shlex.split(rest)


def unknown(arguments: list[str]) -> str | None:
    """The first word of ``arguments`` that the command does not know."""
    command: Any = COMMAND
    while hasattr(command, "commands") and arguments and not arguments[0].startswith("-"):
        if arguments[0] not in command.commands:
            return arguments[0]
        command, arguments = command.commands[arguments[0]], arguments[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help",
        "-h",
    }
    return next((word for word in arguments if word.startswith("-") and word.split("=")[0] not in options), None)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_of_a_page_exist_with_their_options(page: Path) -> None:
    for line in shell_lines(page):
        arguments = hwloop_arguments(line)
        if arguments:
            assert unknown(arguments) is None, f"{line!r}: no {unknown(arguments)!r}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_targets_of_make_and_scripts_of_a_page_exist(page: Path) -> None:
    makefiles = [
        ROOT / "Makefile",
        *ROOT.glob("tests/*/Makefile.inc"),
        ROOT / "backends/hwloop_serial/firmware/Makefile.inc",
        ROOT / "backends/hwloop_rtl/Makefile.inc",
    ]
    targets = {name for path in makefiles for name in re.findall(r"^([a-z-]+):", path.read_text("utf-8"), re.MULTILINE)}
    for line in shell_lines(page):
        words = line.split()
        if words[:1] == ["make"] and words[1:2] and "-C" not in words:
            assert words[1] in targets, line
        for word in words if re.match(r"(?:python|pytest|torchrun)\b", line) else ():
            path = word.split("::")[0]
            if re.fullmatch(r"(?:examples|studies|tests|docs|backends)/[\w./-]+", path):
                assert (ROOT / path).exists(), line
        script = re.match(r"(?:python|torchrun .*?) ((?:examples|studies|docs|backends)/[\w./]+\.py)(.*)", line)
        if script:
            source = (ROOT / script[1]).read_text("utf-8")
            for option in re.findall(r"(?<=\s)--[a-z-]+", script[2]):
                assert f'"{option}"' in source, f"{line!r}: {script[1]} has no {option}"


def test_a_wrong_command_is_noticed() -> None:
    assert unknown(hwloop_arguments("hwloop deploy out/yy --targt loihi") or []) == "--targt"
    assert unknown(hwloop_arguments("python -m hwloop deploi out/yy") or []) == "deploi"
    assert unknown(hwloop_arguments("hwloop nir chek net.nir") or []) == "chek"
    assert unknown(hwloop_arguments("hwloop deploy out/yy --target loihi") or []) is None


def test_pages_show_every_command() -> None:
    """One that no page shows is found by nobody."""
    shown = {arguments[0] for page in PAGES for line in shell_lines(page) if (arguments := hwloop_arguments(line))}
    commands: set[str] = set(COMMAND.commands)  # type: ignore[attr-defined]  # a group, of whatever click typer brings
    assert len(commands) > 15
    assert commands <= shown
