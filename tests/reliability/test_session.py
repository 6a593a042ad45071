"""T4, T5 and T7: a session in memory, under everything that a line and a board can do to it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hwloop.errors import LinkError, TargetError
from hwloop_serial import calls
from hwloop_serial.faults import FaultRates
from hwloop_serial.messages import NO_DIGEST, Region
from hwloop_serial.remote import Remote
from hwloop_serial.session import Rebooted
from tests.reliability.support import SimulatedBoard, answer_to

Rounds = Callable[[int, int], int]


@pytest.mark.parametrize(("rate", "tries"), [(1e-4, 1.02), (1e-3, 1.1), (1e-2, 2.5)])
def test_no_command_is_carried_out_twice_whatever_the_line_does(rate: float, tries: float, rounds: Rounds) -> None:
    """T5. A request and its reply are some 55 bytes: of them e^(-55 rate) arrive whole, which is 1.06 tries at 1e-3, 1.8 at 1e-2."""
    line = SimulatedBoard(5, FaultRates(flip=rate))
    session = line.session()
    session.open()
    n = rounds(80_000 // 3, 10**7 // 3)
    for number in range(n):
        assert session.request("CALL", (100,), calls.CELLS.pack(number))[1] == calls.CELLS.pack(number)
    assert line.model.called == list(range(n))
    assert session.counts.sent / session.counts.requests <= tries


def test_bytes_that_are_lost_doubled_and_held_back_change_nothing() -> None:
    line = SimulatedBoard(6, FaultRates(flip=1e-3, drop=1e-3, duplicate=1e-3, delay=0.05, cut=1e-4))
    session = line.session()
    session.open()
    for number in range(2000):
        session.request("CALL", (100,), calls.CELLS.pack(number))
    assert line.model.called == list(range(2000))
    assert session.counts.reconnects > 0


def test_a_silent_board_is_given_up_at_the_deadline() -> None:
    line = SimulatedBoard(7)
    session = line.session(deadline=3.0)
    session.open()
    line.refusing = True
    line.cut()
    begun = line.clock.now()
    with pytest.raises(LinkError, match="no answer from the board within 3 s"):
        session.request("STATUS")
    assert line.clock.now() - begun <= 3.0 + 0.5


def test_another_program_that_takes_the_board_is_named() -> None:
    line = SimulatedBoard(8)
    session = line.session()
    session.open()
    other = SimulatedBoard.session(line)
    other.session = 4711
    other.open()
    with pytest.raises(LinkError, match="another program greeted the board, which now answers session 4711"):
        session.request("STATUS")


def test_a_peer_of_another_schema_does_not_get_past_the_greeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """L6."""
    line = SimulatedBoard(9)
    monkeypatch.setattr("hwloop_serial.board.board.SCHEMA_ID", 0x12345678)
    with pytest.raises(LinkError, match="speaks schema 12345678 of the link"):
        line.session().open()
    assert line.board.session == 0


def test_every_frame_is_seen_by_the_watch() -> None:
    line, seen = SimulatedBoard(10), []
    session = line.session(watch=lambda time, way, frame: seen.append((time, way, frame.type)))
    session.open()
    session.request("STATUS")
    assert [(way, kind) for _, way, kind in seen] == [
        ("sent", 0x01), ("received", 0x81), ("sent", 0x02), ("received", 0x82),
    ]  # fmt: skip
    assert sorted(time for time, _, _ in seen) == [time for time, _, _ in seen]


def test_a_run_never_has_stale_weights(rounds: Rounds) -> None:
    """T7: chunks dropped and damaged, boards reset and started anew between upload and run, uploads swapped, replies late."""
    draw, done = random.Random(11), 0
    for number in range(rounds(500, 10_000)):
        line = SimulatedBoard(
            number, FaultRates(flip=draw.choice([0, 1e-3, 5e-3]), drop=draw.choice([0, 1e-3]), delay=0.02)
        )
        remote = Remote(line.session())
        images = [draw.randbytes(draw.randrange(1, 900)) for _ in range(2)]
        given = draw.randbytes(200)
        try:
            for image in images:
                remote.upload(Region.PROGRAM, image)
            happens = draw.choice(["nothing", "reset", "start", "swap", "cut"])
            if happens == "reset":
                line.board.memories[Region.PROGRAM].forget()
            elif happens == "start":
                line.restart()
            elif happens == "swap":
                line.board.memories[Region.PROGRAM]._data[:] = images[0]
                line.board.memories[Region.PROGRAM].seal()
            elif happens == "cut":
                line.cut()
            found = remote.run(given, NO_DIGEST, batch=1, repeats=1, n_ticks=1, t_stop=0.0, code=0)
        except TargetError:
            continue
        assert found.output == answer_to(images[1], given)
        assert happens in ("nothing", "cut") or images[0] == images[1]
        done += 1
    assert done > 100


class Link(RuleBasedStateMachine):
    """T4: send, lose, delay, duplicate, cut, reset, start anew, reconnect; in any order."""

    @initialize(seed=st.integers(0, 2**20))
    def begin(self, seed: int) -> None:
        self.line = SimulatedBoard(seed)
        self.number = 0
        #: What the host was told to have taken effect, in this boot of the board.
        self.confirmed: list[int] = []
        self.program: bytes | None = None
        self.remote = Remote(self.line.session())

    def guarded(self, operation: Callable[[], None]) -> None:
        """The host carries on as its device does: after a restart it begins again."""
        try:
            operation()
        except Rebooted:
            self.program, self.confirmed = None, []
            for _ in range(20):
                try:
                    return self.remote.again()
                except Rebooted:
                    continue

    @rule()
    def command(self) -> None:
        self.number += 1

        def call() -> None:
            self.remote.session.request("CALL", (100,), calls.CELLS.pack(self.number))
            self.confirmed.append(self.number)

        self.guarded(call)

    @rule(data=st.binary(min_size=1, max_size=700))
    def upload(self, data: bytes) -> None:
        def write() -> None:
            self.program = None
            self.remote.upload(Region.PROGRAM, data)
            self.program = data

        self.guarded(write)

    @precondition(lambda self: self.program is not None)
    @rule(data=st.binary(max_size=300))
    def run(self, data: bytes) -> None:
        def run() -> None:
            found = self.remote.run(data, NO_DIGEST, batch=1, repeats=1, n_ticks=1, t_stop=0.0, code=0)
            assert self.program is not None
            assert found.output == answer_to(self.program, data)

        self.guarded(run)

    @rule(
        flip=st.sampled_from([0, 1e-3, 5e-3]), drop=st.sampled_from([0, 1e-3]), twice=st.sampled_from([0, 1e-3]),
        late=st.sampled_from([0, 0.05]), cut=st.sampled_from([0, 1e-4]),
    )  # fmt: skip
    def weather(self, flip: float, drop: float, twice: float, late: float, cut: float) -> None:
        self.line.rates = FaultRates(flip=flip, drop=drop, duplicate=twice, delay=late, cut=cut)
        self.line.cut()  # the next connection has it

    @rule()
    def cut(self) -> None:
        self.line.cut()

    @rule()
    def start_anew(self) -> None:
        self.line.restart()

    @rule()
    def reset(self) -> None:
        def reset() -> None:
            self.remote.reset(forget=True)
            self.program = None

        self.guarded(reset)

    @invariant()
    def nothing_took_effect_twice(self) -> None:
        called = self.line.model.called
        assert len(set(called)) == len(called)
        assert called == sorted(called)
        if self.line.board.session and self.confirmed and self.line.board.boot == self.remote.session.boot:
            assert set(self.confirmed) <= set(called)


def test_a_session_keeps_its_promises_in_any_order_of_events(rounds: Rounds) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(Link, settings=settings(
        max_examples=rounds(300, 20_000), stateful_step_count=50, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    ))  # fmt: skip
