from __future__ import annotations

import math
from typing import Any

import neo
import numpy as np
import pytest
import quantities as pq
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from hwloop.errors import InputError
from hwloop.spikes import Spikes, concatenate

F64 = torch.float64


def two() -> Spikes:
    return Spikes.from_events([([1e-3, 2e-3, 2e-3], [0, 2, 1]), ([], [])], 3, 0.01, F64)


events = st.lists(st.tuples(st.integers(0, 100), st.integers(0, 4)), max_size=12).map(sorted)


# -- constructors and round trips -----------------------------------------------------------------


def test_events_are_padded_with_inf_and_unit_zero() -> None:
    spikes = two()
    assert spikes.times.tolist() == [[1e-3, 2e-3, 2e-3], [math.inf] * 3]
    assert spikes.units.tolist() == [[0, 2, 1], [0, 0, 0]]
    assert spikes.counts.tolist() == [3, 0]
    assert spikes.valid.tolist() == [[True] * 3, [False] * 3]


@settings(deadline=None)  # the first call may meet a cold cache
@given(st.lists(events, min_size=1, max_size=4))
def test_events_come_back_as_given(samples: list[list[tuple[int, int]]]) -> None:
    pairs = [([t / 1000 for t, _ in s], [u for _, u in s]) for s in samples]
    spikes = Spikes.from_events(pairs, 5, 0.1, F64)
    for (t, u), (t_back, u_back) in zip(pairs, spikes.to_events(), strict=True):
        assert t_back.tolist() == t
        assert u_back.tolist() == u


@settings(deadline=None)  # the first call may meet a cold cache
@given(st.lists(events.map(lambda s: sorted(dict.fromkeys(s))), min_size=1, max_size=3))
def test_raster_round_trip_keeps_every_event_on_the_grid(samples: list[list[tuple[int, int]]]) -> None:
    dt = 1e-3
    raster = torch.zeros(len(samples), 101, 5, dtype=F64)
    for b, sample in enumerate(samples):
        for step, unit in sample:
            raster[b, step, unit] = 1
    spikes = Spikes.from_dense(raster, dt)
    assert spikes.t_stop == pytest.approx(0.101)
    assert torch.equal(spikes.to_dense(dt), raster)


@settings(deadline=None)  # the first call may meet a cold cache
@given(st.lists(events, min_size=1, max_size=3))
def test_aer_round_trip_keeps_whole_ticks(samples: list[list[tuple[int, int]]]) -> None:
    pairs = [([t * 1e-6 for t, _ in s], [u for _, u in s]) for s in samples]
    spikes = Spikes.from_events(pairs, 5, 1e-3, F64)
    arrays = spikes.to_aer()
    for s, array in zip(samples, arrays, strict=True):
        assert array["t"].tolist() == [t for t, _ in s]
        assert array["x"].tolist() == [u for _, u in s]
    again = Spikes.from_aer(arrays, 5, 1e-3).to(F64)
    torch.testing.assert_close(again.times, spikes.times, rtol=1e-6, atol=1e-12)
    assert torch.equal(again.units, spikes.units)


def test_aer_time_unit_is_the_worth_of_a_tick() -> None:
    array = np.array([(3, 1)], dtype=[("t", np.int64), ("x", np.int16)])
    assert Spikes.from_aer([array], 2, 1.0, time_unit=1e-3).times.item() == pytest.approx(3e-3)


def test_first_times_round_trip_with_silent_units() -> None:
    first = torch.tensor([[3e-3, math.inf, 1e-3], [math.inf] * 3], dtype=F64)
    spikes = Spikes.from_first_times(first, 0.01)
    assert spikes.counts.tolist() == [2, 0]
    assert spikes.units[0].tolist() == [2, 0]
    assert torch.equal(spikes.first_times(), first)


