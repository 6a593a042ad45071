"""Graphs as arrays: every population with all that drives it as one matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import CompileError
from ..neurons import PARAMETERS
from .compiler import as_array
from .constraints import Block, LayerValues
from .quantise import Array

if TYPE_CHECKING:
    from ..network import Network
    from ..network.populations import Population
    from ..network.structure import Link, Structure


def graph_values(net: Network) -> list[LayerValues]:
    """The populations of a graph in the order of its record.

    Raises
    ------
    CompileError
        A population that does not spike.
    InputError
        A parameter outside its bounds.
    """
    structure = net.structure
    if structure.readouts:
        raise CompileError(
            limit="populations that spike",
            value="LI, which is read as a membrane",
            layer=f"population {structure.readouts[0]!r} (LI)",
            fix="let the output spike (LIF), or leave the readout out and read spike counts",
        )
    return [_values(structure, index, name) for index, name in enumerate(structure.populations)]


def _values(structure: Structure, index: int, name: str) -> LayerValues:
    node = structure.nodes[name]
    node.check(f"population {name!r}")  # type: ignore[operator]
    links = [link for link in structure.links if link.target == name]
    parameters = {key: as_array(value, f"population {name!r}: {key}") for key, value in _parameters(node).items()}
    bias = [offset for offset in (link.composition.offset() for link in links) if offset is not None]
    v_init = getattr(node, "v_init", None)
    if v_init is not None and type(node).__name__ == "IF" and bool((v_init == node.v_leak).all()):
        v_init = None  # where it starts by itself
    return LayerValues(
        weight=np.concatenate([matrix_of(link, link.composition.asked_weight()) for link in links], 1),
        parameters=parameters,
        reset=node.reset,  # type: ignore[arg-type]
        max_spikes=node.max_spikes,  # type: ignore[arg-type]
        delay=delays_of(links),
        blocks=tuple(block_of(structure, link) for link in links),
        synapses=np.concatenate([_mask(link) for link in links], 1),
        bias=as_array(torch.stack(bias).sum(0), f"population {name!r}: bias") if bias else None,
        filtered=bool(bias) and bool(getattr(node, "filtered_bias", False)),
        v_init=None if v_init is None else as_array(v_init, f"population {name!r}: v_init"),
        kind=type(node).__name__,
        name=name,
        index=index,
    )


def _parameters(node: Population) -> dict[str, torch.Tensor]:
    one = torch.ones(node.n, dtype=node.v_th.dtype)  # type: ignore[arg-type,union-attr]
    return {name: one if getattr(node, name, None) is None else getattr(node, name) for name in PARAMETERS}


def block_of(structure: Structure, link: Link) -> Block:
    """What the columns of ``link`` are."""
    size = structure.nodes[link.source].n
    if link.source in structure.populations:
        return Block(structure.populations.index(link.source), 0, size)
    before = structure.inputs[: structure.inputs.index(link.source)]
    return Block(-1, sum(structure.nodes[name].n for name in before), size)


def matrix_of(link: Link, weight: torch.Tensor) -> Array:
    """``[n_out, n_in]`` from ``weight [paths]``; several paths between two units add up."""
    paths, values = link.composition.paths, as_array(weight, f"{link.composition.where}: weight")
    result = np.zeros((link.composition.n_out, link.composition.n_in), values.dtype)
    np.add.at(result, (paths.targets, paths.sources), values)
    return result


def _mask(link: Link) -> Array:
    paths = link.composition.paths
    result = np.zeros((link.composition.n_out, link.composition.n_in), bool)
    result[paths.targets, paths.sources] = True
    return result


def delays_of(links: list[Link]) -> Array | None:
    """``[n_in]`` where all delays are axonal, else ``[n_out, n_in]``; None where there are none."""
    found = [link.composition.delay() for link in links]
    if all(delay is None for delay in found):
        return None
    axonal = all(link.composition.delayed_by_source for link in links)
    parts = [_delay(link, delay, axonal) for link, delay in zip(links, found, strict=True)]
    return np.concatenate(parts, -1)


def _delay(link: Link, delay: torch.Tensor | None, axonal: bool) -> Array:
    paths, shape = link.composition.paths, (link.composition.n_out, link.composition.n_in)
    result = np.zeros(shape[1] if axonal else shape)
    if delay is None:
        return result
    value = as_array(delay, f"{link.composition.where}: delay")
    if axonal:
        result[paths.sources] = value
        return result
    if len(np.unique(paths.targets * shape[1] + paths.sources)) < len(paths.targets):
        raise CompileError(
            limit="one delay of each pair of units",
            value="several paths with delays of their own between two units",
            layer=link.composition.where,
            fix="give each path a projection of its own",
        )
    result[paths.targets, paths.sources] = value
    return result
