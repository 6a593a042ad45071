"""A NIR graph without nested graphs: nodes by name and edges that exist, or a refusal by name."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir

from ...errors import InputError

#: Nodes with a state of their own.
NEURONS = (nir.CubaLIF, nir.CubaLI, nir.LIF, nir.LI, nir.IF)
#: Linear maps on the way from neurons to neurons.
MAPS = (
    nir.Linear, nir.Affine, nir.Conv1d, nir.Conv2d, nir.SumPool2d, nir.AvgPool2d, nir.Flatten, nir.Scale, nir.Delay,
)  # fmt: skip


@dataclass
class Flat:
    """Nodes and edges of a graph and of those in it, which are named ``outer.inner``.

    Attributes
    ----------
    through : Input and Output nodes of nested graphs, which pass on what they get
    notes : what was mended in the file, to be said
    """

    nodes: dict[str, nir.NIRNode]
    edges: list[tuple[str, str]]
    metadata: Mapping[str, Any]
    through: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.before: dict[str, list[str]] = defaultdict(list)
        self.after: dict[str, list[str]] = defaultdict(list)
        for a, b in self.edges:
            self.before[b].append(a)
            self.after[a].append(b)

    def names(self, kind: type | tuple[type, ...]) -> list[str]:
        """Names of the nodes of ``kind``, in their order; not those that pass on."""
        return [name for name, node in self.nodes.items() if isinstance(node, kind) and name not in self.through]

    @property
    def neurons(self) -> dict[str, nir.NIRNode]:
        """The nodes with a state, by name."""
        return {name: self.nodes[name] for name in self.names(NEURONS)}


def flattened(graph: nir.NIRGraph) -> Flat:
    """``graph`` with its nested graphs resolved and its structure checked.

    Raises :class:`InputError`, naming node or edge: an edge to a node that is not there, an edge that stands twice, a node of
    a kind that is not carried, an Input that is fed or an Output that leads on, a node that nothing feeds or that leads nowhere.
    """
    nodes: dict[str, nir.NIRNode] = {}
    through: set[str] = set()
    notes: list[str] = []
    edges = _collect(graph, "", nodes, through, notes)
    flat = Flat(nodes, edges, graph.metadata if isinstance(graph.metadata, dict) else {}, through, notes)
    for name, node in nodes.items():
        _check_kind(name, node)
        _check_ends(flat, name, node)
    return flat


def _collect(
    graph: nir.NIRGraph, prefix: str, nodes: dict[str, nir.NIRNode], through: set[str], notes: list[str]
) -> list[tuple[str, str]]:
    """Add the nodes of ``graph`` to ``nodes``; returns its edges, and those of graphs in it, in full names."""
    own = _edges(graph, prefix, notes)
    inner: list[tuple[str, str]] = []
    entry: dict[str, str] = {}
    leave: dict[str, str] = {}
    for name, node in graph.nodes.items():
        full = f"{prefix}{name}"
        if isinstance(node, nir.NIRGraph):
            inner += _collect(node, f"{full}.", nodes, through, notes)
            entry[name], leave[name] = (_gate(node, kind, full) for kind in (nir.Input, nir.Output))
            continue
        if full in nodes:
            raise InputError(f"two nodes are called {full!r} once graphs in graphs are resolved; give one another name")
        nodes[full] = node
        if prefix and isinstance(node, (nir.Input, nir.Output)):
            through.add(full)
    return inner + [(f"{prefix}{leave.get(a, a)}", f"{prefix}{entry.get(b, b)}") for a, b in own]


def _gate(graph: nir.NIRGraph, kind: type, name: str) -> str:
    """Full name, within the graph around it, of the one Input or Output of a nested graph."""
    found = [inner for inner, node in graph.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise InputError(
            f"node {name!r} is a graph with {len(found)} {kind.__name__} nodes ({listed(found)}); allowed: 1, since an edge to "
            "it does not say which. Split it, or export the network without nesting"
        )
    return f"{name.rsplit('.', 1)[-1]}.{found[0]}"


def _edges(graph: nir.NIRGraph, prefix: str, notes: list[str]) -> list[tuple[str, str]]:
    """Edges between nodes that exist. One name that is wrong throughout, where one node is left over, is that node."""
    edges = [(str(a), str(b)) for a, b in graph.edges]
    ends = {end for edge in edges for end in edge}
    unknown = sorted(ends - set(graph.nodes))
    loose = [name for name in graph.nodes if name not in ends]
    if len(unknown) == 1 and len(loose) == 1 and prefix and isinstance(graph.nodes[loose[0]], NEURONS):
        (wrong,), (right,) = unknown, loose
        notes.append(
            f"edges of the graph {prefix[:-1]!r} name {wrong!r}, which is not in it; taken for {right!r}, which no edge names"
        )
        edges = [(right if a == wrong else a, right if b == wrong else b) for a, b in edges]
    elif unknown:
        a, b = next(edge for edge in edges if set(edge) & set(unknown))
        raise InputError(
            f"edge {prefix + a!r} -> {prefix + b!r}: the graph has no node {prefix + unknown[0]!r}; it has {listed(graph.nodes)}. "
            "Correct the edge"
        )
    for (a, b), count in Counter(edges).items():
        if count > 1:
            raise InputError(f"edge {prefix + a!r} -> {prefix + b!r} stands {count} times; allowed: once")
    return edges


def _check_kind(name: str, node: Any) -> None:
    if isinstance(node, (*NEURONS, *MAPS, nir.Input, nir.Output)):
        return
    why = {
        "Threshold": "it compares what arrives in one time step, and time has no steps here: use LIF or IF",
        "I": "an integrator without leak has no record of its own: use LI with a long tau",
        "NoneType": "its exporter met a module that it did not know: replace that module and export again",
    }.get(type(node).__name__, "it is no node of NIR: replace it and export again")
    raise InputError(
        f"node {name!r} is {type(node).__name__}, which is not carried; {why}. "
        f"Allowed: {', '.join(kind.__name__ for kind in (*NEURONS, *MAPS))}"
    )


def _check_ends(flat: Flat, name: str, node: nir.NIRNode) -> None:
    kind = type(node).__name__
    starts = isinstance(node, nir.Input) and name not in flat.through
    ends = isinstance(node, nir.Output) and name not in flat.through
    if starts and flat.before[name]:
        raise InputError(
            f"node {name!r} (Input) takes from {listed(flat.before[name])}; allowed: nothing. Drop the edge"
        )
    if ends and flat.after[name]:
        raise InputError(f"node {name!r} (Output) leads to {listed(flat.after[name])}; allowed: nothing. Drop the edge")
    if not starts and not flat.before[name]:
        raise InputError(f"node {name!r} ({kind}) takes from nothing; add the edge into it, or leave the node out")
    if not flat.after[name] and not ends and not isinstance(node, NEURONS):
        raise InputError(f"node {name!r} ({kind}) leads to nothing; add the edge out of it, or leave the node out")


def listed(names: Iterable[str]) -> str:
    """``names`` for a message."""
    return ", ".join(map(repr, names)) or "none"