def test_gradient_passes_through_first_times_both_ways() -> None:
    first = torch.tensor([[3e-3, math.inf, 1e-3]], dtype=F64, requires_grad=True)
    back = Spikes.from_first_times(first, 0.01).first_times()
    (back[0, 0] * 2 + back[0, 2] * 5).backward()  # type: ignore[no-untyped-call]
    assert first.grad is not None
    assert first.grad.tolist() == [[2.0, 0.0, 5.0]]


def test_first_time_is_the_earliest_of_several() -> None:
    spikes = Spikes.from_events([([1e-3, 2e-3, 4e-3], [1, 0, 1])], 3, 0.01, F64)
    assert spikes.first_times().tolist() == [[2e-3, 1e-3, math.inf]]
    assert Spikes.from_events([([], [])], 2, 0.01).first_times().tolist() == [[math.inf, math.inf]]


def test_counts_of_units_leave_padding_out() -> None:
    assert two().unit_counts().tolist() == [[1, 1, 1], [0, 0, 0]]


def test_bins_hold_counts_and_the_last_takes_t_stop() -> None:
    spikes = Spikes.from_events([([0.0, 1e-4, 10e-3], [0, 0, 0])], 1, 10e-3, F64)
    raster = spikes.to_dense(1e-3)
    assert raster.shape == (1, 10, 1)
    assert raster[0, :, 0].tolist() == [2] + [0] * 8 + [1]


