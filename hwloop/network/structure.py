"""Structure: which population drives which, in the order in which they can be simulated.

The graph is condensed into its strongly connected components: populations that are part of one loop are simulated together,
components one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from ..errors import InputError
from ..strong_groups import strong_groups
from .composition import Composition
from .linear_map import LinearMap, Shape
from .populations import Input, Population


class Projection(nn.Module):
    """Linear maps in a row from one node of a graph to another.

    Parameters
    ----------
    source, target : str
        Names of nodes; the target is a population.
    maps : one map, or several in a row
        ``Dense``, ``Conv2d``, ``SumPool2d``, ``AvgPool2d``, ``Flatten``, ``Scale``, ``Delay``, ``Sparse``.
    """

    def __init__(self, source: str, target: str, maps: LinearMap | Iterable[LinearMap]) -> None:
        super().__init__()
        self.source, self.target = source, target
        listed = (
            [maps]
            if isinstance(maps, nn.Module) and not isinstance(maps, (nn.Sequential, nn.ModuleList))
            else list(maps)
        )
        for k, layer in enumerate(listed):
            if not isinstance(layer, LinearMap):
                raise InputError(
                    f"projection {source!r} -> {target!r}: map {k} is {type(layer).__name__}; allowed: Dense, Conv2d, SumPool2d, "
                    "AvgPool2d, Flatten, Scale, Delay, Sparse"
                )
        self.maps = nn.ModuleList(listed)

    def extra_repr(self) -> str:
        return f"{self.source!r} -> {self.target!r}"


@dataclass(frozen=True)
class Link:
    """A projection whose maps fit its ends. ``offset`` of its target: see :class:`Composition`."""

    source: str
    target: str
    composition: Composition


@dataclass(frozen=True)
class Component:
    """Populations that are simulated together: one, or those of a loop; with the links into them."""

    names: tuple[str, ...]
    loop: bool
    links: tuple[Link, ...]


@dataclass(frozen=True)
class Structure:
    """A graph that was checked.

    Attributes
    ----------
    nodes : name -> Input or population, as given
    links : the projections
    components : in an order in which they can be simulated
    populations : names of those that spike, in the order of a record: the output last, where it spikes
    readouts : names of those that do not
    output : name
    """

    nodes: Mapping[str, Population]
    links: tuple[Link, ...]
    components: tuple[Component, ...]
    populations: tuple[str, ...]
    readouts: tuple[str, ...]
    output: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(name for name, node in self.nodes.items() if isinstance(node, Input))


def structure_of(
    nodes: Mapping[str, Population],
    projections: Sequence[tuple[str, str, Sequence[LinearMap]]],
    output: str | None = None,
) -> Structure:
    """The structure of a graph; ``projections`` as (source, target, maps).

    Raises :class:`InputError`: an unknown node, a projection into an input or out of a readout, maps that do not fit, a
    population that nothing drives, no input, an output that is none.
    """
    links = tuple(_link(nodes, *projection) for projection in projections)
    driven = {link.target for link in links}
    inputs = [name for name, node in nodes.items() if isinstance(node, Input)]
    others = [name for name in nodes if name not in inputs]
    if not inputs or not others:
        raise InputError(
            f"a graph of {len(inputs)} inputs and {len(others)} populations; allowed: at least one of each"
        )
    for name in others:
        if name not in driven:
            raise InputError(f"population {name!r} has no projection into it; add one, or leave the population out")
    last = _output(nodes, others, links, output)
    components = tuple(_component(group, links) for group in _groups(others, links))
    order = [name for component in components for name in component.names]
    spiking = [name for name in order if nodes[name].spikes]
    if last in spiking:
        spiking.remove(last)
        spiking.append(last)
    readouts = [name for name in order if not nodes[name].spikes]
    return Structure(nodes, links, components, tuple(spiking), tuple(readouts), last)


def graph_of(
    nodes: Mapping[str, Population], projections: Iterable[Projection], output: str | None = None
) -> Structure:
    """The structure of named ``nodes`` and ``projections``; raises as :func:`structure_of`."""
    return structure_of(nodes, [(p.source, p.target, list(p.maps)) for p in projections], output)  # type: ignore[arg-type]


def _link(nodes: Mapping[str, Population], source: str, target: str, maps: Sequence[LinearMap]) -> Link:
    where = f"projection {source!r} -> {target!r}"
    for name in (source, target):
        if name not in nodes:
            raise InputError(f"{where}: no node {name!r}; there are {', '.join(map(repr, nodes))}")
    if isinstance(nodes[target], Input):
        raise InputError(f"{where}: {target!r} is an input, which nothing drives; allowed: a population")
    if not nodes[source].spikes:
        raise InputError(
            f"{where}: {source!r} does not spike and drives nothing; allowed: an input or a spiking population"
        )
    composition = Composition(maps, nodes[source].shape, where)
    wanted: Shape = nodes[target].shape
    found = composition.out_shape
    if found != wanted and (composition.n_out != nodes[target].n or (len(wanted) == 3 and len(found) == 3)):
        raise InputError(f"{where}: the maps answer {found}, {target!r} has {wanted}; allowed: equal numbers of units")
    return Link(source, target, composition)


def _output(nodes: Mapping[str, Population], others: Sequence[str], links: Sequence[Link], output: str | None) -> str:
    if output is not None:
        if output not in others:
            raise InputError(f"output = {output!r}; allowed: a population, {', '.join(map(repr, others))}")
        return output
    ends = [name for name in others if not any(link.source == name and link.target != name for link in links)]
    if len(ends) != 1:
        raise InputError(
            f"{len(ends)} populations drive no other ({', '.join(map(repr, ends)) or 'none'}); name the output: output=..."
        )
    return ends[0]


def _component(names: Sequence[str], links: Sequence[Link]) -> Component:
    inside = tuple(link for link in links if link.target in names)
    return Component(tuple(names), any(link.source in names for link in inside), inside)


def _groups(names: Sequence[str], links: Sequence[Link]) -> list[list[str]]:
    """Strongly connected components in topological order, names in the order given."""
    place = {name: k for k, name in enumerate(names)}
    after: list[list[int]] = [[] for _ in names]
    for link in links:
        if link.source in place:
            after[place[link.source]].append(place[link.target])
    return [[names[k] for k in group] for group in strong_groups(after)]
