from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import InputError, OptionError, TimeScaleWarning
from hwloop.spikes import Spikes

F64 = torch.float64
SIZE = (3, 4, 2)


def events(rows: list[tuple[Any, ...]], fields: str = "xytp", kind: str = "<i8") -> Any:
    return np.array(rows, dtype=[(name, kind) for name in fields])


#: Ticks of a clock that may be far from its zero, as a camera's are, and pixels of SIZE.
recordings = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 10**6), st.integers(0, 1)), max_size=20
).map(lambda rows: sorted(rows, key=lambda row: row[2]))


# -- what comes out is what went in ---------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.lists(recordings.filter(bool), min_size=1, max_size=3), st.integers(0, 2**52), st.sampled_from("uif"))
def test_pixels_polarities_and_ticks_of_any_clock_come_back(
    samples: list[list[tuple[int, ...]]], zero: int, kind: str
) -> None:
    arrays = [events([(x, y, t + zero, p) for x, y, t, p in rows], kind=f"<{kind}8") for rows in samples]
    spikes = Spikes.from_aer(arrays, sensor_size=SIZE)
    back = spikes.to_aer(sensor_size=SIZE)
    for rows, array in zip(samples, back, strict=True):
        first = rows[0][2]
        assert [(e["x"], e["y"], e["t"] + first, e["p"]) for e in array] == rows


@pytest.mark.filterwarnings("ignore::hwloop.errors.TimeScaleWarning")  # chance may draw a nearly empty window
@settings(deadline=None, max_examples=60)
@given(st.lists(recordings, min_size=1, max_size=3), st.integers(0, 10**10))
def test_a_window_keeps_the_zero_of_its_clock(samples: list[list[tuple[int, ...]]], zero: int) -> None:
    arrays = [events([(x, y, t + zero, p) for x, y, t, p in rows]) for rows in samples]
    spikes = Spikes.from_aer(arrays, t_stop=(zero + 10**6) * 1e-6 + 1, sensor_size=SIZE)
    for array, back in zip(arrays, spikes.to_aer(sensor_size=SIZE), strict=True):
        assert back["t"].tolist() == array["t"].tolist()


@pytest.mark.filterwarnings("ignore::hwloop.errors.TimeScaleWarning")  # chance may draw a nearly empty window
@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 10**8), st.integers(0, 4)), max_size=12).map(sorted), min_size=1))
def test_units_and_ticks_without_a_sensor_come_back(samples: list[list[tuple[int, int]]]) -> None:
    spikes = Spikes.from_aer([events(rows, "tx") for rows in samples], 5, 101.0)
    again = Spikes.from_aer(spikes.to_aer(), 5, 101.0)
    assert torch.equal(again.times, spikes.times)
    assert torch.equal(again.units, spikes.units)
    assert [list(zip(a["t"], a["x"], strict=True)) for a in spikes.to_aer()] == samples


# -- one by one -----------------------------------------------------------------------------------


def test_a_pixel_and_polarity_is_the_unit_of_a_flattened_frame() -> None:
    array = events([(2, 1, 5, 0), (0, 3, 6, 1)])
    frames = torch.zeros(2, 2, 4, 3)  # [event, p, y, x]
    frames[0, 0, 1, 2] = frames[1, 1, 3, 0] = 1
    spikes = Spikes.from_aer([array], sensor_size=SIZE)
    assert spikes.n_units == 24
    assert spikes.units[0].tolist() == frames.reshape(2, -1).argmax(1).tolist()


def test_microseconds_apart_stay_apart_two_minutes_into_a_recording() -> None:
    array = events([(k, 120_000_000 + dt) for k, dt in enumerate([0, 1, 3, 7])], "xt")
    on_its_clock = Spikes.from_aer([array], 4, 121.0)
    assert on_its_clock.times.dtype == F64
    assert (on_its_clock.to_aer()[0]["t"] - array["t"]).tolist() == [0] * 4
    rebased = Spikes.from_aer([array], 4, 1.0, start="first")
    assert rebased.times.dtype == torch.float32
    assert rebased.to_aer()[0]["t"].tolist() == [0, 1, 3, 7]


