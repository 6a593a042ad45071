"""Pythons are found where they really start; a name on the PATH that starts nothing is passed over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from .pythons import SUPPORTED, interpreters


def shim(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def says(minor: int) -> str:
    return f"echo 3.{minor}"


@pytest.fixture
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_every_supported_python_is_one_of_the_classifiers() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert [minor for minor in range(8, 20) if f"Python :: 3.{minor}" in text] == list(SUPPORTED)
    assert sys.version_info.minor in SUPPORTED


def test_a_name_that_starts_nothing_is_passed_over_for_what_pyenv_keeps(nothing_here: Path) -> None:
    shim(nothing_here / "bin/python3.12", "exit 127")
    kept = [shim(nothing_here / f"pyenv/versions/3.12.{k}/bin/python3.12", says(12)) for k in (9, 10)]
    assert interpreters() == [str(kept[1])]  # the newest


def test_a_python_that_is_another_one_or_has_no_venv_is_not_taken(nothing_here: Path) -> None:
    shim(nothing_here / "bin/python3.11", says(13))
    shim(nothing_here / "bin/python3.13", "exit 1")
    assert interpreters() == []


def test_what_is_on_the_path_comes_first_and_what_is_asked_for_is_taken_as_it_is(nothing_here: Path) -> None:
    shim(nothing_here / "bin/python3.11", says(11))
    shim(nothing_here / "pyenv/versions/3.11.2/bin/python3.11", says(11))
    assert interpreters() == ["python3.11"]
    assert interpreters(["/mine/python"]) == ["/mine/python"]
