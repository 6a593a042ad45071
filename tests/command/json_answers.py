"""Every command with its document: what is registered, what the page says of it, and a strict reader."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from hwloop.cli import app

from ..cli_runs import TINY

#: Three neurons: what is measured here is the documents.
SMALL = TINY.changed(network={"hidden": [3], "init_mean": [2.0, 2.0]}, task={"train": 20, "validation": 20, "test": 20})
CHIP = ("--target", "emulator:0", "--preset", "bss2")


def commands() -> dict[str, Any]:
    """Every command that is registered, by what a user types."""
    found: dict[str, Any] = {}

    def collect(group: Any, path: str) -> None:
        for name, command in group.commands.items():
            called = f"{path} {name}".strip()
            if hasattr(command, "commands"):
                collect(command, called)
            else:
                found[called] = command

    collect(typer.main.get_command(app), "")
    return found


def strict(text: str) -> Any:
    """One document, without NaN, infinities or a key that stands twice; nothing before or after it."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=once)


@dataclass(frozen=True)
class Shown:
    """What one call put out: its document, and what it would have said in words."""

    result: dict[str, Any]
    words: str


def documented() -> dict[str, set[str]]:
    """Keys that the page has for each command, in all its rows."""
    page = (Path(__file__).parents[2] / "docs/json.md").read_text("utf-8")
    (summary,) = re.findall(r"run folder holds: (.+?)\. An entry", page, re.DOTALL)
    found: dict[str, set[str]] = {}
    for name, keys in re.findall(r"^\| `([\w ]+?)(?: --\w+)?`[^|]*\| (.*) \|$", page, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"`(\w+)`", keys))
    for keys in found.values():
        if "summary" in keys:
            keys |= set(re.findall(r"`(\w+)`", summary))
    return found
