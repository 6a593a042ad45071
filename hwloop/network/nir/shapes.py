"""Shapes of the inputs and neurons of a NIR graph: rows of units, or maps ``(channels, height, width)``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np

from ...errors import InputError
from ..linear_map import Shape, size_of
from .flat import Flat
from .values import is_whole, numbers

#: Maps that work on maps of units.
SPATIAL = (nir.Conv1d, nir.Conv2d, nir.SumPool2d, nir.AvgPool2d)


def input_shape(flat: Flat, name: str) -> Shape:
    """Shape of an Input; an axis of 1 before it is a batch axis (norse, rockpool), where it is no channel.

    Raises :class:`InputError` naming the node for other sizes of a batch, and for more axes than maps have.
    """
    given = flat.nodes[name].input_type
    sides = _sides(name, next(iter(given.values()), None) if isinstance(given, dict) else given)
    readers = [node for node in _readers(flat, name) if isinstance(node, SPATIAL)]
    if not readers and len(sides) != 3 and all(side == 1 for side in sides[:-1]):
        return (sides[-1],)
    if not readers and len(sides) == 3 and sides[:2] == (1, 1):
        return (sides[-1],)
    axes = 2 if any(isinstance(node, nir.Conv1d) for node in readers) else 3
    while len(sides) > axes and sides[0] == 1:
        sides = sides[1:]
    if axes == 2 and len(sides) == 2:
        return (sides[0], 1, sides[1])
    if len(sides) == 3:
        return (sides[0], sides[1], sides[2])
    if readers and len(sides) == 2:  # one channel
        return (1, sides[0], sides[1])
    raise InputError(
        f"node {name!r} (Input) has the shape {sides}; allowed: (n,), or (channels, height, width), with one more axis of 1 in "
        "front at most. If the first axis is a batch, export the network with a sample input of one"
    )


def _readers(flat: Flat, name: str) -> list[Any]:
    """The first nodes after ``name`` that say something about its shape."""
    found, waiting, seen = [], list(flat.after[name]), set()
    while waiting:
        other = waiting.pop()
        node = flat.nodes[other]
        if other in seen:
            continue
        seen.add(other)
        if other in flat.through or isinstance(node, (nir.Delay, nir.Scale)):
            waiting += flat.after[other]
        else:
            found.append(node)
    return found


def _sides(name: str, given: Any) -> tuple[int, ...]:
    sides = np.ravel(numbers(name, "shape", given)) if given is not None else np.zeros(0)
    if not sides.size or np.any(sides < 1) or not all(map(is_whole, sides)):
        raise InputError(f"node {name!r} has the shape {given!r}; allowed: whole numbers >= 1")
    return tuple(int(side) for side in sides)


def own_shape(name: str, node: Any) -> Shape | None:
    """Shape of neurons by their parameters; None where these are single numbers, which stand for any."""
    shapes = {np.shape(numbers(name, key, value)) for key, value in parameters(node).items()}
    largest = max(shapes, key=lambda shape: (int(np.prod(shape)), len(shape)))
    if size_of(largest) == 1:
        return None
    sides = tuple(side for side in largest if side > 1)
    return (largest[0], largest[1], largest[2]) if len(largest) == 3 and largest[:2] != (1, 1) else (size_of(sides),)


def parameters(node: Any) -> Mapping[str, Any]:
    """The parameters that a neuron node holds one value a unit of."""
    keys = ("tau_mem", "tau_syn", "tau", "r", "w_in", "v_leak", "v_threshold", "v_reset")
    return {key: getattr(node, key) for key in keys if hasattr(node, key)}


def check_output(flat: Flat, name: str, fed: str, shape: Shape) -> None:
    """The Output ``name`` has as many units as what feeds it, a batch axis of 1 aside."""
    given = flat.nodes[name].output_type
    value = next(iter(given.values()), None) if isinstance(given, dict) else given
    if value is None:
        return
    sides = _sides(name, value)
    if size_of(sides) != size_of(shape):
        raise InputError(
            f"node {name!r} (Output) has the shape {sides}, {fed!r} before it has {shape}; allowed: as many units"
        )


def settled(found: Shape, own: Shape | None) -> Shape:
    """Shape of neurons that get units of ``found``: maps stay maps, where there are as many neurons, or one a channel."""
    if own is None or (len(found) == 3 and size_of(own) in (size_of(found), found[0])):
        return found
    return own
