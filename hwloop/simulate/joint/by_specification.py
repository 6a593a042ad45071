"""A component by its specification: :mod:`.reference` with the arguments and results of :mod:`.engine`.

The backward pass replays the recorded spikes and carries the derivatives of every spike time forward; nothing of it is an
adjoint. So every event costs ``neurons x parameters`` operations: for small components.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import InputError
from ..contract import Events, FloatArray, Floor, IntArray
from .contract import COLUMNS, Arrivals, Component, Gradients, JointTrace
from .derivatives import Layout, Run, contracted
from .planning import refuse_instant_loops
from .reference import samples

#: Bytes of derivatives that the neurons of a sample may carry: each has two rows of them.
MAX_BYTES = 1 << 30


def forward(component: Component, inputs: Events, t_stop: float, measured: Events | None = None) -> JointTrace:
    """As :func:`.engine.forward`; :class:`~hwloop.errors.InputError` also for a component that is too large."""
    refuse_instant_loops(component)
    _refuse_large(component, inputs)
    runs = [_without_rows(run) for run in samples(component, inputs, t_stop, measured)]
    return _as_trace(runs, component.neurons.tau_mem.dtype)


def gradients(
    component: Component, inputs: Events, t_stop: float, trace: JointTrace, grad: FloatArray, floor: Floor, own: bool
) -> Gradients:
    """As :func:`.engine.gradients`."""
    runs = _replayed(samples(component, inputs, t_stop, trace.spikes, floor), trace)
    found = contracted(component, inputs, runs, lambda b, k: float(grad[b, k]))
    dtype = component.neurons.tau_mem.dtype
    weight, delay, times = (found[name].astype(dtype) for name in ("weight", "delay", "times"))
    return Gradients(weight, delay, times, {name: found[name] for name in COLUMNS} if own else {})


def _refuse_large(component: Component, inputs: Events) -> None:
    s, n = component.synapses, component.size
    numbers = Layout(len(s.weight), len(s.delay), inputs.times.shape[1], n).size
    needed = 2 * n * numbers * np.dtype(np.float64).itemsize
    if needed > MAX_BYTES:
        raise InputError(
            f"engine 'reference' carries {numbers} derivatives with each of {n} neurons: {needed / 2**30:.3g} GiB; allowed: "
            f"{MAX_BYTES / 2**30:g} GiB. Use engine='auto', or a smaller network"
        )


def _without_rows(run: Run) -> Run:
    for spike in run.spikes:
        spike.row = np.zeros(0)
    return run


def _replayed(runs: Iterable[Run], trace: JointTrace) -> Iterator[Run]:
    """The ``runs``, whose spikes have to be those of ``trace`` in their order."""
    for b, run in enumerate(runs):
        if [spike.unit for spike in run.spikes] != trace.spikes.units[b, : trace.spikes.counts[b]].tolist():
            raise RuntimeError(f"sample {b}: the replay of a component's own spikes has others")
        yield run


def _as_trace(runs: Sequence[Run], dtype: Any) -> JointTrace:
    def of_spikes(name: str, dtype: Any, fill: float = 0.0) -> Any:
        return _padded([[getattr(spike, name) for spike in run.spikes] for run in runs], dtype, fill)

    def of_arrivals(place: int) -> IntArray:
        found: IntArray = _padded([[arrival[place] for arrival in run.arrivals] for run in runs], np.int64, 0)
        return found

    counts = np.array([len(run.spikes) for run in runs], np.int64)
    arrived = np.array([len(run.arrivals) for run in runs], np.int64)
    return JointTrace(
        Events(of_spikes("time", dtype, np.inf), of_spikes("unit", np.int64), counts),
        of_spikes("current", dtype), of_spikes("release_time", dtype), of_spikes("release_current", dtype),
        of_spikes("residual", dtype), of_spikes("after", np.int64), of_spikes("cause", np.int64),
        Arrivals(of_arrivals(0), of_arrivals(1), arrived),
    )  # fmt: skip


def _padded(rows: Sequence[Sequence[float]], dtype: Any, fill: float) -> Any:
    """``rows`` as one array ``[len(rows), longest]``, filled up."""
    result = np.full((len(rows), max(map(len, rows), default=0)), fill, dtype)
    for b, row in enumerate(rows):
        result[b, : len(row)] = row
    return result
