"""What is proved of the RTL, and that the proof would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from .built import CORE
from .proofs import proved


def test_the_fifo_loses_changes_and_doubles_nothing() -> None:
    # k-induction with k = 3 holds: the proof is of any number of cycles
    assert proved(CORE / "event_fifo.sv", {"BITS": 4, "WIDTH": 14}, depth=3, bounded=6)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("if (push && !full) tail <= tail", "if (push) tail <= tail"),  # overflows without a word
        ("pop_valid <= next_head != tail", "pop_valid <= next_head != tail || push"),  # gives what is not there yet
        (
            "assign next_head = head + (BITS + 1)'(pop)",
            "assign next_head = head + (BITS + 1)'(pop || full)",
        ),  # loses one
        ("assign refused   = push && full", "assign refused   = push && full && pop"),  # keeps silent
    ],
)
def test_a_fault_of_the_fifo_is_found(tmp_path: Path, right: str, wrong: str) -> None:
    source = (CORE / "event_fifo.sv").read_text()
    assert source.count(right) == 1
    (tmp_path / "event_fifo.sv").write_text(source.replace(right, wrong))
    assert not proved(tmp_path / "event_fifo.sv", {"BITS": 4, "WIDTH": 14}, depth=3, bounded=6)
