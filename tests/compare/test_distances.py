from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.compare import isi_distance, reference, spike_distance, van_rossum, victor_purpura
from hwloop.compare.flat_trains import paired_trains
from hwloop.errors import InputError, OptionError
from hwloop.spikes import Spikes

from .support import T_STOP, disturbed, random_spikes, trains

# Made with elephant 1.2.1 (neo 0.14.6) and pyspike 0.9.0 on numpy 2.4.6, T = 10 s:
#   A, B = (neo.SpikeTrain(x, units="s", t_stop=T) for x in (a, b))
#   elephant.spike_train_dissimilarity.van_rossum_distance([A, B], time_constant=1.5 * pq.s)[0, 1]
#   elephant.spike_train_dissimilarity.victor_purpura_distance([A, B], cost_factor=.8 / pq.s)[0, 1]
#   pyspike.isi_distance(SpikeTrain(a, [0, T]), SpikeTrain(b, [0, T])); pyspike.spike_distance(...)
TAU, Q = 1.5, 0.8
GOLDEN = [
    (
        [1.0, 3.5, 7.2],
        [1.4, 3.1, 6.0, 8.9],
        1.6346258072781135,
        2.5999999999999996,
        0.24525778191985084,
        0.28902433871927663,
    ),
    ([], [4.0], 1.0, 1.0, 0.4800000000000001, 0.350765306122449),
    ([], [], 0.0, 0.0, 0.0, 0.0),
    ([2.0], [2.0], 0.0, 0.0, 0.0, 0.0),
    ([5.0], [1.0, 9.0], 1.6527922117121852, 3.0, 0.375, 0.4378698224852071),
    ([0.0, 2.0, 9.5], [0.5, 10.0], 1.3887878843908619, 1.7999999999999998, 0.3263157894736842, 0.1034708367946311),
    (
        [0.3, 0.4, 0.45, 8.0],
        [0.35, 5.5, 5.6],
        2.7805205113063907,
        4.960000000000001,
        0.3969832186716388,
        0.2538003881610648,
    ),
    ([3.0], [6.0], 1.3150397079657992, 2.0, 0.36428571428571427, 0.5566433566433566),
    ([], [1.0, 2.0, 7.0], 2.033424083298208, 3.0, 0.58, 0.27576124885215797),
    ([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], 0.0, 0.0, 0.0, 0.0),
    ([0.0], [10.0], 1.4133133878929047, 2.0, 0.0, 0.0),
    ([4.0], [2.0, 3.5, 8.0], 1.6651547967175442, 2.4, 0.34930555555555554, 0.2894456048502694),
]

#: float32 times of at most 10 s are off by 5e-7 s; distances change by a few times that over tau, q or T.
ROUNDING = 5e-6

times = st.lists(st.floats(0, T_STOP, width=32), max_size=8, unique=True).map(sorted)


@pytest.mark.parametrize(("a", "b", "rossum", "purpura", "isi", "spike"), GOLDEN)
def test_distances_agree_with_elephant_and_pyspike(
    a: list[float], b: list[float], rossum: float, purpura: float, isi: float, spike: float
) -> None:
    x, y = trains(a), trains(b)
    assert van_rossum(x, y, TAU, normalisation="elephant")[0, 0] == pytest.approx(rossum, abs=ROUNDING)
    assert van_rossum(x, y, TAU)[0, 0] == pytest.approx(rossum / math.sqrt(2), abs=ROUNDING)
    assert victor_purpura(x, y, Q)[0, 0] == pytest.approx(purpura, abs=ROUNDING)
    assert isi_distance(x, y)[0, 0] == pytest.approx(isi, abs=ROUNDING)
    assert spike_distance(x, y)[0, 0] == pytest.approx(spike, abs=ROUNDING)