def test_times_given_as_tensors_keep_gradient_and_dtype() -> None:
    first = torch.tensor([1e-3, 3e-3], dtype=F64, requires_grad=True)
    spikes = Spikes.from_events([(first, torch.tensor([1, 0])), ([2e-3], [1])], 2, 10e-3)
    assert spikes.times.dtype == F64
    (spikes.times[0] * torch.tensor([2.0, 5.0])).sum().backward()
    assert first.grad is not None
    assert first.grad.tolist() == [2.0, 5.0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_times_are_widened_exactly_and_keep_their_gradient(dtype: torch.dtype) -> None:
    first = torch.tensor([[0.5, 0.25]], dtype=dtype, requires_grad=True)
    spikes = Spikes.from_first_times(first, 1.0)
    assert (spikes.times.dtype, spikes.times.tolist()) == (torch.float32, [[0.25, 0.5]])
    spikes.times.sum().backward()  # type: ignore[no-untyped-call]
    assert first.grad is not None
    assert first.grad.tolist() == [[1.0, 1.0]]
    assert Spikes.from_events([(first[0].detach().flip(0), [0, 1])], 2, 1.0).times.tolist() == [[0.25, 0.5]]


def test_sizes_windows_and_indices_may_be_numbers_of_numpy_and_torch() -> None:
    x = np.array([0, 5, 3])
    spikes = Spikes.from_events(iter([([1e-3, 2e-3, 3e-3], x), ([], [])]), x.max() + 1, np.float32(0.01))
    assert type(spikes.n_units) is int
    assert type(spikes.t_stop) is float
    assert Spikes.from_events([([], [])], torch.tensor(2), torch.tensor(0.5)).t_stop == 0.5  # type: ignore[arg-type]
    for index in (np.int64(0), np.uint8(0), torch.tensor(0), np.array(0), np.int64(-2)):
        assert spikes[index].counts.tolist() == [3]
    for rows in ([1, 0], np.array([1, 0]), torch.tensor([1, 0])):
        assert spikes[rows].counts.tolist() == [0, 3]
    assert spikes[np.array([True, False])].counts.tolist() == [3]


def test_a_batch_is_walked_sample_by_sample() -> None:
    assert [sample.counts.tolist() for sample in two()] == [[3], [0]]


def test_arrays_may_be_read_only_reversed_big_endian_and_narrow() -> None:
    times, units = np.array([3e-3, 1e-3], ">f4")[::-1], np.array([1, 0], ">u2")[::-1]
    times.flags.writeable = units.flags.writeable = False
    spikes = Spikes.from_events([(times, units)], 2, 0.01)
    assert spikes.units.tolist() == [[0, 1]]
    assert Spikes.from_first_times(times[None], 0.01).units.tolist() == [[0, 1]]  # type: ignore[arg-type]


def test_first_times_may_be_an_array_or_lists() -> None:
    first = np.array([[3e-3, math.inf]])
    assert Spikes.from_first_times(first, 0.01).times.dtype == F64  # type: ignore[arg-type]
    assert Spikes.from_first_times(first.tolist(), 0.01).times.dtype == torch.float32


# -- views ----------------------------------------------------------------------------------------


def test_indexing_gives_batches_trimmed_to_their_longest_sample() -> None:
    spikes = two()
    assert (len(spikes[0]), spikes[0].times.shape) == (1, (1, 3))
    assert (len(spikes[1]), spikes[1].times.shape) == (1, (1, 0))
    assert spikes[-1].counts.tolist() == [0]
    assert spikes[0:2].counts.tolist() == [3, 0]
    assert spikes[torch.tensor([1, 0, 0])].counts.tolist() == [0, 3, 3]
    assert spikes[torch.tensor([True, False])].counts.tolist() == [3]


def test_data_loader_batches_join_to_the_whole() -> None:
    r = np.random.default_rng(0)
    pairs = [(np.sort(r.uniform(0, 0.01, n)), r.integers(0, 3, n)) for n in r.integers(0, 9, 11)]
    spikes = Spikes.from_events(pairs, 3, 0.01, F64)
    loader: Any = DataLoader(spikes, batch_size=4, collate_fn=concatenate)  # type: ignore[arg-type]
    batches = list(loader)
    assert [len(b) for b in batches] == [4, 4, 3]
    joined = concatenate(batches)
    assert torch.equal(joined.times, spikes.times)
    assert torch.equal(joined.units, spikes.units)


def test_a_plain_data_loader_joins_samples_and_what_holds_them() -> None:
    spikes = Spikes.from_events([([k * 1e-3], [0]) for k in range(5)], 1, 0.01, F64)
    loader: Any = DataLoader(spikes, batch_size=2)  # type: ignore[arg-type]
    assert [batch.times[:, 0].tolist() for batch in loader] == [[0.0, 1e-3], [2e-3, 3e-3], [4e-3]]
    nested: Any = DataLoader([{"x": s, "k": k} for k, s in enumerate(spikes)], batch_size=5)  # type: ignore[arg-type, var-annotated]
    (batch,) = nested
    assert torch.equal(batch["x"].times, spikes.times)


def test_joined_batches_are_padded_to_the_widest() -> None:
    joined = concatenate([two()[1], two()[0]])
    assert joined.counts.tolist() == [0, 3]
    assert joined.times[0].tolist() == [math.inf] * 3


def test_dtype_changes_with_to_and_detach_cuts_the_gradient() -> None:
    assert two().to(torch.float32).times.dtype == torch.float32
    times = torch.tensor([[1e-3]], requires_grad=True)
    spikes = Spikes(times, torch.tensor([[0]]), torch.tensor([1]), 1, 0.01)
    assert spikes.times.requires_grad
    assert not spikes.detach().times.requires_grad


def test_description_says_how_much_of_what() -> None:
    assert repr(two()) == "Spikes(batch=2, n_units=3, events=3, t_stop=0.01 s, dtype=float64)"


def test_time_that_rounds_up_to_t_stop_is_taken() -> None:
    Spikes.from_events([([0.1], [0])], 1, 0.1, torch.float32)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([2e-3, 1e-3], [0, 0], "sample 0, event 1: time .*allowed: sorted"),
        ([-1e-3], [0], "sample 0, event 0: time -0.001; allowed: >= 0 s"),
        ([math.nan], [0], "time nan; allowed: finite"),
        ([math.inf], [0], "time inf; allowed: finite"),
        ([0.02], [0], "allowed: <= t_stop = 0.01 s"),
        ([1e-3], [3], "unit 3; allowed: 0..2"),
        ([1e-3], [-1], "unit -1; allowed: 0..2"),
    ],
)
def test_event_out_of_its_range_is_refused_naming_it(times: list[float], units: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spikes.from_events([(times, units)], 3, 0.01, F64)


@pytest.mark.parametrize(("times", "units"), [([1e-3], [0, 1]), ([[1e-3]], [[0]]), ([1e-3], [0.5])])
def test_pair_that_is_no_pair_of_lists_is_refused(times: Any, units: Any) -> None:
    with pytest.raises(InputError, match="sample 1"):
        Spikes.from_events([([], []), (times, units)], 3, 0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"times": torch.zeros(2)}, "expected"),
        ({"units": torch.zeros(2, 2, dtype=torch.int64)}, "expected"),
        ({"counts": torch.tensor([1])}, "expected"),
        ({"times": torch.zeros(2, 1, dtype=torch.int64)}, "times have dtype"),
        ({"units": torch.zeros(2, 1)}, "must be int64"),
        ({"counts": torch.tensor([1, 2])}, "counts span 1..2; allowed: 0..1"),
        ({"counts": torch.tensor([-1, 1])}, "counts span -1..1"),
        ({"times": torch.tensor([[1e-3], [2e-3]])}, "padding 0.002.*allowed: inf"),
        ({"n_units": 0}, "n_units = 0"),
        ({"n_units": 1.0}, "n_units = 1.0"),
        ({"t_stop": 0.0}, "t_stop = 0.0 s; allowed: finite and > 0"),
        ({"t_stop": math.inf}, "t_stop = inf"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "times": torch.tensor([[1e-3], [math.inf]]), "units": torch.zeros(2, 1, dtype=torch.int64),
        "counts": torch.tensor([1, 0]), "n_units": 1, "t_stop": 0.01,
    }  # fmt: skip
    Spikes(**good)
    with pytest.raises(InputError, match=message):
        Spikes(**{**good, **change})


