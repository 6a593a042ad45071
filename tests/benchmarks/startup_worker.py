"""One fresh interpreter of ``startup.py``: does one thing, prints what it took as one line of JSON."""

from __future__ import annotations

import time

START = time.perf_counter()  # before any other import: they are part of what is measured

import json  # noqa: E402
import sys  # noqa: E402
from importlib import import_module  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

#: Seed of the spikes and weights.
SEED = 0

#: Training steps over which peak memory is taken: enough that buffers have reached their size.
MEMORY_STEPS = 5


def import_time(module: str) -> dict[str, float]:
    """Seconds that importing ``module`` takes, of the clock and of the processor."""
    before = _clocks()
    import_module(module)
    return _since(before)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(before: tuple[float, float]) -> dict[str, float]:
    wall, cpu = (now - then for now, then in zip(_clocks(), before, strict=True))
    return {"seconds": wall, "cpu": cpu}


def names_time() -> dict[str, float]:
    """Seconds that importing hwloop and looking every public name up takes: the package imports a name when it is used."""
    before = _clocks()
    hwloop = import_module("hwloop")
    for name in hwloop.__all__:
        getattr(hwloop, name)
    return _since(before)


def tuned_factors(name: str) -> dict[str, list[float]]:
    """Weight factors that give the workload its spike rate (found here so that no other worker has to search)."""
    from hwloop.bench.peers import tune

    peer, workload = _network(name)
    return {"factors": tune(peer, workload.rate)}


def first_step(name: str, *factors: str) -> dict[str, float]:
    """Seconds from the start of this file, and after the import, until the first forward and backward are done."""
    import hwloop.training  # noqa: F401  # hwloop itself imports what it needs later

    imported = time.perf_counter()
    peer, _ = _network(name)
    peer.scale([float(f) for f in factors])
    peer.step()
    done = time.perf_counter()
    return {"import": imported - START, "first step": done - imported, "total": done - START}


def peak_memory(name: str, *factors: str) -> dict[str, float]:
    """Bytes by which the process' peak exceeds what it held after importing hwloop, over some training steps."""
    import hwloop.training  # noqa: F401  # hwloop itself imports what it needs later

    after_import = _memory("VmRSS")
    peer, _ = _network(name)
    peer.scale([float(f) for f in factors])
    for _ in range(MEMORY_STEPS):
        peer.step()
    return {"above import": _memory("VmHWM") - after_import, "after import": after_import}


def conv_memory() -> dict[str, float]:
    """The same of the seed paper's convolutional network, a batch of 20 images of which 19 % of the pixels are lit."""
    import torch

    import hwloop as hl
    import hwloop.training
    from hwloop.experiment import Experiment

    after_import = _memory("VmRSS")
    experiment = Experiment.load("mnist-conv-count")
    net, loss, generator = experiment.build_network(), experiment.build_loss(), torch.Generator().manual_seed(SEED)
    how, spikes = experiment.task.stimulus.build(), 0.0
    for _ in range(MEMORY_STEPS):
        pixels = torch.rand(20, net.n_in, generator=generator)
        lit = torch.where(torch.rand(20, net.n_in, generator=generator) < 0.19, pixels, 0.0)
        inputs = hl.encoding.intensity_to_latency(lit, how.t_early, how.t_late, how.t_stop)
        record = net(inputs)
        loss(net, record, torch.arange(20) % 10).backward()
        spikes = sum(float(layer.counts.double().mean()) for layer in record.populations)
    return {"above import": _memory("VmHWM") - after_import, "after import": after_import, "spikes": spikes}


def _network(name: str) -> tuple[Any, Any]:
    from hwloop.bench.peers import REFERENCE, build
    from hwloop.bench.workloads import WORKLOADS

    workload = WORKLOADS[name]
    return build(REFERENCE, workload, SEED), workload


def _memory(key: str) -> int:
    """Bytes, from Linux' account of this process (getrusage would include the parent's peak before exec)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


TASKS = {
    "import": import_time,
    "names": names_time,
    "factors": tuned_factors,
    "first": first_step,
    "memory": peak_memory,
    "conv-memory": conv_memory,
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])))
