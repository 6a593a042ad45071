"""Random networks on the simulated core, compared with the specification and `loihi`: every spike, every state, every wrap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.registers import Array
from hwloop_loihi import Emulator, TickSpikes
from hwloop_serial.fixed_image import write

from ..loihi.random_graphs import random_graph, random_raster, random_wiring
from ..serial.firmware.images import image_of
from .jobs import DONE, Answer, Memory, Sample, run, sample
from .specified import States, states

TICKS = 80
#: Every memory that the core has to live with: as fast as can be, as a UP5K's, slow, and at random.
WAITS = (Memory(0, 0), Memory(1, 0), Memory(3, 2), Memory(0, 0, 128), Memory(1, 1, 200))


@dataclass(frozen=True)
class Compared:
    """What a comparison was about."""

    spikes: int
    above: int
    below: int
    cycles: int
    synapses: int


@dataclass(frozen=True)
class Case:
    """Network ``seed`` of 200: in a row where it is even, else of any wiring."""

    seed: int
    graph: FixedGraph
    raster: Array
    sample: Sample


def case(seed: int) -> Case:
    graph = (random_wiring if seed % 2 else random_graph)(seed // 2)
    # the last of a batch: the first one is silent here and there
    raster = random_raster(graph, seed // 2, 3, TICKS)[-1]
    # the compiler's choice of forms, or all of one form
    image = write(graph) if seed % 5 == 4 else image_of(graph, "list" if seed % 4 > 1 else "dense")
    made = sample(
        graph,
        image,
        raster,
        wide=seed % 3 == 0,
        traced=True,
        room=40_000,
        waits=WAITS[seed % len(WAITS)],
        seed=seed + 1,
        before=64 + 4 * (seed * 1237 % 10_000),
        most_cycles=4_000_000,
    )
    return Case(seed, graph, raster, made)


def compare(program: Path, seeds: Sequence[int]) -> list[Compared]:
    """All of ``seeds`` in one process."""
    cases = [case(seed) for seed in seeds]
    answers = run(program, [one.sample for one in cases])
    return [assert_equal(one, answer) for one, answer in zip(cases, answers, strict=True)]


def assert_equal(one: Case, answer: Answer) -> Compared:
    name, wanted = f"network {one.seed}", states(one.graph, one.raster)
    ran = Emulator(one.graph).run(TickSpikes.from_raster(one.raster[None]), TICKS)
    by_loihi = np.concatenate([layer.to_raster(TICKS)[0] for layer in ran.layers], axis=1)
    np.testing.assert_array_equal(by_loihi, wanted.spikes, name)
    assert (answer.status, answer.lost, answer.tick) == (DONE, 0, TICKS), name
    np.testing.assert_array_equal(spikes_of(answer, wanted), wanted.spikes, name)
    neurons = wanted.u.shape[1]
    np.testing.assert_array_equal(answer.trace[:, :neurons], wanted.u, f"u of {name}")
    np.testing.assert_array_equal(answer.trace[:, neurons:], wanted.v, f"v of {name}")
    np.testing.assert_array_equal(answer.wraps, wanted.wraps.sum(1), f"wraps of {name}")
    np.testing.assert_array_equal(answer.wraps, np.stack(ran.wraps, 1)[0], f"wraps of {name} by loihi")
    above, below = (int(count) for count in wanted.wraps.sum(0))
    return Compared(int(wanted.spikes.sum()), above, below, answer.cycles, answer.synapses)


def spikes_of(answer: Answer, wanted: States) -> Array:
    """The events of ``answer`` as a raster; they have to come by tick, then unit, none twice."""
    keys = answer.events["tick"].astype(np.int64) * wanted.spikes.shape[1] + answer.events["unit"]
    assert (answer.events["unit"] < wanted.spikes.shape[1]).all()
    assert (np.diff(keys) > 0).all()
    raster = np.zeros_like(wanted.spikes)
    raster[answer.events["tick"], answer.events["unit"]] = True
    return raster
