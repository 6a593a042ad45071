"""What `hwloop targets` prints: the registered backends, or one target in full."""

from __future__ import annotations

from typing import Any

from ..device.registry import Target, available, describe, factory, find, presets
from ..errors import HwloopError, OptionError
from . import terminal
from .answer import Answer
from .target_choice import TargetChoice

#: Columns of what a target does to a network.
EFFECT = ("limit or effect", "value", "source")


def list_targets() -> Answer:
    """Every backend with its limits; one that does not import says so in its row."""
    found = [entry for backend, where in available().items() for entry in _entries(backend, where)]

    def words() -> None:
        columns = ("target", "neurons", "fan-in", "weights", "speedup", "presets", "backend")
        terminal.table(columns, [_row(entry) for entry in found], columns[1:5])
        terminal.say(
            "limits are those of each backend's default; `hwloop targets TARGET [--preset NAME]` shows one in full"
        )

    return Answer({"targets": found}, words)


def _entries(backend: str, where: str) -> list[dict[str, Any]]:
    """What there is of ``backend``: its ports, where it has ports, else its default; or why there is nothing."""
    boards = _boards(backend)
    if boards is not None:
        return boards
    try:
        target = some(backend)
    except HwloopError as error:
        return [{"target": backend, "problem": str(error)}]
    limits = target.capabilities
    return [{"target": target.name, "limits": limits, "presets": presets(backend), "backend": where}]


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    if "limits" not in entry:
        return (entry["target"], *["-"] * 5, entry["problem"] if "problem" in entry else entry["port"])
    limits = entry["limits"]
    weights = "real" if limits.weight_bits is None else f"{limits.weight_bits} bit"
    figures = (f"{limits.n_neurons}", f"{limits.fan_in}", weights, f"{limits.speedup:g}", _names(entry["presets"]))
    return (entry["target"], *figures, entry["backend"])


def _boards(backend: str) -> list[dict[str, Any]] | None:
    """Each port of a backend that has ports, whatever is connected there; None for another backend."""
    try:
        ports = getattr(factory(backend), "ports", None)
    except HwloopError:
        return None
    if ports is None:
        return None
    found = ports()
    if not found:
        return [{"target": backend, "problem": "no serial port; `hwloop serve` makes a board of a target"}]
    return [{"target": f"{backend}:{port.device}", "port": str(port)} for port in found]


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "-"


def some(backend: str) -> Target:
    """A target of ``backend``: without address, or number 0 where it wants one; where neither is, what it says it wants."""
    try:
        return find(backend)
    except HwloopError as error:
        try:
            return find(f"{backend}:0")
        except HwloopError:
            raise error from None


def show_target(name: str | None, choice: TargetChoice) -> Answer:
    """Limits of one target, and what it does to a network; without a name, of the backend that has the preset."""
    name = name or _with_presets()
    target = choice.find_named(name)
    rows = describe(target)

    def words() -> None:
        terminal.say(target.capabilities.describe())
        if rows:
            terminal.say("")
            terminal.say("what differs from ideal:", "bold")
            terminal.table(EFFECT, rows)

    effects = [dict(zip(("name", "value", "source"), row, strict=True)) for row in rows]
    return Answer({"target": target.name, "limits": target.capabilities, "effects": effects}, words)


def _with_presets() -> str:
    for backend in available():
        try:
            if presets(backend):
                return f"{backend}:0"
        except HwloopError:  # a backend that does not import has no presets to show
            continue
    raise OptionError("no backend with presets is installed; name a target, see `hwloop targets`")
