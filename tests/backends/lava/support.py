"""Graphs run by Lava and by its twin, and a look at what a worker leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwloop_fixed_point.registers import Array
from hwloop_lava.request import Plan, plan, requests, spikes_of
from hwloop_lava.worker_process import Worker, members
from hwloop_loihi import FixedGraph, FixedLayer, FloatGraph, Synapses, TickSpikes

from ..loihi.random_graphs import random_graph, random_raster, random_wiring

__all__ = ["chain", "left_behind", "on_lava", "random_graph", "random_raster", "random_wiring"]


def on_lava(
    worker: Worker, graph: FixedGraph | FloatGraph, raster: Array, copies: int | None = None
) -> tuple[list[Array], Plan]:
    """Spikes ``[batch, ticks, n]`` of every layer, and how the batch was laid out."""
    batch, ticks, _ = raster.shape
    layout = plan(graph, batch, ticks, copies=copies)
    answers = [worker.ask(request) for request in requests(graph, TickSpikes.from_raster(raster), layout)]
    return [layer.to_raster(ticks) for layer in spikes_of(answers, graph, batch, layout)], layout


def chain(delay: int | None = None) -> FixedGraph:
    """One neuron that fires at every second input spike, one tick later: each adds 4096, the threshold is 6400."""
    delays = None if delay is None else np.array([[delay]], np.int32)
    return FixedGraph((FixedLayer(Synapses(np.array([[64]], np.int32), delay=delays), du=4095, dv=0, vth=100),), 1e-3)


def left_behind(worker: Worker) -> list[str]:
    """Processes, shared memory and folders that a stopped worker has not taken along."""
    files = [*Path("/dev/shm").glob(f"*{worker.token}*"), *Path("/tmp").glob(f"{worker.token}*")]
    return [str(pid) for pid in members(worker.pid)] + [str(path) for path in files]
