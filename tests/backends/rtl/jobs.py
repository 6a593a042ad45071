"""Samples for the simulated core: what lies where in its memory, what one process runs, and what comes back."""

from __future__ import annotations

import os
import struct
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.registers import Array
from hwloop_serial.fixed_layout import (
    HEADER,
    POPULATION,
    PROJECTION,
    ImageHeader,
    PopulationEntry,
    ProjectionEntry,
)
from hwloop_serial.fixed_limits import needs

CONTROL, STATUS, IMAGE, STATE, INPUT, INPUT_COUNT, FORMAT, N_TICKS = range(0x00, 0x20, 4)
OUTPUT, OUTPUT_LIMIT, OUTPUT_COUNT, LOST, WRAPS, TICK = range(0x20, 0x38, 4)
BUSY, DONE, OVERFLOW, ABORTED, BAD_INPUT = (1 << bit for bit in range(5))
#: Bytes before the image: an address that is 0 by mistake meets nothing good.
BEFORE = 64
#: What lies in memory that nobody has set.
NOISE = 0xA5
#: Variable of the environment: a folder in which each run leaves what it reached.
COVERAGE = "HWLOOP_RTL_COVERAGE"
#: Cycles after which the bench gives up on a sample.
MOST_CYCLES = 10_000_000


@dataclass(frozen=True)
class Memory:
    """How the memory answers: cycles that a read and a write wait, and the chance in 256 of each further one."""

    read_wait: int = 1
    write_wait: int = 0
    chance: int = 0


@dataclass(frozen=True)
class Sample:
    """One sample of one image; ``traced``: byte addresses of the words that are kept each tick."""

    memory: bytes
    registers: tuple[tuple[int, int], ...]
    output: int
    room: int
    wide: bool
    wraps: int
    populations: int
    traced: tuple[int, ...] = ()
    waits: Memory = Memory()
    seed: int = 1
    abort_at: int = 0
    most_cycles: int = MOST_CYCLES
    keep: bool = False  # the memory as the sample before left it


@dataclass(frozen=True)
class Answer:
    """What the core said; ``trace [ticks, words]``."""

    status: int
    events: Array
    count: int
    lost: int
    tick: int
    cycles: int
    synapses: int
    trace: Array
    reads: int
    writes: int
    wraps: Array
    after: bytes  # the memory behind the output


def sample(
    graph: FixedGraph, image: bytes, raster: Array, *, wide: bool = False, traced: bool = False, room: int = 1 << 15,
    size: int = 1 << 17, before: int = BEFORE, **more: object,
) -> Sample:  # fmt: skip
    """The input spikes ``raster [ticks, n_in]`` through ``image``, which stands at ``before``.

    The state has the bytes that the protocol counts, no more.
    """
    ticks, units = np.nonzero(raster)
    kind = np.dtype([("tick", "<u4"), ("unit", "<u4" if wide else "<u2")])
    events = np.zeros(len(ticks), kind)
    events["tick"], events["unit"] = ticks, units
    state_bytes = needs(graph).state_bytes
    state = before + len(image)
    wraps = state + state_bytes
    # counts of a batch come in whole words; events do not
    inputs = wraps + 4 * len(graph.layers) + 2
    output = inputs + events.nbytes
    memory = bytearray([NOISE]) * size
    assert output + room <= size, f"{output + room} bytes do not fit"
    memory[before:state] = image
    memory[wraps : wraps + 4 * len(graph.layers)] = bytes(4 * len(graph.layers))
    memory[inputs:output] = events.tobytes()
    registers = (
        (IMAGE, before), (STATE, state), (INPUT, inputs), (INPUT_COUNT, len(events)), (FORMAT, 4 * wide),
        (N_TICKS, len(raster)), (OUTPUT, output), (OUTPUT_LIMIT, room), (WRAPS, wraps), (CONTROL, 1),
    )  # fmt: skip
    made = Sample(
        bytes(memory), registers, output, room, wide, wraps, len(graph.layers), records(image, state) if traced else ()
    )
    return replace(made, **more)  # type: ignore[arg-type]


