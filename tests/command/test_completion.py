"""Shells complete ``hwloop`` with the script that it prints; each is really run, where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from hwloop.command import completion
from hwloop.experiments import builtin
from hwloop.target import ENTRY_POINT_GROUP, available

from ..cli_runs import done, refused

#: Lines, and the first that bash proposes for the last word; files where nothing is proposed.
LINES = {
    "hwloop fin": "finetune",
    "hwloop calibrations sh": "show",
    "hwloop targets --js": "--json",
    "hwloop deploy out/yy --target emu": "emulator",
    "hwloop train yin": "yin-yang",
    "hwloop completion f": "fish",
    "hwloop deploy out/no-such": "",
}
#: What bash does on TAB: it finds the function of the command, and calls it with the words of the line.
BASH = """
eval "$(hwloop completion bash)"
spec=$(complete -p hwloop)
function=${spec#*-F }; function=${function%% *}
echo "$spec"
for line in "$@"; do
    COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$line; COMP_POINT=${#line}; COMPREPLY=()
    "$function" hwloop
    echo "${COMPREPLY[0]}"
done
"""
#: zsh without its line editor: what the function hands to _arguments and _describe is shown.
ZSH = """
compdef() { :; }
_arguments() { printf '%%s\\n' "$@"; }
_describe() { printf '%%s\\n' "$@"; }
eval "$(hwloop completion zsh)"
words=(%s); CURRENT=${#words}
_hwloop_completion
"""
FISH = """
hwloop completion fish | source
complete --do-complete "%s"
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which this hwloop is found by its name."""
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "hwloop"
    script.write_text(f"#!{sys.executable}\nfrom hwloop.cli import app\napp(prog_name='hwloop')\n")
    script.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def needs(shell: str) -> None:
    """Skip the test where there is no such shell, unless nothing may be skipped."""
    if shutil.which(shell) is None:
        if os.environ.get("CI") or os.environ.get("HWLOOP_NEEDS_TOOLS"):
            pytest.fail(f"no {shell} here; install it")
        pytest.skip(f"no {shell} here")


def said(path: str, *command: str) -> list[str]:
    environment = {**os.environ, "PATH": path, "TERM": "dumb"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "rror" not in done.stderr
    return done.stdout.splitlines()


def test_bash_completes_what_was_begun(path: str) -> None:
    needs("bash")
    spec, *found = said(path, "bash", "--norc", "-c", BASH, "bash", *LINES)
    assert "-o default" in spec  # where there is nothing to propose, bash proposes files
    assert dict(zip(LINES, found, strict=True)) == LINES


def test_zsh_completes_what_was_begun(path: str) -> None:
    needs("zsh")
    assert any("finetune" in word for word in said(path, "zsh", "-f", "-c", ZSH % "hwloop fin"))


def test_fish_completes_what_was_begun(path: str) -> None:
    needs("fish")
    (only,) = said(path, "fish", "--no-config", "-c", FISH % "hwloop fin")
    assert only.startswith("finetune\t")


@pytest.mark.parametrize("shell", list(completion.Shell))
def test_each_script_names_the_command_and_asks_it_by_the_variable_that_typer_reads(shell: str) -> None:
    script = done("completion", shell).stdout
    assert f"_HWLOOP_COMPLETE=complete_{shell}" in script
    assert "hwloop" in script.replace("_HWLOOP", "")


def test_another_shell_is_refused_with_those_that_there_are() -> None:
    refused(2, "bash.*zsh.*fish", "completion", "tcsh")


def test_experiments_and_targets_are_those_that_there_are() -> None:
    assert completion.GROUP == ENTRY_POINT_GROUP
    assert completion.targets("") == sorted(available())
    assert completion.experiments("") == list(builtin())
    assert completion.experiments("mnist-784") == [name for name in builtin() if name.startswith("mnist-784")]
