from __future__ import annotations

import sys
from pathlib import Path

import neo
import nir
import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from hwloop import exchange
from hwloop.errors import InputError
from hwloop.spikes import Spikes


def make(seed: int, batch: int = 3, n_units: int = 4) -> Spikes:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, batch)
    pairs = [(np.sort(rng.uniform(0, 0.05, n)), rng.integers(0, n_units, n)) for n in counts]
    return Spikes.from_events(pairs, n_units, 0.05, torch.float64)


def same(a: Spikes, b: Spikes, tolerance: float = 0.0) -> bool:
    pairs = zip(a.to_events(), b.to_events(), strict=True)
    return (a.n_units, a.t_stop) == (b.n_units, b.t_stop) and all(
        np.array_equal(u, v) and np.allclose(s, t, rtol=0, atol=tolerance) for (s, u), (t, v) in pairs
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_nir_data_and_back_is_the_same_batch(seed: int) -> None:
    spikes = make(seed)
    assert same(exchange.from_nir_data(exchange.to_nir_data(spikes), torch.float64), spikes)


def test_nir_data_survives_its_own_file_format(tmp_path: Path) -> None:
    spikes = make(1)
    node = nir.NIRNodeData({"spikes": exchange.to_nir_data(spikes)})
    nir.write_data(tmp_path / "data.h5", nir.NIRGraphData({"out": node}))
    read = nir.read_data(tmp_path / "data.h5").nodes["out"].observables["spikes"]
    assert same(exchange.from_nir_data(read, torch.float64), spikes)


def test_nir_events_in_any_order_are_sorted() -> None:
    data = nir.EventData(np.array([[2, -1, 0]]), np.array([[0.03, np.inf, 0.01]]), 3, 0.05)
    (times, units), *_ = exchange.from_nir_data(data, torch.float64).to_events()
    assert times.tolist() == [0.01, 0.03]
    assert units.tolist() == [0, 2]


def test_gridded_nir_data_falls_on_its_steps() -> None:
    grid = np.zeros((1, 5, 2), dtype=bool)
    grid[0, 3, 1] = True
    spikes = exchange.from_nir_data(nir.TimeGriddedData(grid, 1e-3), torch.float64)
    assert spikes.to_events()[0][0].tolist() == [pytest.approx(3e-3)]
    assert spikes.times.dtype == torch.float64
    assert spikes.t_stop == pytest.approx(5e-3)


@pytest.mark.parametrize(
    "data, message",
    [
        (nir.TimeGriddedData(np.ones((1, 2, 2)), 1e-3), "float64; spikes are bool"),
        (
            nir.ValuedEventData(np.zeros((1, 1), int), np.zeros((1, 1)), 1, 0.1, np.ones((1, 1))),
            "ValuedEventData; allowed: EventData",
        ),
        (nir.EventData(np.array([[7]]), np.array([[0.01]]), 3, 0.05), "7"),
    ],
)
def test_nir_data_that_is_no_spikes_is_refused(data: nir.EventData, message: str) -> None:
    with pytest.raises(InputError, match=message):
        exchange.from_nir_data(data)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 5000),
    st.sampled_from([1e-3, 1e-4, 3e-7, 0.1]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_gridded_nir_data_finds_its_cells_again(seed: int, steps: int, dt: float, dtype: torch.dtype) -> None:
    """NIR rounds times down to steps: a float32 time just below its step falls into the one before."""
    grid = nir.TimeGriddedData(np.random.default_rng(seed).random((2, steps, 3)) < 5 / steps, dt)
    try:
        own = (
            grid.to_event(10**4).to_time_gridded(dt).data
        )  # NIR alone, which loses cells itself: int(t_max / dt), its floor
    except IndexError:  # or has a spike in the cell that it lost
        reject()
    spikes = exchange.from_nir_data(grid)
    assert spikes.times.dtype == torch.float64
    assert np.array_equal(spikes.to_nir_data().to_time_gridded(dt).data, own)
    narrow = spikes.to(dtype)
    assert np.array_equal(narrow.to_nir_data(dt).to_time_gridded(dt).data, own)


def test_times_off_the_grid_are_written_as_they_are() -> None:
    spikes = Spikes.from_events([([0.5e-3, 2.4e-3], [0, 1])], 2, 5e-3, torch.float32)
    assert spikes.to_nir_data(1e-3).time.tolist() == spikes.times.double().tolist()


def test_nir_events_in_one_axis_are_one_sample() -> None:
    data = nir.EventData(np.array([0, -1, 1]), np.array([2e-3, np.inf, 1e-3]), 3, 10e-3)
    (times, units), *others = exchange.from_nir_data(data).to_events()
    assert (times.tolist(), units.tolist(), others) == ([1e-3, 2e-3], [1, 0], [])
    with pytest.raises(InputError, match=r"NIRData of shape \(1, 1, 1\)"):
        exchange.from_nir_data(nir.EventData(np.zeros((1, 1, 1), int), np.zeros((1, 1, 1)), 3, 10e-3))


def test_nir_units_that_are_fractions_are_refused() -> None:
    with pytest.raises(InputError, match="must be whole numbers, found 1.5"):
        exchange.from_nir_data(nir.EventData(np.array([[1.5]]), np.array([[1e-3]]), 3, 10e-3))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1e3, 1e3), st.sampled_from(["s", "ms", "us"]))
