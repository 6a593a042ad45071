from __future__ import annotations

from hwloop.command.patience import LONGEST_SILENCE, Patience


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_no_silence_is_longer_than_the_longest_allowed() -> None:
    said: list[str] = []
    clock = Clock()
    patience = Patience(said.append, clock)
    patience.told("calibrating")
    for _ in range(100):
        clock.now += 0.5
        patience.look()
    assert said == [
        f"still at work after {k * LONGEST_SILENCE:.0f} s (last: calibrating)"
        for k in range(1, int(50 // LONGEST_SILENCE) + 1)
    ]


def test_what_is_said_ends_a_silence() -> None:
    said: list[str] = []
    clock = Clock()
    patience = Patience(said.append, clock)
    for k in range(100):
        clock.now += 0.9 * LONGEST_SILENCE
        patience.told(f"epoch {k}")
        patience.look()
    assert said == []


def test_before_the_first_word_it_is_at_work_too() -> None:
    said: list[str] = []
    clock = Clock()
    patience = Patience(said.append, clock)
    clock.now = 20.0
    patience.look()
    assert said == ["still at work after 20 s"]
