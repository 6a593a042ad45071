"""What `hwloop targets` prints: the registered backends, or one target in full."""

from __future__ import annotations

from ..device.registry import Target, available, describe, factory, find, presets
from ..errors import HwloopError, OptionError
from . import terminal
from .target_choice import TargetChoice


def list_targets() -> None:
    """Every backend with its limits; one that does not import says so in its row."""
    rows: list[tuple[str, ...]] = []
    for backend, where in available().items():
        if (boards := _boards(backend)) is not None:
            rows += boards
            continue
        try:
            target = some(backend)
            limits = target.capabilities
            weights = "real" if limits.weight_bits is None else f"{limits.weight_bits} bit"
            figures = (
                f"{limits.n_neurons}",
                f"{limits.fan_in}",
                weights,
                f"{limits.speedup:g}",
                _names(presets(backend)),
            )
            rows.append((target.name, *figures, where))
        except HwloopError as error:
            rows.append((backend, *["-"] * 5, str(error)))
    columns = ("target", "neurons", "fan-in", "weights", "speedup", "presets", "backend")
    terminal.table(columns, rows, columns[1:5])
    terminal.say(
        "limits are those of each backend's default; `hwloop targets TARGET [--preset NAME]` shows one in full"
    )


def _boards(backend: str) -> list[tuple[str, ...]] | None:
    """A row for each port of a backend that has ports, whatever is connected there; None for another backend."""
    try:
        ports = getattr(factory(backend), "ports", None)
    except HwloopError:
        return None
    if ports is None:
        return None
    found = ports()
    if not found:
        return [(backend, *["-"] * 5, "no serial port; `hwloop serve` makes a board of a target")]
    return [(f"{backend}:{port.device}", *["-"] * 5, str(port)) for port in found]


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


def show_target(name: str | None, choice: TargetChoice) -> None:
    """Limits of one target, and what it does to a network; without a name, of the backend that has the preset."""
    target = choice.find_named(name or _with_presets())
    terminal.say(target.capabilities.describe())
    rows = describe(target)
    if rows:
        terminal.say("")
        terminal.say("what differs from ideal:", "bold")
        terminal.table(("limit or effect", "value", "source"), rows)


def _with_presets() -> str:
    for backend in available():
        try:
            if presets(backend):
                return f"{backend}:0"
        except HwloopError:  # a backend that does not import has no presets to show
            continue
    raise OptionError("no backend with presets is installed; name a target, see `hwloop targets`")
