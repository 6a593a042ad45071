"""NIR graphs in small steps of Euler, straight from the equations in NIR's docstrings: what an import is measured against.

Written without anything of :mod:`hwloop.network.nir`: edges are followed as they stand, recurrent ones bring what was there one
step before, a spike is a pulse of one step whose area is given.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import nir
import numpy as np
import torch
from torch.nn import functional

NEURONS = (nir.CubaLIF, nir.CubaLI, nir.LIF, nir.LI, nir.IF)


def simulate(
    graph: nir.NIRGraph,
    inputs: dict[str, list[tuple[float, int]]],
    t_stop: float,
    dt: float,
    *,
    area: float = 1.0,
    reset: str = "value",
    per_second: float = 1.0,
    width: int = 1,
    membranes: dict[str, list[np.ndarray[Any, Any]]] | None = None,
) -> tuple[dict[str, list[np.ndarray[Any, Any]]], dict[str, np.ndarray[Any, Any]]]:
    """Spike times (s) of every neuron of every node, and the membranes at the end; times in s, ``area`` in the graph's unit.

    A spike is a pulse of ``width`` steps. ``membranes`` takes those of every step, by node.
    """
    area = area / width
    nodes, edges = _flat(graph)
    order = _order(nodes, edges)
    state: dict[str, dict[str, Any]] = {}
    value: dict[str, np.ndarray[Any, Any]] = {}
    spikes: dict[str, list[list[float]]] = {}
    steps = round(t_stop / dt)
    waiting = {name: sorted(events) for name, events in inputs.items()}
    for k in range(steps):
        for name in order:
            node = nodes[name]
            if isinstance(node, nir.Input) and name in inputs:
                pulse = np.zeros(int(np.prod(node.input_type["input"])))
                while waiting[name] and waiting[name][0][0] < (k + 0.5) * dt:
                    pulse[waiting[name].pop(0)[1]] += area / (dt * per_second)
                value[name] = _lasting(pulse, width, state.setdefault(name, {})).reshape(node.input_type["input"])
                continue
            arriving = [value[a] for a, b in edges if b == name and a in value]
            if not arriving:
                continue
            total = sum(x.reshape(arriving[0].shape) for x in arriving)
            if isinstance(node, NEURONS):
                fired = _neurons(node, total, state.setdefault(name, {}), dt * per_second, reset)
                value[name] = _lasting(fired * area / (dt * per_second), width, state[name])
                train = spikes.setdefault(name, [[] for _ in range(fired.size)])
                for j in np.flatnonzero(fired):
                    train[j].append(k * dt)
            else:
                value[name] = _map(node, total, state.setdefault(name, {}), dt * per_second)
        if membranes is not None:
            for name, held in state.items():
                if "v" in held:
                    membranes.setdefault(name, []).append(np.array(held["v"]))
    found = {name: [np.array(times) for times in trains] for name, trains in spikes.items()}
    return found, {name: held["v"] for name, held in state.items() if "v" in held}


def _lasting(pulse: np.ndarray[Any, Any], width: int, state: dict[str, Any]) -> np.ndarray[Any, Any]:
    """``pulse`` and those of the ``width - 1`` steps before."""
    line = state.setdefault("pulses", deque(maxlen=width))
    line.append(pulse)
    return np.sum(line, axis=0)


def _flat(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    nodes: dict[str, Any] = {}
    edges = []
    gates: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            inner, more = _flat(node, f"{prefix}{name}.")
            nodes.update(inner)
            edges += more
            first, last = (
                next(k for k, v in node.nodes.items() if isinstance(v, kind)) for kind in (nir.Input, nir.Output)
            )
            gates[name] = f"{prefix}{name}.{first}", f"{prefix}{name}.{last}"
        else:
            nodes[prefix + name] = node
    for a, b in graph.edges:
        edges.append((gates[a][1] if a in gates else prefix + a, gates[b][0] if b in gates else prefix + b))
    return nodes, edges


def _order(nodes: dict[str, Any], edges: list[tuple[str, str]]) -> list[str]:
    """Inputs first, then every node after those it takes from; in a loop, neurons before what leads back to them."""
    done: list[str] = [
        name for name, node in nodes.items() if isinstance(node, nir.Input) and not any(b == name for _, b in edges)
    ]
    left = [name for name in nodes if name not in done]
    while left:
        ready = [name for name in left if all(a in done for a, b in edges if b == name)]
        some = [
            name for name in left if any(a in done for a, b in edges if b == name) and isinstance(nodes[name], NEURONS)
        ]
        chosen = (ready or some or left)[0]
        done.append(chosen)
        left.remove(chosen)
    return done


def _held(node: Any, name: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    value = np.asarray(getattr(node, name), float)
    return value.reshape(shape) if value.size == int(np.prod(shape)) else np.full(shape, value.reshape(-1)[0])


def _neurons(
    node: Any, drive: np.ndarray[Any, Any], state: dict[str, Any], dt: float, reset: str
) -> np.ndarray[Any, Any]:
    shape, meta = drive.shape, node.metadata or {}
    r = _held(node, "r", shape)
    leak = _held(node, "v_leak", shape) if hasattr(node, "v_leak") else np.zeros(shape)
    if "v" not in state:
        start = np.reshape(meta["v_init"], shape) if "v_init" in meta else leak
        if hasattr(node, "v_threshold") and "v_init" not in meta:
            start = np.where(leak >= _held(node, "v_threshold", shape), _held(node, "v_reset", shape), leak)
        state.update(v=start.astype(float).copy(), i=np.zeros(shape), held=np.zeros(shape), count=np.zeros(shape))
    if hasattr(node, "tau_syn"):
        state["i"] = state["i"] + dt / _held(node, "tau_syn", shape) * (
            -state["i"] + _held(node, "w_in", shape) * drive
        )
        drive = state["i"]
    if isinstance(node, nir.IF):
        v = state["v"] + dt * r * drive
    else:
        v = state["v"] + dt / _held(node, "tau" if hasattr(node, "tau") else "tau_mem", shape) * (
            leak - state["v"] + r * drive
        )
    if not hasattr(node, "v_threshold"):
        state["v"] = v
        return np.zeros(shape)
    low, high = _held(node, "v_reset", shape), _held(node, "v_threshold", shape)
    v = np.where(state["held"] > dt / 2, low, v)
    state["held"] = np.maximum(state["held"] - dt, 0.0)
    kind = str(meta.get("reset", reset))
    fired = (v > high) & (state["count"] < meta.get("max_spikes", np.inf))
    state["v"] = np.where(fired, low if kind == "value" else v - (high - low), v)
    state["held"] = np.where(fired, np.reshape(meta["t_ref"], shape) if "t_ref" in meta else 0.0, state["held"])
    state["count"] = state["count"] + fired
    return fired.astype(float)


def _map(node: Any, x: np.ndarray[Any, Any], state: dict[str, Any], dt: float) -> np.ndarray[Any, Any]:
    if isinstance(node, (nir.Linear, nir.Affine)):
        return np.asarray(node.weight, float) @ x.reshape(-1) + np.asarray(getattr(node, "bias", 0.0), float)
    if isinstance(node, (nir.Conv2d, nir.SumPool2d, nir.AvgPool2d)):
        if not state:  # as a matrix: the map of every unit alone
            state["shape"] = _windows(node, np.zeros((1, *x.shape)))[0].shape
            offset = _windows(node, np.zeros((1, *x.shape))).reshape(-1)
            each = _windows(node, np.eye(x.size).reshape(x.size, *x.shape)).reshape(x.size, -1)
            state.update(matrix=(each - offset).T, offset=offset)
        return (state["matrix"] @ x.reshape(-1) + state["offset"]).reshape(state["shape"])
    if isinstance(node, nir.Scale):
        return x * np.reshape(node.scale, x.shape)
    if isinstance(node, nir.Delay):
        late = np.rint(np.broadcast_to(np.ravel(node.delay), x.size) / dt).astype(int)
        line = state.setdefault("line", deque(maxlen=int(late.max()) + 1))
        line.appendleft(x.reshape(-1).copy())
        return np.array([line[k][j] if k < len(line) else 0.0 for j, k in enumerate(late)]).reshape(x.shape)
    return x.reshape(-1) if isinstance(node, nir.Flatten) else x


def _windows(node: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """torch's convolution or pool of ``x [batch, channels, height, width]``."""
    maps = torch.from_numpy(x)
    if isinstance(node, nir.Conv2d):
        sizes = [tuple(int(s) for s in np.ravel(v)) for v in (node.stride, node.padding, node.dilation)]
        weight, bias = (torch.from_numpy(np.asarray(v, float)) for v in (node.weight, node.bias))
        return np.asarray(functional.conv2d(maps, weight, bias, *sizes, int(node.groups)))
    kernel, stride, padding = (
        (int(np.ravel(v)[0]), int(np.ravel(v)[-1])) for v in (node.kernel_size, node.stride, node.padding)
    )
    mean = functional.avg_pool2d(maps, kernel, stride, padding).numpy()
    return mean if isinstance(node, nir.AvgPool2d) else mean * kernel[0] * kernel[1]
