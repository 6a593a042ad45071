"""The command as a user calls it, on the smallest experiment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from hwloop.cli import app
from hwloop.command.folder import opened
from hwloop.experiment import Experiment

TINY = Experiment.load(Path(__file__).with_name("tiny.toml"))


def run(*arguments: object) -> Result:
    # wide enough that no message is wrapped
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb"})


def done(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert not re.search(r"error|Traceback", result.stderr)  # progress alone
    return result


def refused(status: int, message: str, *arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert re.search(message, result.stderr), result.stderr
    assert "Traceback" not in result.output
    return result


def file_of(folder: Path, experiment: Experiment) -> Path:
    path = folder / f"{experiment.name}.toml"
    path.write_text(experiment.to_toml())
    return path


def untrained(folder: Path, experiment: Experiment) -> Path:
    """A run folder with the first weights as its network."""
    with opened(folder, "train") as out:
        out.begin(experiment)
        out.save_network(experiment.build_network(), 0)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def without_clock(document: Any) -> Any:
    if isinstance(document, dict):
        return {k: without_clock(v) for k, v in document.items() if k not in ("seconds", "command")}
    return [without_clock(v) for v in document] if isinstance(document, list) else document


def preset_file(folder: Path, old: str, new: str) -> Path:
    text = (Path(__file__).parents[1] / "backends/hwloop_emulator/presets/bss2.toml").read_text()
    assert old in text
    (folder / "mine.toml").write_text(text.replace(old, new, 1))
    return folder / "mine.toml"
