from __future__ import annotations

import numpy as np
import pytest

from hwloop_emulator.streams import Stream


def test_a_longer_draw_begins_with_the_shorter_one() -> None:
    for kind in ("random", "normal", "exponential"):
        short, long = (getattr(Stream("f", 1, "n"), kind)(n) for n in (5, 500))
        assert np.array_equal(short, long[:5])


def test_a_stream_goes_on_where_it_stopped() -> None:
    stream = Stream("f", 1, "n")
    assert np.array_equal(np.concatenate([stream.random(4), stream.random(4)]), Stream("f", 1, "n").random(8))


def test_positions_of_a_stream_do_not_overlap() -> None:
    draws = [Stream("f", 1, "n", *p).random(4) for p in ((), (1,), (0, 1), (0, 0, 1), (2**40,))]
    assert len({tuple(d) for d in draws}) == 5


def test_family_number_and_name_each_make_another_stream() -> None:
    draws = [Stream(*key).random(4) for key in (("f", 1, "n"), ("g", 1, "n"), ("f", 2, "n"), ("f", 1, "m"))]
    assert len({tuple(d) for d in draws}) == 4


def test_distributions_have_their_moments() -> None:
    n = 200_000
    uniform, normal, exponential = (
        getattr(Stream("f", 1, kind), kind)(n) for kind in ("random", "normal", "exponential")
    )
    # tolerances: five standard errors, each distribution's deviation (.289, 1, 1) over sqrt(n), and of the
    # variance sqrt((kurtosis - 1) / n): kurtosis 1.8, 3, 9
    se = n**-0.5
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert uniform.mean() == pytest.approx(0.5, abs=5 * 0.289 * se)
    assert normal.mean() == pytest.approx(0.0, abs=5 * se)
    assert normal.var() == pytest.approx(1.0, abs=5 * 2**0.5 * se)
    assert (np.abs(normal) > 3).mean() == pytest.approx(0.0027, abs=5 * (0.0027 / n) ** 0.5)
    assert exponential.mean() == pytest.approx(1.0, abs=5 * se)
    assert exponential.var() == pytest.approx(1.0, abs=5 * 8**0.5 * se)
