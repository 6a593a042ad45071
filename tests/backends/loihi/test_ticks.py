from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hwloop.errors import InputError
from hwloop.spikes import Spikes
from hwloop_loihi import TickSpikes, decode, encode

from .support import spikes


def test_input_spikes_go_to_the_nearest_tick() -> None:
    given = Spikes.from_events([([0.4e-3, 1.6e-3, 2.4e-3], [1, 0, 2]), ([], [])], 3, 5e-3)
    ticks, merged = encode(given, 1e-3)
    assert merged == 0
    assert ticks.counts.tolist() == [3, 0]
    assert ticks.ticks[0].tolist() == [0, 2, 2]
    assert ticks.units[0].tolist() == [1, 0, 2]


def test_spikes_of_one_unit_in_one_tick_count_once() -> None:
    given = Spikes.from_events([([0.9e-3, 1.0e-3, 1.1e-3, 2e-3], [0, 1, 0, 0])], 2, 5e-3)
    ticks, merged = encode(given, 1e-3)
    assert merged == 1
    assert list(zip(ticks.ticks[0].tolist(), ticks.units[0].tolist(), strict=True)) == [(1, 0), (1, 1), (2, 0)]


def test_a_raster_comes_back() -> None:
    raster = np.random.default_rng(0).random((4, 30, 7)) < 0.2
    raster[2] = False
    np.testing.assert_array_equal(TickSpikes.from_raster(raster).to_raster(30), raster)


def test_encoding_on_the_grid_and_decoding_at_the_input_is_exact() -> None:
    given = spikes(6)
    ticks, _ = encode(given, 1e-4)
    back = decode(ticks, 0, 1e-4, given.t_stop, torch.float64)
    np.testing.assert_array_equal(encode(back, 1e-4)[0].to_raster(600), ticks.to_raster(600))
    # nearest tick: never further than half a step
    assert float((given.first_times() - back.first_times()).nan_to_num().abs().max()) <= 0.5e-4 * (1 + 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_are_decoded_half_a_tick_earlier_each(dtype: torch.dtype) -> None:
    raster = np.zeros((2, 8, 2), dtype=bool)
    raster[0, [2, 5], 1] = True
    found = [decode(TickSpikes.from_raster(raster), layer, 1e-3, 10e-3, dtype) for layer in (1, 2)]
    assert found[0].times[0].tolist() == pytest.approx([1.5e-3, 4.5e-3])
    assert found[1].times[0].tolist() == pytest.approx([1e-3, 4e-3])
    assert found[0].counts.tolist() == [2, 0]
    assert found[0].times.dtype == dtype
    assert bool(torch.isposinf(found[0].times[1]).all())


def test_spikes_after_the_window_are_left_out_and_none_is_negative() -> None:
    raster = np.zeros((1, 12, 1), dtype=bool)
    raster[0, [0, 10, 11], 0] = True
    found = decode(TickSpikes.from_raster(raster), 2, 1e-3, 9e-3, torch.float32)
    assert found.counts.tolist() == [2]
    assert found.times[0].tolist() == pytest.approx([0.0, 9e-3])
    # valid by the constructor that refuses what is out of order or outside the window
    Spikes(found.times, found.units, found.counts, found.n_units, found.t_stop)


def test_a_batch_of_silence_has_no_width() -> None:
    found = decode(TickSpikes.from_raster(np.zeros((3, 5, 2))), 1, 1e-3, 5e-3, torch.float32)
    assert found.times.shape == (3, 0)
    assert math.isinf(float(found.first_times().min()))


def test_a_raster_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"raster has shape \(3, 4\)"):
        TickSpikes.from_raster(np.zeros((3, 4)))
