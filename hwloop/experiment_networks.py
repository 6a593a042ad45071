"""The ``[network]`` of an experiment file, in one of four forms:

chain     hidden = [120], tau_mem = ..., ...: fully connected LIF layers
layered   layers = [{kind = "conv2d", ...}, {kind = "lif", ...}, ...]: maps and populations in a row
graph     [[network.populations]] and [[network.projections]]: any graph, loops and delays too
nir-file  nir = "file.nir": a network of another package, with its weights

Its keys say which form it is; ``form = "..."`` may be stated.
"""

from __future__ import annotations

import difflib
import math
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator

from .errors import HwloopError, InputError
from .experiment_layers import (
    DeltaLifTable,
    Ends,
    IfTable,
    LayerTable,
    LifTable,
    LiTable,
    MapTable,
    Sizes,
    _Neurons,
)
from .experiment_own_data import beside_task
from .experiment_sections import NetworkSection, Section, Text
from .network import Input, Network, Projection
from .network.linear_map import LinearMap, Shape
from .network.populations import Population

#: What a key says about the form of the network.
KEYS = {
    "hidden": "chain", "layers": "layered", "populations": "graph", "projections": "graph", "nir": "nir-file",
}  # fmt: skip

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$")]


def with_form(network: Any) -> Any:
    """The table with the form that its keys say, where it states none."""
    if not isinstance(network, dict) or "form" in network:
        return network
    known = [KEYS[key] for key in network if key in KEYS]
    near = [KEYS[found[0]] for key in network if (found := difflib.get_close_matches(str(key), KEYS, 1, 0.7))]
    return {"form": next(iter([*known, *near]), "chain"), **network}


class _Built(Section):
    """Base of the forms whose hidden populations are known when they are built."""

    def build(self, n_in: int, n_out: int, seed: int) -> Network:
        """A network with first weights drawn from ``seed``; :class:`InputError` where it does not fit the task."""
        net = self._made(n_in, n_out, seed)
        structure = net.structure
        if net.n_in != n_in:
            raise InputError(f"network: its inputs have {net.n_in} units; the task has {n_in}")
        if net.n_out != n_out:
            raise InputError(
                f"network: its output {structure.output!r} has {net.n_out} units; the task has {n_out} classes"
            )
        return net

    def hidden_populations(self, n_in: int, n_out: int) -> int:
        """Spiking populations before the output."""
        structure = self.build(n_in, n_out, 0).structure
        return len(structure.populations) - (structure.output in structure.populations)

    @abstractmethod
    def _made(self, n_in: int, n_out: int, seed: int) -> Network:
        """The network of these sizes, before it is compared with the task's."""


class LayeredNetwork(_Built):
    """Maps and populations in a row; the last ``dense`` before the output needs no ``n``: the task's classes.

    ``in_shape``: channels, height and width of the input, where maps come first.
    """

    form: Literal["layered"]
    layers: Annotated[list[LayerTable], Field(min_length=2, max_length=200)]
    in_shape: Sizes | None = None

    def _made(self, n_in: int, n_out: int, seed: int) -> Network:
        generator = torch.Generator().manual_seed(seed)
        shape = first = _shape("network.in_shape", self.in_shape, n_in)
        last = max((k for k, layer in enumerate(self.layers) if not isinstance(layer, _Neurons)), default=-1)
        made: list[torch.nn.Module] = []
        for k, layer in enumerate(self.layers):
            where = f"network.layers.{k} ({layer.kind})"
            if isinstance(layer, _Neurons):
                made.append(_neurons(layer, shape, where))
            else:
                made.append(_map(layer, Ends(shape, n_out if k == last else None, generator), where))
                shape = _after(made[-1], shape, where)
        try:
            return Network(made, in_shape=first)
        except HwloopError as error:
            raise InputError(f"network.layers: {error}") from None


class _Named(Section):
    name: _Name
    n: Sizes | None = None


class InputNode(_Named):
    """``hl.Input``; without ``n`` it has the units of the task."""

    kind: Literal["input"]


class LifNode(_Named, LifTable):
    """``hl.LIF`` with a name."""


class DeltaLifNode(_Named, DeltaLifTable):
    """``hl.DeltaLIF`` with a name."""


class IfNode(_Named, IfTable):
    """``hl.IF`` with a name."""


class LiNode(_Named, LiTable):
    """``hl.LI`` with a name."""


class ProjectionTable(Section):
    """``hl.Projection``: maps in a row; a ``dense`` without ``n`` leads to the target's units."""

    source: _Name
    target: _Name
    maps: Annotated[list[MapTable], Field(min_length=1, max_length=50)]