def records(image: bytes, state: int) -> tuple[int, ...]:
    """Byte addresses of u, then v, of all neurons, from the page beside the core."""
    header = ImageHeader(*HEADER.unpack_from(image))
    depth = [0] * header.populations
    for k in range(header.projections):
        entry = ProjectionEntry(*PROJECTION.unpack_from(image, header.projections_at + k * PROJECTION.size))
        depth[entry.target] = max(depth[entry.target], entry.depth)
    place, found = state + 8 * header.populations, []
    for k, rows in enumerate(depth):
        n = PopulationEntry(*POPULATION.unpack_from(image, header.populations_at + k * POPULATION.size)).n
        found += [place + 4 * ((3 + rows) * i + rows + 1) for i in range(n)]
        place += 4 * (3 + rows) * n
    return tuple(found) + tuple(address + 4 for address in found)


def run(
    program: Path, samples: Sequence[Sample], *, coverage: Path | None = None, timeout: float = 900
) -> list[Answer]:
    """All ``samples`` in one process."""
    with tempfile.TemporaryDirectory() as folder:
        jobs, results = Path(folder) / "jobs", Path(folder) / "results"
        with jobs.open("wb") as file:
            file.write(struct.pack("<I", len(samples)))
            for entry in samples:
                file.write(_packed(entry))
        environment = dict(os.environ)
        if COVERAGE in os.environ:
            path = Path(os.environ[COVERAGE])
            path.mkdir(parents=True, exist_ok=True)
            environment["HWLOOP_RTL_COVERAGE_FILE"] = str(path / f"{uuid.uuid4().hex}.dat")
        done = subprocess.run(
            [str(program), str(jobs), str(results)], capture_output=True, text=True, timeout=timeout, env=environment
        )
        if done.returncode:
            raise RuntimeError(f"the bench ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        data = np.frombuffer(results.read_bytes(), "<u4")
    answers, at = [], 0
    for entry in samples:
        answer, at = _answer(entry, data, at)
        answers.append(answer)
    assert at == len(data)
    return answers


def _kept(entry: Sample) -> tuple[int, int]:
    """First word of what comes back, and how many: from the wraps to the end of memory."""
    first = entry.wraps // 4
    return first, len(entry.memory) // 4 - first


def _packed(entry: Sample) -> bytes:
    waits = entry.waits
    first, count = _kept(entry)
    head = struct.pack(
        "<11I", 0 if entry.keep else len(entry.memory) // 4, entry.seed, waits.read_wait, waits.write_wait, waits.chance,
        entry.abort_at, entry.most_cycles, len(entry.registers), len(entry.traced), first, count,
    )  # fmt: skip
    body = np.array(entry.registers, "<u4").tobytes() + np.array(entry.traced, "<u4").tobytes()
    return head + body + (b"" if entry.keep else entry.memory)


def _answer(entry: Sample, data: Array, at: int) -> tuple[Answer, int]:
    status, count, lost, tick, low, high, synapses, ticks, reads, writes = (int(word) for word in data[at : at + 10])
    at += 10
    trace = data[at : at + ticks * len(entry.traced)].astype(np.int32).reshape(ticks, len(entry.traced))
    at += trace.size
    first, words = _kept(entry)
    memory = data[at : at + words].tobytes()
    kind = np.dtype([("tick", "<u4"), ("unit", "<u4" if entry.wide else "<u2")])
    place = entry.output - 4 * first
    events = np.frombuffer(memory[place : place + count * kind.itemsize], kind)
    wraps = np.frombuffer(memory[: 4 * entry.populations], "<u4")
    after = memory[place + count * kind.itemsize :]
    answer = Answer(status, events, count, lost, tick, low + (high << 32), synapses, trace, reads, writes, wraps, after)
    return answer, at + words