def test_without_a_window_time_runs_from_each_samples_first_event_to_the_last_tick() -> None:
    spikes = Spikes.from_aer([events([(0, 7), (1, 9)], "xt"), events([(0, 100)], "xt")], 2, time_unit="ms")
    torch.testing.assert_close(spikes.times[:, :1], torch.zeros(2, 1))
    assert spikes.t_stop == pytest.approx(3e-3)


def test_the_start_may_be_a_tick_or_one_per_sample() -> None:
    arrays = [events([(0, 10)], "xt"), events([(0, 20)], "xt")]
    assert Spikes.from_aer(arrays, 1, 1.0, 1e-3, start=5).to_aer(1e-3)[1]["t"].tolist() == [15]
    both = Spikes.from_aer(arrays, 1, 1.0, 1e-3, start=np.array([10, 18])).to_aer(1e-3)
    assert [a["t"].tolist() for a in both] == [[0], [2]]


def test_one_array_alone_is_one_sample() -> None:
    spikes = Spikes.from_aer(events([(1, 1, 5, 1), (2, 1, 6, 0)]), sensor_size=SIZE)
    assert (len(spikes), int(spikes.counts)) == (1, 2)


@pytest.mark.parametrize("kind", ["<u2", ">i4", "<f4", "?"])
def test_addresses_of_any_type_and_byte_order_are_read(kind: str) -> None:
    array = np.array([(1, 7), (0, 9)], dtype=[("x", kind), ("t", ">u8")])
    array.flags.writeable = False
    assert Spikes.from_aer([array], 2, 1.0).units.tolist() == [[1, 0]]


def test_a_polarity_that_says_nothing_needs_no_unit() -> None:
    array = events([(1, 0, 5, 1), (2, 0, 6, 1)])
    assert Spikes.from_aer([array], 3, 1.0).units.tolist() == [[1, 2]]
    assert Spikes.from_aer([array], sensor_size=(3, 1, 1)).units.tolist() == [[1, 2]]
    assert Spikes.from_aer([array], sensor_size=(3, 1)).n_units == 3