@pytest.mark.parametrize(
    ("times", "units", "message"),
    [
        ([True], [0], "times = .True.; allowed: numbers"),
        (["1ms"], [0], "times = .'1ms'.; allowed: numbers"),
        ([1e-3j], [0], "allowed: numbers"),
        (torch.tensor([True]), [0], "times is torch.bool"),
        ([1e-3], [True], "units are booleans"),
        ([1e-3], [math.nan], "must be whole numbers, found nan"),
        ([1e-3], [1e300], "must be whole numbers, found 1e\\+300"),
        ([1e-3], np.array([2**64 - 1], np.uint64), "must be whole numbers, found 18446744073709551615"),
        ([1e-3], ["a"], "units = .'a'.; allowed: numbers"),
        ([[1e-3], [2e-3, 3e-3]], [0, 1], "no array of numbers"),
        ([1.0] * pq.ms, [0], "times has the unit ms, which would be dropped"),
        (neo.SpikeTrain([1.0], units="ms", t_stop=2.0), [0], "times has the unit ms"),
    ],
)
def test_what_is_no_number_or_has_a_unit_is_refused(times: Any, units: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spikes.from_events([(times, units)], 3, 0.01)


def test_a_quantity_that_is_converted_as_told_is_taken() -> None:
    train = neo.SpikeTrain([1.0], units="ms", t_stop=2.0)
    times = train.rescale("s").magnitude
    assert Spikes.from_events([(times, [0])], 1, 0.01, F64).times.tolist() == [[1e-3]]


@pytest.mark.parametrize(
    ("t_stop", "message"),
    [
        ("10ms", "t_stop = '10ms'; allowed: finite and > 0. Times are numbers in seconds: write 0.01"),
        (True, "t_stop = True"),
        (None, "t_stop = None"),
        (10 * pq.ms, "Convert it: "),
        (np.array([0.1, 0.2]), "t_stop = an array"),
    ],
)
def test_a_window_that_is_no_number_of_seconds_is_refused(t_stop: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spikes.from_events([([], [])], 3, t_stop)


@pytest.mark.parametrize("n_units", [True, np.bool_(True), "3", None, 2.5, np.float64(3), torch.tensor(True), -1])
def test_a_size_that_is_no_whole_number_is_refused(n_units: Any) -> None:
    with pytest.raises(InputError, match="n_units = .*; allowed: a whole number >= 1"):
        Spikes.from_events([([], [])], n_units, 0.01)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_a_dtype_that_merges_spikes_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="allowed: torch.float32 or torch.float64"):
        Spikes.from_events([([1e-3], [0])], 1, 0.01, dtype)
    with pytest.raises(InputError, match="allowed: torch.float32 or torch.float64"):
        two().to(dtype)
    with pytest.raises(InputError, match="times have dtype"):
        Spikes(torch.zeros(1, 1).to(dtype), torch.zeros(1, 1, dtype=torch.int64), torch.tensor([1]), 1, 0.01)


@pytest.mark.parametrize("index", [True, 1.5, "0", (0, 1), None, torch.tensor([5]), torch.tensor([[0]])])
def test_an_index_that_is_none_is_refused(index: Any) -> None:
    with pytest.raises(InputError, match="index"):
        two()[index]


def test_lists_in_the_place_of_tensors_are_pointed_to_the_constructor() -> None:
    with pytest.raises(InputError, match="expected tensors. Lists of events: Spikes.from_events"):
        Spikes([[1e-3]], [[0]], [1], 1, 0.01)  # type: ignore[arg-type]


def test_batch_of_no_samples_is_refused_everywhere() -> None:
    with pytest.raises(InputError, match="no samples"):
        Spikes.from_events([], 3, 0.01)
    with pytest.raises(InputError, match="no samples"):
        Spikes(torch.zeros(0, 1), torch.zeros(0, 1, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), 1, 0.01)
    with pytest.raises(InputError, match="selects no samples"):
        two()[5]
    with pytest.raises(InputError, match="nothing to concatenate"):
        concatenate([])


@pytest.mark.parametrize("other", [(2, 0.01), (3, 0.02)])
def test_batches_of_different_kind_do_not_join(other: tuple[int, float]) -> None:
    with pytest.raises(InputError, match="cannot join"):
        concatenate([two(), Spikes.from_events([([], [])], *other)])


@pytest.mark.parametrize(
    "first", [torch.tensor([[math.nan]]), torch.tensor([[-math.inf]]), torch.zeros(3), torch.zeros(0, 2)]
)
def test_first_times_that_are_no_times_are_refused(first: torch.Tensor) -> None:
    with pytest.raises(InputError, match="first-spike times"):
        Spikes.from_first_times(first, 0.01)


@pytest.mark.parametrize("dt", [0.0, -1e-3, math.nan, math.inf])
def test_bin_width_that_is_no_width_is_refused(dt: float) -> None:
    with pytest.raises(InputError, match="dt = .*allowed: finite and > 0"):
        Spikes.from_dense(torch.zeros(1, 2, 1), dt)
    with pytest.raises(InputError, match="dt = .*allowed: finite and > 0"):
        two().to_dense(dt)


@pytest.mark.parametrize(
    ("raster", "message"), [(torch.zeros(2, 3), "expected"), (torch.full((1, 2, 1), 2.0), "other than 0 and 1")]
)
def test_raster_of_another_shape_or_with_counts_is_refused(raster: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Spikes.from_dense(raster, 1e-3)


def test_aer_array_without_its_fields_is_refused_naming_the_sample() -> None:
    with pytest.raises(InputError, match="sample 0: fields .*'t' and 'x'"):
        Spikes.from_aer([np.zeros(1, dtype=[("t", np.int64), ("y", np.int64)])], 2, 1.0)
