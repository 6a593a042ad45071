"""One random network through the wire protocol, compared with `loihi`."""

from __future__ import annotations

import numpy as np

from hwloop_loihi import Emulator, TickSpikes

from ...loihi.random_graphs import random_graph, random_raster, random_wiring
from .images import answer_of, events_of, image_of
from .wire import DONE, INPUT, PROGRAM, Host

TICKS, BATCH = 80, 3


def assert_equal(host: Host, seed: int) -> tuple[int, int]:
    """Spikes and wraps of network ``seed`` that were compared: in a row where it is even, else of any wiring."""
    graph = (random_wiring if seed % 2 else random_graph)(seed // 2)
    spikes = TickSpikes.from_raster(random_raster(graph, seed // 2, BATCH, TICKS))
    image, events = image_of(graph, "list" if seed % 4 > 1 else "dense"), events_of(spikes, wide=seed % 3 == 0)
    chunk = 900
    assert host.upload(PROGRAM, image, chunk).kind == 0x85
    assert host.upload(INPUT, events, chunk).kind == 0x85
    reply = host.run(image, events, BATCH, TICKS, run_id=seed + 1, wide=seed % 3 == 0)
    assert reply.kind == 0x86, reply.error
    status = host.finish()
    assert (status.state, status.run_id, status.samples_done) == (DONE, seed + 1, BATCH)
    found, wraps = answer_of(host.output(status, chunk), graph, BATCH, TICKS, wide=seed % 3 == 0)
    ran = Emulator(graph).run(spikes, TICKS)
    for index, (ours, theirs) in enumerate(zip(found, ran.layers, strict=True)):
        np.testing.assert_array_equal(ours, theirs.to_raster(TICKS), f"network {seed}, layer {index}")
    np.testing.assert_array_equal(wraps, np.stack(ran.wraps, 1), f"wraps of network {seed}")
    return sum(int(layer.counts.sum()) for layer in ran.layers), int(wraps.sum())