def test_a_window_in_ms_and_a_clock_in_seconds_are_asked_about() -> None:
    array = events([(0, k * 1000) for k in range(300)], "xt")
    with pytest.warns(
        TimeScaleWarning, match="last event lies at 0.299 s, t_stop = 300 s; is t_stop in ms?.*Write 300e-3"
    ):
        Spikes.from_aer([array], 1, 300)
    in_seconds = events([(0, k * 1e-3) for k in range(300)], "xt", "<f8")
    with pytest.warns(TimeScaleWarning, match="fractions up to 0.299 ticks of 1e-06 s; .*Write time_unit='s'"):
        Spikes.from_aer([in_seconds], 1, 0.3)
    remedied = (Spikes.from_aer([array], 1, 300e-3), Spikes.from_aer([in_seconds], 1, 0.3, time_unit="s"))
    torch.testing.assert_close(remedied[0].times, remedied[1].times)
    Spikes.from_aer([events([(0, 5)], "xt")], 1, 300)  # one event says nothing
    Spikes.from_aer([events([(0, k + 0.5) for k in range(20)], "xt", "<f8")], 1)  # a jittered clock


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (events([(0, 9, 1, 1)]), {"n_units": 24}, r"field 'y' \(values 9\) would be dropped; give sensor_size"),
        (events([(0, 0, 1, 0), (0, 0, 2, 1)]), {"n_units": 24}, r"field 'p' \(values 0, 1\) would be dropped"),
        (events([(0, 0, 1, 0), (0, 0, 2, 1)]), {"sensor_size": (3, 4, 1)}, "field 'p' .* here with p = 2"),
        (events([(0, 1, 5)], "xtq"), {"n_units": 2}, "sample 0: field 'q' would be dropped; allowed: t, x, y, p"),
        (events([(2.7, 1.0)], "xt", "<f8"), {"n_units": 4}, "'x' .*must be whole numbers, found 2.7"),
        (events([(np.nan, 1.0)], "xt", "<f8"), {"n_units": 4}, "'x' .*must be whole numbers, found nan"),
        (events([(4, 1)], "xt"), {"n_units": 4}, "event 0: x = 4; allowed: 0..3"),
        (events([(0, -1, 1, 0)]), {"sensor_size": SIZE}, "event 0: y = -1; allowed: 0..3"),
        (events([(0, 0, 1, 1), (0, 0, 2, -1)]), {"sensor_size": SIZE}, r"p = -1; allowed: 0..1.*\(p \+ 1\) // 2"),
        (events([(0, 1)], "xt"), {"sensor_size": SIZE}, "no field 'y'"),
        (events([(0, 2), (0, 1)], "xt"), {"n_units": 1, "t_stop": 1.0}, "allowed: sorted"),
        (events([(0, 2), (0, 1)], "xt"), {"n_units": 1}, "event 1: tick 1 lies before start = 2"),
        (events([(0, np.inf)], "xt", "<f8"), {"n_units": 1}, "t = inf; allowed: finite"),
        (events([(0, 120_000_000)], "xt"), {"n_units": 1, "t_stop": 0.3}, "begins at 120 s of its clock, .*start='first'"),
        (events([(0, 120_000_000)], "xt"), {"n_units": 1, "t_stop": 121.0, "dtype": torch.float32}, "too coarse"),
        (events([(0, 1)], "xt"), {"n_units": 1, "dtype": torch.float16}, "float16; allowed: torch.float32"),
        (events([(0, 1)], "xt"), {"n_units": 5, "sensor_size": SIZE}, "n_units = 5, but sensor_size .* has 24"),
        (events([(0, 1)], "xt"), {}, "neither n_units nor sensor_size"),
        (events([(0, 1)], "xt"), {"sensor_size": 34}, "sensor_size = 34; allowed: "),
        (events([], "xt"), {"n_units": 1}, "no last one; give t_stop"),
        (events([(0, 1)], "xt"), {"n_units": 1, "start": [0, 1]}, "start has 2 ticks for 1 samples"),
        (events([[(0, 1)]], "xt"), {"n_units": 1}, r"shape \(1, 1\)"),  # type: ignore[list-item]
        (np.zeros((3, 4)), {"n_units": 1}, "an AER array needs 't' and 'x'"),
    ],
)  # fmt: skip
def test_what_would_be_lost_is_refused_by_name(array: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spikes.from_aer([array], **options)


def test_names_that_are_unknown_are_refused() -> None:
    array = events([(0, 1)], "xt")
    with pytest.raises(OptionError, match="time_unit = 'min'; allowed: seconds, or 's', 'ms'"):
        Spikes.from_aer([array], 1, time_unit="min")
    with pytest.raises(OptionError, match="start = 'last'; allowed: 'first'"):
        Spikes.from_aer([array], 1, start="last")
    with pytest.raises(InputError, match="has 24 units; the spikes have 3"):
        Spikes.from_events([([], [])], 3, 1.0).to_aer(sensor_size=SIZE)


def test_the_remedies_work_on_the_arrays_that_were_refused() -> None:
    polarised = events([(0, 0, 1, 1), (0, 0, 2, -1)])
    polarised["p"] = (polarised["p"] + 1) // 2
    assert Spikes.from_aer([polarised], sensor_size=SIZE).units.tolist() == [[12, 0]]
    extra = events([(0, 1, 5)], "xtq")
    assert Spikes.from_aer([extra[["x", "t"]]], 2, 1.0).units.tolist() == [[0]]