def test_neo_trains_of_a_segment_share_its_clock(seed: int, zero: float, unit: str) -> None:
    spikes, rng = make(seed), np.random.default_rng(seed)
    scale = {"s": 1.0, "ms": 1e3, "us": 1e6}[unit]
    segments = []
    for times, units in spikes.to_events():
        segment = neo.Segment()
        for k in range(spikes.n_units):
            own = times[units == k]
            # each train is cut to a window of its own, the first one to all of it
            low, high = (
                (0.0, 0.05)
                if k == 0
                else (rng.uniform(0, own.min(initial=0.05)), rng.uniform(own.max(initial=0), 0.05))
            )
            low, high = min(low, high), max(low, high)
            ends = {"t_start": (zero + low) * scale, "t_stop": (zero + high) * scale}
            segment.spiketrains.append(
                neo.SpikeTrain(np.clip((zero + own) * scale, *ends.values()), units=unit, **ends)
            )
        segments.append(segment)
    back = exchange.from_neo(segments)
    assert back.times.dtype == torch.float64
    assert back.t_stop == pytest.approx(0.05)
    for (a, u), (b, v) in zip(back.to_events(), spikes.to_events(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)  # 1e3 s in float64, a few roundings
        assert u.tolist() == v.tolist()


def test_a_train_that_begins_later_keeps_its_times() -> None:
    segment = neo.Segment()
    for at, start in ((1.0, 0), (6.0, 5)):
        segment.spiketrains.append(neo.SpikeTrain([at], units="ms", t_start=start, t_stop=start + 10))
    spikes = exchange.from_neo(segment)  # a segment alone is one sample
    np.testing.assert_allclose(spikes.times.numpy(), [[1e-3, 6e-3]], rtol=1e-12)
    assert spikes.t_stop == pytest.approx(15e-3)


def test_neo_trains_in_another_order_than_annotated_are_refused() -> None:
    block = exchange.to_neo(make(3))
    trains = list(block.segments[0].spiketrains)
    segment = neo.Segment()
    segment.spiketrains.extend(trains[::-1])
    with pytest.raises(InputError, match="train 0 is annotated as unit 3; .*sort the trains"):
        exchange.from_neo([segment])
    ordered = neo.Segment()
    ordered.spiketrains.extend(sorted(segment.spiketrains, key=lambda train: train.annotations["unit"]))
    assert same(exchange.from_neo([ordered]), make(3)[0], tolerance=1e-15)


def test_a_spike_rounded_beyond_the_end_is_written_for_neo_at_the_end() -> None:
    train = exchange.to_neo(Spikes.from_events([([0.1], [0])], 1, 0.1, torch.float32)).segments[0].spiketrains[0]
    assert float(train[0]) == 0.1


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_neo_and_back_is_the_same_batch(seed: int) -> None:
    spikes = make(seed)
    assert same(exchange.from_neo(exchange.to_neo(spikes), torch.float64), spikes, tolerance=1e-15)


def test_neo_trains_in_ms_that_begin_late_are_converted() -> None:
    segment = neo.Segment()
    segment.spiketrains.append(neo.SpikeTrain([110.0, 130.0], units="ms", t_start=100.0, t_stop=150.0))
    spikes = exchange.from_neo([segment], torch.float64)
    assert spikes.t_stop == pytest.approx(0.05)
    np.testing.assert_allclose(spikes.to_events()[0][0], [0.01, 0.03], atol=1e-12)


def test_neo_segments_that_differ_are_refused() -> None:
    first, second = neo.Segment(), neo.Segment()
    first.spiketrains.append(neo.SpikeTrain([], units="s", t_stop=1.0))
    second.spiketrains.append(neo.SpikeTrain([], units="s", t_stop=2.0))
    with pytest.raises(InputError, match="segment 1, train 0 lasts 2 s"):
        exchange.from_neo([first, second])
    with pytest.raises(InputError, match="no segment with a spike train"):
        exchange.from_neo(neo.Block())


def test_neo_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neo", None)
    with pytest.raises(InputError, match=r"pip install 'hwloop\[neo\]'"):
        exchange.to_neo(make(0))
