"""What a network is made of, how much it spikes, and what it takes of a target: a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from ..errors import CompileError, InputError
from ..record import Record
from ..spikes import Spikes
from .linear_map import LinearMap
from .populations import Input, Population
from .structure import Link

if TYPE_CHECKING:
    from .model import Network

#: Constants of neurons that are shown, with the unit that they are shown in and its worth.
CONSTANTS = {"tau_mem": (" ms", 1e-3), "tau_syn": (" ms", 1e-3), "v_th": ("", 1.0)}
#: Columns in which numbers stand.
NUMERIC = ("neurons", "trained", "tau_mem", "tau_syn", "v_th", "spikes", "silent")


@dataclass(frozen=True)
class NetworkSummary:
    """A row for each input and population, and lines below; ``str()`` and notebooks show it as a table.

    Attributes
    ----------
    columns : names of the columns
    rows : of text
    lines : totals, and what a target says
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]

        def line(cells: tuple[str, ...]) -> str:
            places = zip(self.columns, cells, widths, strict=True)
            return "  ".join(f"{cell:>{n}}" if name in NUMERIC else f"{cell:<{n}}" for name, cell, n in places).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        return "\n".join([line(self.columns), rule, *map(line, self.rows), rule, *self.lines])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        below = "<br>".join(map(escape, self.lines))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{below}</p>"


def summary_of(net: Network, target: Any = None, spikes: Spikes | Record | None = None) -> NetworkSummary:
    """As :meth:`hwloop.Network.summary`."""
    structure = net.structure
    record = _record(net, spikes)
    columns = ("population", "neurons", "driven by", "trained", *CONSTANTS)
    rows = []
    for name, node in structure.nodes.items():
        links = [link for link in structure.links if link.target == name]
        driven = " + ".join(f"{_maps(link)} of {link.source}" for link in links) or "-"
        shape, values = " x ".join(map(str, node.shape)), [_constant(node, key) for key in CONSTANTS]
        row = (f"{name} ({type(node).__name__})", shape, driven, str(_trained(node, links)), *values)
        rows.append(row if record is None else (*row, *_rates(record, name, node)))
    if record is not None:
        columns = (*columns, "spikes", "silent")
    held = sum(p.numel() for p in net.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in net.parameters() if not p.requires_grad)
    lines = [f"{held} trained values" + (f", {frozen} parameters that are not trained" if frozen else "")]
    lines[0] += (
        f"; {sum(node.n for node in structure.nodes.values() if not isinstance(node, Input))} neurons, output {structure.output}"
    )
    if record is not None:
        lines.append("spikes: of a neuron in a sample, on average; silent: share of neurons without any in all samples")
    return NetworkSummary(columns, tuple(rows), (*lines, *([] if target is None else _fit(net, target))))


def _record(net: Network, spikes: Spikes | Record | Mapping[str, Spikes] | None) -> Record | None:
    if spikes is None or isinstance(spikes, Record):
        return spikes
    with torch.no_grad():
        return net(spikes)


def _maps(link: Link) -> str:
    """The maps of a projection in a row, each by its class and what is special about it."""
    return ", ".join(_map(layer) for layer in link.composition.maps)


def _map(layer: LinearMap) -> str:
    extras = [
        name for name in ("bias", "delay") if getattr(layer, name, None) is not None and type(layer).__name__ != "Delay"
    ]
    return type(layer).__name__ + (f" ({', '.join(extras)})" if extras else "")


def _trained(node: Population, links: list[Link]) -> int:
    modules = [node, *(layer for link in links for layer in link.composition.maps)]
    distinct = {id(p): p for module in modules for p in module.parameters() if p.requires_grad}
    return sum(p.numel() for p in distinct.values())


def _constant(node: Population, name: str) -> str:
    """One value, or the least and the largest of the neurons."""
    value, (unit, worth) = getattr(node, name, None), CONSTANTS[name]
    if not isinstance(value, torch.Tensor):
        return "-"
    low, high = value.detach().min().item() / worth, value.detach().max().item() / worth
    return f"{low:.3g}{unit}" if low == high else f"{low:.3g}..{high:.3g}{unit}"


def _rates(record: Record, name: str, node: Population) -> tuple[str, str]:
    """Spikes of a neuron in a sample, and the share of neurons that never spike."""
    if name in record.names:
        train = record[name]
    elif isinstance(node, Input) and record.inputs is not None and record.inputs.n_units == node.n:
        train = record.inputs
    else:
        return "-", "-"
    counts = train.unit_counts().double()
    return f"{counts.mean().item():.3g}", f"{100 * (counts.sum(0) == 0).double().mean().item():.1f} %"


def _fit(net: Network, target: Any) -> list[str]:
    """What the network takes of a target, or why the target cannot carry it."""
    # networks know no devices: a target is used through the public names, as anybody would
    registry = import_module("hwloop.device.registry")
    if isinstance(target, str):
        target = registry.find(target)
    described = getattr(target, "target", target)
    if not hasattr(described, "capabilities"):
        raise InputError(
            f"target is {type(target).__name__}; allowed: the name of a target, a target, or an opened device"
        )
    try:
        program = registry.compile_quietly(net, target)
    except CompileError as error:
        return [f"does not fit {described.name}: {error}"]
    report = program.report()
    fan_in = max(use.fan_in for use in report.layers)
    return [
        f"fits {described.name}: {report.headline}",
        f"fan-in {fan_in} of {report.fan_in_available}, {100 * report.neurons / report.neurons_available:.2g} % of the neurons",
        *(f"warning: {warning}" for warning in report.warnings),
        *(f"note: {note}" for note in report.notes),
    ]