class GraphNetwork(_Built):
    """Named inputs and populations, and projections between them; a population without ``n`` has the task's classes."""

    form: Literal["graph"]
    output: _Name | None = None
    populations: Annotated[
        list[Annotated[InputNode | LifNode | DeltaLifNode | IfNode | LiNode, Field(discriminator="kind")]],
        Field(min_length=2, max_length=200),
    ]
    projections: Annotated[list[ProjectionTable], Field(min_length=1, max_length=2000)]

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [node.name for node in self.populations]
        for k, name in enumerate(names):
            if name in names[:k]:
                raise ValueError(f"populations.{k}.name = {name!r} stands twice; allowed: a name of its own for each")
        for k, projection in enumerate(self.projections):
            for end in ("source", "target"):
                if (name := getattr(projection, end)) not in names:
                    near = difflib.get_close_matches(name, names, 1)
                    more = f". Did you mean {near[0]!r}?" if near else ""
                    raise ValueError(
                        f"projections.{k}.{end} = {name!r}; allowed: a population, {', '.join(map(repr, names))}{more}"
                    )
        return self

    def _made(self, n_in: int, n_out: int, seed: int) -> Network:
        generator = torch.Generator().manual_seed(seed)
        nodes: dict[str, Population] = {}
        for k, node in enumerate(self.populations):
            where = f"network.populations.{k} ({node.name})"
            if isinstance(node, InputNode):
                nodes[node.name] = Input(_shape(f"{where}: n", node.n, None if node.n else n_in))
            else:
                nodes[node.name] = _neurons(node, _shape(f"{where}: n", node.n, None if node.n else n_out), where)
        links = [self._projection(k, nodes, generator) for k in range(len(self.projections))]
        try:
            return Network.graph(nodes, links, self.output)
        except HwloopError as error:
            raise InputError(f"network: {error}") from None

    def _projection(self, k: int, nodes: dict[str, Population], generator: torch.Generator) -> Projection:
        table = self.projections[k]
        shape, wanted, maps = nodes[table.source].shape, nodes[table.target].n, []
        for j, layer in enumerate(table.maps):
            where = f"network.projections.{k} ({table.source} -> {table.target}).maps.{j} ({layer.kind})"
            maps.append(_map(layer, Ends(shape, wanted, generator), where))
            shape = _after(maps[-1], shape, where)
        return Projection(table.source, table.target, maps)


class NirNetwork(_Built):
    """A NIR file and how its numbers are meant, as of :meth:`hwloop.Network.from_nir`; ``spike_step`` (s) instead of ``spike``.

    A relative path counts from the folder of the experiment's file.
    """

    form: Literal["nir-file"]
    nir: Annotated[Text, Field(min_length=1)]
    time_unit: Literal["s", "ms", "us"] | None = None
    spike: Literal["jump", "delta"] | None = None
    spike_step: Annotated[float, Field(gt=0, le=10)] | None = None
    reset: Literal["value", "subtract"] | None = None
    output: Text | None = None

    @model_validator(mode="after")
    def _one_spike(self) -> Self:
        if self.spike is not None and self.spike_step is not None:
            raise ValueError("spike and spike_step say the same; state one of them")
        return self

    def _made(self, n_in: int, n_out: int, seed: int) -> Network:
        spike = self.spike if self.spike_step is None else self.spike_step
        return Network.from_nir(Path(self.nir), self.time_unit, spike=spike, reset=self.reset, output=self.output)


NetworkForm = Annotated[NetworkSection | LayeredNetwork | GraphNetwork | NirNetwork, Field(discriminator="form")]


def beside(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The document of an experiment, the paths of its files made absolute, which are relative to ``folder``."""
    found = dict(document)
    for section, key in (("network", "nir"), ("target", "preset")):
        table = document.get(section)
        path = table.get(key) if isinstance(table, dict) else None
        if isinstance(path, str) and path and (key == "nir" or path.endswith(".toml")):
            found[section] = {**document[section], key: str((folder / path).resolve())}
    if isinstance(task := document.get("task"), dict):
        found["task"] = beside_task(task, folder)
    return found


def _shape(name: str, given: list[int] | None, units: int | None) -> Shape:
    shape = (units or 0,) if given is None else tuple(given)
    if len(shape) == 2 or (units is not None and math.prod(shape) != units):
        wanted = "" if units is None else f" of {units} units in all, as the task has"
        raise InputError(f"{name} = {list(shape)}; allowed: one number, or channels, height, width{wanted}")
    return shape


def _neurons(table: Any, shape: Shape, where: str) -> Population:
    try:
        made: Population = table.build(shape)
    except HwloopError as error:
        raise InputError(f"{where}: {error}") from None
    return made


def _map(table: Any, ends: Ends, where: str) -> LinearMap:
    try:
        made: LinearMap = table.build(ends)
    except HwloopError as error:
        raise InputError(f"{where}: {error}") from None
    return made


def _after(layer: Any, shape: Shape, where: str) -> Shape:
    found: Shape = layer.out_shape(shape, where)
    return found
