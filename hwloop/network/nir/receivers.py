"""What importers of the field take otherwise than it stands in a graph, without an error.

norse's and rockpool's are seen in `docs/interop.md`; snnTorch's and sinabs's are read in the source of their importers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import nir
import numpy as np

_Test = Callable[[Any], bool]


def _kind(*kinds: type) -> _Test:
    return lambda node: isinstance(node, kinds)


def _differs(name: str, kinds: tuple[type, ...]) -> _Test:
    return lambda node: isinstance(node, kinds) and bool(np.any(np.asarray(getattr(node, name)) != 0))


SPIKING = (nir.CubaLIF, nir.LIF, nir.IF)

#: By package: which nodes, and what becomes of them. Versions as in `tests/interop/requirements-peers.txt`.
TAKEN: Mapping[str, tuple[tuple[_Test, str], ...]] = {
    "norse": (
        (_kind(nir.LIF), "r is taken for 1"),
        (_kind(nir.LI, nir.CubaLI), "left out"),
        (_differs("v_reset", SPIKING), "v_reset is taken for 0"),
    ),
    "snnTorch": ((_differs("v_reset", SPIKING), "v_reset is taken for 0"),),
    "rockpool": (
        (_kind(nir.LI), "tau is rounded to a whole number"),
        (_differs("v_reset", SPIKING), "v_reset is taken for 0"),
    ),
    "sinabs": (
        (_kind(nir.LIF), "tau is taken for a number of steps"),
        (_kind(nir.IF), "the membrane is held above -v_threshold"),
        (_differs("v_reset", SPIKING), "v_reset is taken for 0"),
    ),
}


#: snnTorch 1.0.0 wraps such neurons in a graph whose input leads to the weights; rockpool 3.1.0 runs layer after layer.
RECURRENT = {
    "snnTorch": "its input is led through its recurrent weights",
    "rockpool": "its recurrent weights are not run",
}


def taken_otherwise(nodes: Mapping[str, nir.NIRNode], edges: Sequence[tuple[str, str]]) -> Iterable[str]:
    """For each package that takes some of ``nodes`` otherwise: its name, the nodes, and what becomes of them."""
    for package, facts in TAKEN.items():
        each = [([name for name, node in nodes.items() if test(node)], what) for test, what in facts]
        each += [(_recurrent(nodes, edges), RECURRENT[package])] if package in RECURRENT else []
        found = [f"{', '.join(map(repr, names))} ({what})" for names, what in each if names]
        if found:
            yield f"{package}: {'; '.join(found)}"


def _recurrent(nodes: Mapping[str, nir.NIRNode], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Neurons with weights from themselves to themselves."""
    back = {(b, a) for a, b in edges}
    return [
        a for a, b in edges
        if (a, b) in back and isinstance(nodes[a], (nir.CubaLIF, nir.LIF)) and isinstance(nodes[b], (nir.Linear, nir.Affine))
    ]  # fmt: skip
