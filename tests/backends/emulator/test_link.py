"""The event link loses what its FIFO cannot hold, delivers late what comes at the end, and wraps its clock."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice
from hwloop_emulator.link import KEPT, LATE, LOST, Link

Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]


def trains(times: list[float], n_units: int = 1, t_stop: float = 10.0) -> Spikes:
    ordered = sorted(times)
    return Spikes.from_events([(ordered, [0] * len(ordered))], n_units=n_units, t_stop=t_stop)


def plain_fates(times: list[float], rate: float, depth: int, t_stop: float) -> list[int]:
    """The FIFO as a list of departures: an event enters if fewer than ``depth`` are still inside."""
    inside: list[float] = []
    fates = []
    for t in times:
        inside = [leaves for leaves in inside if leaves > t + 1e-9 / rate]
        if len(inside) >= depth:
            fates.append(LOST)
            continue
        leaves = max(inside[-1] if inside else t, t) + 1 / rate
        inside.append(leaves)
        fates.append(LATE if leaves > t_stop else KEPT)
    return fates


@settings(max_examples=60, deadline=None)
@given(
    times=st.lists(st.integers(0, 320).map(lambda k: k / 32), min_size=1, max_size=40),
    rate=st.sampled_from([1.0, 4.0, 32.0]),
    depth=st.integers(1, 6),
)
def test_the_queue_is_a_fifo(times: list[float], rate: float, depth: int) -> None:
    found, lost, late = Link(rate, depth, 0.0).deliver([trains(times)])
    expected = plain_fates(sorted(times), rate, depth, 10.0)
    assert (lost, late) == (expected.count(LOST), expected.count(LATE))
    kept = [t for t, fate in zip(sorted(times), expected, strict=True) if fate == KEPT]
    assert found[0].times[0, : int(found[0].counts[0])].tolist() == pytest.approx(kept)


def test_populations_share_the_link() -> None:
    burst = [1.0, 1.1, 1.2]
    _, lost, _ = Link(1.0, 3, 0.0).deliver([trains(burst)])
    assert lost == 0
    populations, lost, _ = Link(1.0, 3, 0.0).deliver([trains(burst), trains(burst)])
    assert lost == 3
    # a tie goes to the population that comes first
    assert [int(p.counts[0]) for p in populations] == [2, 1]


def test_a_free_link_changes_nothing() -> None:
    given_spikes = [trains([0.5, 1.5, 9.999])]
    found, lost, late = Link(0.0, 0, 0.0).deliver(given_spikes)
    assert found == given_spikes
    assert (lost, late) == (0, 0)


def test_lost_and_late_events_are_counted_in_the_recording(build: Build, chip: Chip, spikes: Spikes, only) -> None:  # type: ignore[no-untyped-def]
    net = build()
    free = chip(net, only()).run(spikes)
    narrow = chip(net, only(link_fifo=4).with_effect("link_rate", 100.0)).run(spikes)
    sent = sum(int(p.counts.sum()) for p in free.populations)
    arrived = sum(int(p.counts.sum()) for p in narrow.populations)
    assert narrow.lost_events > 0
    assert narrow.late_events > 0
    assert sent == arrived + narrow.lost_events + narrow.late_events
    # the link is behind the chip: hidden spikes that the host never saw still drove the output
    kept = set(narrow.output.times[narrow.output.valid].tolist())
    assert kept <= set(free.output.times[free.output.valid].tolist())


def test_a_wrapped_clock_is_unwrapped_while_no_silence_is_longer_than_its_period() -> None:
    times = [0.5, 1.75, 2.5, 3.75, 4.0, 6.5]
    found, _, _ = Link(0.0, 0, 3.0).deliver([trains(times[::2]), trains(times[1::2])])
    assert found[0].times.tolist() == [times[::2]]
    assert found[1].times.tolist() == [times[1::2]]


def test_a_longer_silence_hides_a_wrap() -> None:
    found, _, _ = Link(0.0, 0, 3.0).deliver([trains([0.5, 7.0])])
    # 7.0 shows as 1.0, after .5: nothing tells the host that the clock went round twice
    assert found[0].times.tolist() == [[0.5, 1.0]]


def test_delay_jitter_moves_arrivals_and_no_stamp_of_the_same_layer(
    build: Build, chip: Chip, spikes: Spikes, only: Callable[..., object]
) -> None:
    net = build()
    sharp, jittered = chip(net, only()), chip(net, only(delay_jitter=1e-4))  # type: ignore[arg-type]
    a, b = sharp.run(spikes), jittered.run(spikes)
    assert not torch.equal(a[0].first_times(), b[0].first_times())
    both = torch.isfinite(a[0].first_times()) & torch.isfinite(b[0].first_times())
    difference = (a[0].first_times() - b[0].first_times())[both]
    assert 1e-6 < float(difference.abs().median()) < 1e-3
    again = chip(net, only(delay_jitter=1e-4))  # type: ignore[arg-type]
    assert np.array_equal(again.run(spikes)[1].times.numpy(), b[1].times.numpy())
