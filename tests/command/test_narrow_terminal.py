"""On a terminal of 80 columns nothing is wider, and nothing is lost by that."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from hwloop.command import terminal
from tests.cli_runs import TINY, done, untrained

WIDTH = 80


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "Console", partial(Console, force_terminal=True, color_system=None, width=WIDTH))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained(tmp_path_factory.mktemp("narrow") / "run", TINY)


def shown(*arguments: object) -> list[str]:
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in done(*arguments).stdout.splitlines()]
    assert len(lines) > 5
    return lines


@pytest.mark.parametrize("command", ["targets", "doctor", "targets emulator:7 --preset bss2"])
@pytest.mark.usefixtures("on_a_terminal")
def test_what_is_listed_fits(command: str) -> None:
    lines = shown(*command.split())
    # a word that has no room in a line of its own is a path: it may be longer
    assert [line for line in lines if len(line.rstrip()) > WIDTH and len(line.split()) > 1] == []


@pytest.mark.usefixtures("on_a_terminal")
def test_results_fit_with_their_figures_unbroken(run: Path) -> None:
    lines = shown("deploy", run, "-t", "emulator:7", "--preset", "bss2", "--runs", 1)
    assert max(len(line.rstrip()) for line in lines) <= WIDTH
    rows = [line.split() for line in lines if line.split()[:2] == ["software", "simulator"]]
    assert [row[3:5] for row in rows] == [["validation", "40"], ["test", "40"]]
    text = "".join("".join(lines).split())
    assert "program" in text
    assert "bss2/" in text


@pytest.mark.usefixtures("on_a_terminal")
def test_a_long_word_stays_whole_and_words_stay_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/a/" + "x" * 100
    terminal.say(f"report: {path} {'word ' * 30}\n  indented")
    lines = capsys.readouterr().out.splitlines()
    assert path in lines
    assert [line for line in lines if len(line) > WIDTH] == [path]
    assert " ".join(" ".join(lines).split()).endswith("word word indented")