@settings(max_examples=100, deadline=None)
@given(times, times)
def test_kernels_equal_their_plain_twins(a: list[float], b: list[float]) -> None:
    x, y = trains(a), trains(b)
    p, q = (t.times for t in paired_trains(x, y))
    # the twin's double sum of up to 64 terms cancels to 1e-14, its square root to 1e-7
    assert van_rossum(x, y, TAU)[0, 0] == pytest.approx(reference.van_rossum(p, q, TAU), abs=2e-7)
    assert victor_purpura(x, y, Q)[0, 0] == pytest.approx(reference.align(p, q, Q)[0], abs=1e-12)
    assert isi_distance(x, y)[0, 0] == pytest.approx(reference.isi_distance(p, q, T_STOP), abs=1e-10)
    assert spike_distance(x, y)[0, 0] == pytest.approx(reference.spike_distance(p, q, T_STOP), abs=1e-10)


@settings(max_examples=60, deadline=None)
@given(times, times, times)
def test_van_rossum_and_victor_purpura_are_metrics(a: list[float], b: list[float], c: list[float]) -> None:
    for distance in (lambda x, y: van_rossum(x, y, TAU)[0, 0], lambda x, y: victor_purpura(x, y, Q)[0, 0]):
        x, y, z = trains(a), trains(b), trains(c)
        assert distance(x, x) == 0
        assert distance(x, y) == pytest.approx(distance(y, x), abs=1e-9)
        assert distance(x, z) <= distance(x, y) + distance(y, z) + 1e-9


@settings(max_examples=60, deadline=None)
@given(times, times)
def test_isi_and_spike_distance_are_symmetric_and_within_one(a: list[float], b: list[float]) -> None:
    for distance in (isi_distance, spike_distance):
        value = distance(trains(a), trains(b))[0, 0]
        assert 0 <= value <= 1 + 1e-9
        assert value == pytest.approx(distance(trains(b), trains(a))[0, 0], abs=1e-9)
        assert distance(trains(a), trains(a))[0, 0] == 0


def test_van_rossum_counts_spikes_in_both_limits() -> None:
    a, b = trains([1.0, 2.0, 3.0]), trains([5.0])
    assert van_rossum(a, b, 1e-9)[0, 0] ** 2 == pytest.approx(4 / 2)  # none coincides: spikes of both, halved
    assert van_rossum(a, b, 1e9)[0, 0] ** 2 == pytest.approx((3 - 1) ** 2 / 2)  # only the number differs


def test_victor_purpura_counts_spikes_in_both_limits() -> None:
    a, b = trains([1.0, 2.0, 3.0]), trains([2.0, 9.0])
    assert victor_purpura(a, b, 0.0)[0, 0] == 1
    assert victor_purpura(a, b, 1e9)[0, 0] == 3


def test_a_batch_gives_one_value_for_each_sample_and_neuron() -> None:
    a = random_spikes(5, 4, 6, 3.0)
    b = disturbed(a, 6, 0.1, 0.1)
    for distance in (isi_distance, spike_distance):
        whole = distance(a, b)
        assert whole.shape == (4, 6)
        assert np.array_equal(whole, np.concatenate([distance(a[k], b[k]) for k in range(4)]))


def test_repeated_times_in_one_train_stay_finite() -> None:
    a, b = trains([2.0, 2.0, 7.0, 7.0]), trains([2.0, 10.0, 10.0])
    for value in (isi_distance(a, b), spike_distance(a, b), van_rossum(a, b, TAU), victor_purpura(a, b, Q)):
        assert np.isfinite(value).all()


def test_silence_against_silence_is_zero() -> None:
    quiet = Spikes.from_events([([], []), ([], [])], 3, 1.0)
    for value in (isi_distance(quiet, quiet), spike_distance(quiet, quiet), van_rossum(quiet, quiet, TAU)):
        assert not value.any()


def test_settings_out_of_range_are_refused() -> None:
    a = trains([1.0])
    with pytest.raises(InputError, match=r"tau = 0.0 s"):
        van_rossum(a, a, 0.0)
    with pytest.raises(InputError, match=r"q = -1.0 per second"):
        victor_purpura(a, a, -1.0)
    with pytest.raises(OptionError, match=r"'textbook', 'elephant'"):
        van_rossum(a, a, 1.0, normalisation="half")  # type: ignore[arg-type]
