"""Many streams at once draw what each stream draws alone, wherever the draws begin."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop_emulator.compiled.streams import Streams
from hwloop_emulator.streams import Stream

POSITION = st.integers(0, 2**63 - 1)


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3),
    positions=st.lists(st.tuples(POSITION, POSITION, POSITION), min_size=1, max_size=3),
    runs=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 70), st.integers(0, 40)), min_size=1, max_size=6),
    uniform=st.booleans(),
)
def test_runs_are_parts_of_what_the_streams_draw(
    numbers: list[int], positions: list[tuple[int, int, int]], runs: list[tuple[int, int, int]], uniform: bool
) -> None:
    streams = Streams.of("wafer", numbers, "synapse", np.array(positions, dtype=np.uint64))
    alone = [(number, position) for number in numbers for position in positions]
    expected, asked = [], []
    for which, first, count in runs:
        number, position = alone[which % len(alone)]
        stream = Stream("wafer", number, "synapse", *position)
        drawn = stream.random(first + count) if uniform else stream.normal(first + count)
        expected.append(drawn[first:])
        asked.append((which % len(alone), first, count))
    columns = [np.array(column) for column in zip(*asked, strict=True)]
    found = streams.random(*columns) if uniform else streams.normal(*columns)
    assert np.array_equal(found, np.concatenate(expected))


def test_a_draw_longer_than_a_block_is_the_same() -> None:
    n = 40_001
    (found,) = Streams.of("wafer", [3], "a").all_normal(n)
    assert np.array_equal(found, Stream("wafer", 3, "a").normal(n))


def test_single_draws_are_those_of_the_whole_stream() -> None:
    index = np.array([7, 0, 500, 501, 3])
    streams = Streams.of("wafer", [1, 2], "a")
    for uniform in (False, True):
        for number, row in zip((1, 2), streams.at(index, uniform), strict=True):
            stream = Stream("wafer", number, "a")
            whole = stream.random(502) if uniform else stream.normal(502)
            assert np.array_equal(row, whole[index])
