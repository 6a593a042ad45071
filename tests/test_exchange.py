from __future__ import annotations

import sys
from pathlib import Path

import neo
import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
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
