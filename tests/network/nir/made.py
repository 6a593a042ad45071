"""Graphs that tests of NIR are about, built node by node."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np
import torch

import hwloop as hl

#: What a node has where a test says nothing: a jump of w in continuous time, read as deltas.
USUAL = {"tau_mem": 10e-3, "tau_syn": 5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, "w_in": 5e-3}


def _arrays(names: tuple[str, ...], n: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {
        key: np.array(np.broadcast_to(np.asarray(given.get(key, USUAL.get(key, 10e-3)), float), n)) for key in names
    }


def cuba(n: Any = 2, metadata: dict[str, Any] | None = None, **given: Any) -> nir.CubaLIF:
    """A CubaLIF of ``n`` neurons (or of a shape); each field a number or values."""
    return nir.CubaLIF(**_arrays(tuple(USUAL), n, given), metadata=metadata or {})


def stepped(dt: float, n: int = 2, **given: Any) -> nir.CubaLIF:
    """A CubaLIF as exporters in steps of ``dt`` write it: ``r = tau_mem / dt``, ``w_in = tau_syn / dt``."""
    taus = {"tau_mem": 10e-3, "tau_syn": 5e-3, **given}
    return cuba(n, **{"r": np.asarray(taus["tau_mem"]) / dt, "w_in": np.asarray(taus["tau_syn"]) / dt, **taus})


def lif(n: Any = 2, metadata: dict[str, Any] | None = None, **given: Any) -> nir.LIF:
    """A LIF: no current, an input moves the membrane."""
    return nir.LIF(**_arrays(("tau", "r", "v_leak", "v_threshold", "v_reset"), n, given), metadata=metadata or {})


def integrate_and_fire(n: Any = 2, metadata: dict[str, Any] | None = None, **given: Any) -> nir.IF:
    """An IF."""
    return nir.IF(**_arrays(("r", "v_threshold", "v_reset"), n, given), metadata=metadata or {})


def li(n: Any = 2, **given: Any) -> nir.LI:
    """A readout without a current."""
    return nir.LI(**_arrays(("tau", "r", "v_leak"), n, given))


def cubali(n: Any = 2, **given: Any) -> nir.CubaLI:
    """A readout with a current."""
    return nir.CubaLI(**_arrays(("tau_syn", "tau_mem", "r", "v_leak", "w_in"), n, given))


def linear(n_out: int = 2, n_in: int = 3, value: float = 1.0) -> nir.Linear:
    """A matrix of one value."""
    return nir.Linear(np.full((n_out, n_in), value))


def row(*nodes: nir.NIRNode, n_in: Any = None, n_out: Any = None, **metadata: Any) -> nir.NIRGraph:
    """The nodes one after the other, named by their place, between "in" and "out"; deltas in seconds unless told otherwise."""
    first = nodes[0]
    size = n_in if n_in is not None else first.input_type["input"]
    end = n_out if n_out is not None else nodes[-1].output_type["output"]
    named = {
        "in": nir.Input(np.atleast_1d(size)),
        **{f"n{k}": node for k, node in enumerate(nodes)},
        "out": nir.Output(np.atleast_1d(end)),
    }
    return graph(named, list(pairwise(named)), **metadata)


def graph(nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]], **metadata: Any) -> nir.NIRGraph:
    """A graph that is not checked; deltas in seconds unless told otherwise, nothing with ``bare=True``."""
    said = {"time_unit": "s", "spike": "delta"} if not metadata else {k: v for k, v in metadata.items() if k != "bare"}
    return nir.NIRGraph(nodes, edges, metadata=said, type_check=False)


def two_by_two(*edges: tuple[str, str], **nodes: nir.NIRNode) -> nir.NIRGraph:
    """in - w - n - out with two units each, and more."""
    base = {"in": nir.Input(np.array([2])), "w": linear(2, 2), "n": cuba(), "out": nir.Output(np.array([2]))}
    return graph({**base, **nodes}, [("in", "w"), ("w", "n"), ("n", "out"), *edges])


def projection(net: hl.Network, target: str, k: int = 0) -> list[Any]:
    """The maps of the ``k``-th projection into ``target``."""
    return list([link for link in net.structure.links if link.target == target][k].composition.maps)


def weight(net: hl.Network, target: str | None = None, k: int = 0) -> np.ndarray[Any, Any]:
    """The weights of the last map into ``target``."""
    name = net.structure.output if target is None else target
    return np.asarray(projection(net, name, k)[-1].weight.detach())


def same_state(a: hl.Network, b: hl.Network) -> bool:
    """Whether all values, their names and dtypes are equal."""
    old, new = a.state_dict(), b.state_dict()
    return list(old) == list(new) and all(torch.equal(old[k], new[k]) and old[k].dtype == new[k].dtype for k in old)


def conv(
    c_out: int = 2, c_in: int = 1, kernel: int = 3, side: int | None = 8, bias: Any = 0.0, **given: Any
) -> nir.Conv2d:
    sizes = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **given}
    values = np.arange(c_out * c_in // sizes["groups"] * kernel**2, dtype=np.float64).reshape(c_out, -1, kernel, kernel)
    return nir.Conv2d(None if side is None else (side, side), values, bias=np.full(c_out, bias), **sizes)


def pool(kind: Any, kernel: Any, stride: Any = None, padding: Any = 0) -> nir.NIRNode:
    return kind(*(np.array(side) for side in (kernel, kernel if stride is None else stride, padding)))


def ends(n_in: int = 2, n_out: int = 2) -> dict[str, nir.NIRNode]:
    return {"in": nir.Input(np.array([n_in])), "out": nir.Output(np.array([n_out]))}


def nested(edges: list[tuple[str, str]] | None = None, **more: nir.NIRNode) -> nir.NIRGraph:
    inside = {**ends(), "l": linear(2, 2, 5.0), "n": cuba(), **more}
    return graph(inside, [("in", "l"), ("l", "n"), ("n", "out")] if edges is None else edges)
