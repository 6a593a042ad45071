from __future__ import annotations

import math

import pytest

from hwloop.compare.time_format import format_share, format_time, time_unit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3.21e-3, "3.21 ms"), (84e-6, "84.0 us"), (-84e-6, "-84.0 us"), (0.0, "0 s"), (1.5, "1.50 s"), (9.9996e-3, "10.0 ms"),
        (999.7e-6, "1.00 ms"), (120.4, "120 s"), (3e-9, "3.00 ns"), (None, "-"), (math.nan, "-"), (math.inf, "-"),
    ],
)  # fmt: skip
def test_a_time_has_three_digits_and_a_fitting_unit(seconds: float | None, text: str) -> None:
    assert format_time(seconds) == text


def test_reports_spell_the_microsecond_with_its_sign() -> None:
    assert format_time(84e-6, micro="µs") == "84.0 µs"


def test_a_scale_of_zero_reads_in_seconds() -> None:
    assert time_unit(0.0) == (1.0, "s")


def test_a_share_names_part_and_whole() -> None:
    assert format_share(12, 500) == "12 of 500 (2.4 %)"
    assert format_share(0, 0) == "0 of 0"
