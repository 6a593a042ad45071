"""One checkout's side of :mod:`.chip_path`: reads names of cases from standard input, answers CPU seconds a step and spikes.

Run with ``python -c`` in the root of a checkout, this one or another, whose sources and benchmarks it then imports.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

try:
    import hwloop.bench.peers.hwloop as peers
    from hwloop.bench.peers import Problem, tune
    from hwloop.bench.workloads import WORKLOADS
except ModuleNotFoundError:  # a checkout in which the benchmark was not part of the package yet
    import tests.benchmarks.peers.hwloop as peers  # type: ignore[no-redef]
    from tests.benchmarks.peers import tune  # type: ignore[no-redef]
    from tests.benchmarks.workloads import WORKLOADS, make_inputs, make_weights  # type: ignore[no-redef]

    Problem = None  # type: ignore[assignment, misc]

#: CPU seconds of one answer.
SLICE = 0.3

#: Longest refractory time (s) of the neurons of a chip: a quarter of them have none.
T_REF = 1e-3


def step_of(name: str) -> tuple[Callable[[], None], int]:
    """The step of case ``workload:kind:rate``, tuned, and the spikes of all layers in it.

    ``kind``: ``shared``, ``per-neuron`` or ``refractory`` (per-neuron, with refractory times); a rate of 0 is the workload's,
    another one lifts the cap on spikes.
    """
    workload_name, kind, rate = name.split(":")
    workload = WORKLOADS[workload_name]
    if float(rate) > 0:
        workload = dataclasses.replace(workload, rate=float(rate), max_spikes=None)
    build: Any = peers.SharedTaus if kind == "shared" else peers.PerNeuronTaus
    if Problem is None:
        weights = [torch.from_numpy(w) for w in make_weights(workload, 0)]
        peer = build(weights, make_inputs(workload, 0), workload.max_spikes)
    else:
        peer = build(Problem.of(workload, 0))
    if kind == "refractory":
        generator = np.random.default_rng(0)
        for _, lif in peer._network.blocks:
            hold = T_REF * generator.choice([0.0, 0.5, 0.75, 1.0], len(lif.tau_mem))
            lif.t_ref = torch.from_numpy(hold).to(lif.tau_mem.dtype)
    tune(peer, workload.rate)
    with torch.no_grad():
        record = peer._network(peer._spikes)
    return peer.step, sum(int(spikes.counts.sum()) for spikes in record.populations)


def main() -> None:
    """Answer until the input ends."""
    torch.set_num_threads(1)
    known: dict[str, tuple[Callable[[], None], int, int]] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in known:
            step, spikes = step_of(name)
            step()
            start = time.process_time()
            step()
            known[name] = step, spikes, max(1, round(SLICE / max(time.process_time() - start, 1e-6)))
        step, spikes, calls = known[name]
        start = time.process_time()
        for _ in range(calls):
            step()
        print(json.dumps([(time.process_time() - start) / calls, spikes]), flush=True)


main()
