"""The host's side in memory: lines that fall silent or close between requests, boards that are busy, results of any size."""

from __future__ import annotations

import os
import socket
from typing import Any
from unittest import mock

import numpy as np
import pytest
import serial

from hwloop.device.registry import find
from hwloop.errors import InputError, LinkError, OptionError
from hwloop_serial import event_lists, framing, information, remote, transport
from hwloop_serial.event_lists import EventError, Events
from hwloop_serial.faults import FaultRates, Faults
from hwloop_serial.messages import NO_DIGEST, Code, Region
from hwloop_serial.remote import Remote, differences
from hwloop_serial.session import Refused
from hwloop_serial.simulated import SimulatedClock, SimulatedPort
from hwloop_serial.transport import SerialPort, SystemClock
from hwloop_serial.urls.protocol_faulty import FaultyPort, options_of
from tests.reliability.support import INFO, SimulatedBoard, answer_to

from .test_device import inputs, network, serving

IMAGE, GIVEN = b"an image " * 40, b"its input " * 20


def opened(board: SimulatedBoard, **options: Any) -> Remote:
    return Remote(board.session(**options))


def run(device: Remote) -> bytes:
    device.upload(Region.PROGRAM, IMAGE)
    return device.run(GIVEN, NO_DIGEST, batch=1, repeats=1, n_ticks=1, t_stop=0.0, code=0).output


# -- lines that close or fall silent --------------------------------------------------------------


def test_a_session_that_was_closed_opens_its_line_again_when_it_is_asked() -> None:
    board = SimulatedBoard(1)
    device = opened(board)
    device.session.close()
    assert device.status().run_id == 0
    device.session.close()
    assert run(device) == answer_to(IMAGE, GIVEN)  # a transfer, too
    assert device.session.counts.reconnects == 2
    with pytest.raises(OSError, match="the line is closed"):
        device.session.close() or device.session._send(b"", framing.Frame(1, 1, 1, 1))


class Mute(SimulatedBoard):
    """A board whose connections fall silent, one after the other, after some requests, and half open: nothing breaks."""

    def __init__(self, *after: int) -> None:
        self.after = list(after)
        super().__init__(1)

    def connect(self) -> SimulatedPort:
        port = super().connect()
        left = self.after.pop(0) if self.after else None
        write = port.write

        def counted(data: bytes) -> None:
            nonlocal left
            if left is None or left > 0:
                write(data)
            left = None if left is None else left - 1

        port.write = counted  # type: ignore[method-assign]
        return port


@pytest.mark.parametrize("after", [3, 4, 5, 6, 8])
def test_a_half_open_line_is_opened_anew_and_nothing_is_lost(after: int) -> None:
    board = Mute(after)
    device = opened(board)
    assert run(device) == answer_to(IMAGE, GIVEN)
    assert device.session.counts.reconnects == 1
    assert len(board.model.ran) == 1
    assert board.clock.now() < 2 * device.session.deadline


def test_a_board_that_stays_silent_is_given_up_in_the_middle_of_a_transfer() -> None:
    board = SimulatedBoard(2)
    device = opened(board, deadline=1.0)
    begun = board.clock.now()
    for port in board.ports:
        port.board = None
    board.board.answer = lambda frame: b""  # type: ignore[method-assign]
    with pytest.raises(LinkError, match="no answer from the board within 1 s"):
        device._write(Region.PROGRAM, 1, bytes(1000), None)
    assert board.clock.now() - begun < 5.0


def test_a_board_whose_line_cannot_be_opened_again_is_given_up() -> None:
    board = SimulatedBoard(3)
    device = opened(board, deadline=1.0)
    board.refusing = True
    board.cut()
    with pytest.raises(LinkError, match="the port is not there"):
        device._write(Region.PROGRAM, 1, bytes(1000), None)


# -- boards that are busy, results ----------------------------------------------------------------


def refusing(device: Remote, code: Code, times: int, other: int = 0) -> Any:
    """Let the first ``times`` requests be refused."""
    request, left = device.session.request, [times]

    def refused(name: str, fields: tuple[Any, ...] = (), data: bytes = b"") -> Any:
        if left[0] > 0 and name in ("BEGIN", "CALL", "READ"):
            left[0] -= 1
            raise Refused(f"the board refused {name}", code, 0, other, 1)
        return request(name, fields, data)

    return mock.patch.object(device.session, "request", refused)


def test_a_busy_board_is_waited_for_and_no_longer_than_a_run_may_take() -> None:
    board = SimulatedBoard(4)
    device = opened(board)
    with refusing(device, Code.BUSY, 5):
        assert device.upload(Region.PROGRAM, IMAGE)
    with refusing(device, Code.BUSY, 10**9), pytest.raises(Refused, match="refused BEGIN"):
        device.upload(Region.INPUT, GIVEN)
    assert board.clock.now() >= remote.RUN_DEADLINE
    with refusing(device, Code.TOO_LARGE, 1), pytest.raises(Refused):
        device.upload(Region.INPUT, GIVEN)
    with refusing(device, Code.UNKNOWN, 1), pytest.raises(Refused, match="refused CALL"):
        device.call(99)


def test_a_text_that_cannot_be_read_is_left_out() -> None:
    device = opened(SimulatedBoard(5))
    with refusing(device, Code.WRONG_TAG, 1):
        assert device.session.failure_text(1) == ""
    with refusing(device, Code.OUT_OF_RANGE, 1, other=0):
        assert device.session.failure_text(1) == ""
    with refusing(device, Code.OUT_OF_RANGE, 1, other=10**6):
        assert device.session.failure_text(1) == ""


def test_a_large_result_comes_whole() -> None:
    board = SimulatedBoard(6)
    wanted = os.urandom(2000)
    board.model.call = lambda function, arguments, data: wanted  # type: ignore[method-assign]
    assert opened(board).call(1, bytes(4)) == wanted


def test_a_device_that_refuses_a_call_says_why() -> None:
    from hwloop.errors import TargetError

    board = SimulatedBoard(7)

    def call(function: int, arguments: bytes, data: bytes | None) -> bytes:
        raise TargetError("cell 3 is \x1b[31m broken")

    board.model.call = call  # type: ignore[method-assign]
    with pytest.raises(TargetError, match=r"cell 3 is \\x1b\[31m broken"):
        opened(board).call(1, bytes(4))


@pytest.mark.parametrize("held", [None, b"", b"abc", b"abcdefgh" * 50, bytes(range(256)) * 2])
def test_what_differs_is_all_that_is_written(held: bytes | None) -> None:
    for data in (b"", b"abd", b"abcdefgh" * 60, bytes(range(256)), bytes(range(255, -1, -1)) * 2):
        made = bytearray((held or b"")[: len(data)].ljust(len(data), b"?"))
        for place, length in differences(data, held):
            assert length > 0
            made[place : place + length] = data[place : place + length]
        assert bytes(made) == data


# -- ports ----------------------------------------------------------------------------------------


def test_a_port_whose_other_end_is_gone_is_broken_and_not_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = SerialPort(f"socket://127.0.0.1:{listener.getsockname()[1]}")
        other, _ = listener.accept()
        assert port.read(0.01) == b""
        other.sendall(b"abc")
        assert port.read(5.0) == b"abc"
        other.close()
        with pytest.raises(OSError, match="closed|disconnected"):
            port.read(5.0)
        port.close()
        port.close()


def test_a_port_that_the_system_cannot_wait_for_is_looked_at() -> None:
    port = SerialPort("loop://")
    try:
        assert port.read(0.01) == b""
        port.write(b"abc")
        assert port.read(1.0) == b"abc"
    finally:
        port.close()


def test_a_file_that_is_closed_is_no_socket() -> None:
    reading, writing = os.pipe()
    assert not transport._is_socket(reading)
    os.close(reading)
    os.close(writing)
    with mock.patch("os.fstat", side_effect=OSError(9, "Bad file descriptor")):
        assert not transport._is_socket(reading)


def test_what_is_ready_and_brings_nothing_is_an_end() -> None:
    reading, writing = os.pipe()
    port = SerialPort("loop://")
    port._waitable = reading
    os.close(writing)
    with pytest.raises(OSError, match="closed from the other end"):
        port.read(1.0)
    os.close(reading)
    port.close()


def test_the_computers_clock_goes_on() -> None:
    clock = SystemClock()
    begun = clock.now()
    clock.sleep(0.01)
    assert clock.now() - begun >= 0.01


def test_a_simulated_line_that_was_cut_raises_and_one_without_a_board_is_silent() -> None:
    clock = SimulatedClock()
    port = SimulatedPort(None, clock)
    port.write(b"abc")
    assert port.read(1.0) == b""
    assert clock.now() == 1.0
    clock.sleep(-1.0)
    assert clock.now() == 1.0
    port.close()
    for broken in (lambda: port.write(b"x"), lambda: port.read(0.1)):
        with pytest.raises(OSError, match="the line was cut"):
            broken()


# -- faults ---------------------------------------------------------------------------------------


def test_a_line_that_was_cut_brings_nothing_more() -> None:
    faults = Faults(FaultRates(cut=1.0), [1])
    assert b"".join(faults.pass_on(b"abc")) == b""
    assert faults.broken
    assert list(faults.pass_on(b"abc")) == []


def test_held_back_is_not_lost() -> None:
    faults = Faults(FaultRates(delay=0.5), [2])
    sent = [bytes([n]) for n in range(200)]
    came = b"".join(part for one in sent for part in faults.pass_on(one))
    assert came == bytes(range(len(came)))  # in order, and at most the last one held
    assert len(came) >= 190
    assert b"".join(Faults(FaultRates(drop=1.0), [3]).pass_on(b"abc")) == b""
    assert b"".join(Faults(FaultRates(duplicate=1.0), [3]).pass_on(b"abc")) == b"aabbcc"


def test_faults_of_a_url_are_those_that_it_names() -> None:
    assert options_of("faulty://loop://") == ("loop://", FaultRates(), 0)
    assert options_of("faulty://loop://?flip=0.5&seed=7") == ("loop://", FaultRates(flip=0.5), 7)
    for wrong in ("faulty://loop://?color=1", "faulty://loop://?flip", "faulty://loop://?flip=x"):
        with pytest.raises(ValueError, match=r"option|bad query|could not convert"):
            options_of(wrong)
    with pytest.raises(LinkError, match="is no port: option 'color'"):
        SerialPort("faulty://loop://?color=1")
    FaultyPort().close()  # that was never opened


def test_a_faulty_line_that_was_cut_stays_cut_until_it_is_opened_again() -> None:
    port = SerialPort("faulty://loop://?cut=1")
    port.write(b"a")
    for use in (lambda: port.write(b"b"), lambda: port.read(0.0)):
        with pytest.raises(serial.SerialException, match="the line was cut"):
            use()
    port.close()
    port = SerialPort("faulty://loop://")
    port.write(b"abc")
    assert port.read(1.0) == b"abc"
    assert port.read(0.01) == b""
    port.close()


# -- events ---------------------------------------------------------------------------------------


def test_events_that_cannot_be_name_their_sample() -> None:
    code = event_lists.TICKS
    whole = event_lists.pack(Events(np.array([1, 2]), np.array([3, 4, 5]), np.array([0, 1, 2])), code)
    for data, samples, sample in ((whole[:6], 2, 0), (whole[:-1], 2, 1), (whole + b"\0", 2, 2), (whole, 1, 1)):
        with pytest.raises(EventError) as caught:
            event_lists.unpack(data, samples, code)
        assert caught.value.sample == sample
    assert [event_lists.known_format(one) for one in (-1, 0, 2, 3, 4, 7, 8)] == [
        False,
        True,
        True,
        False,
        True,
        False,
        False,
    ]
    one = event_lists.unpack(whole, 2, code)
    event_lists.check(one, 3, 5, strictly=True)
    for changed, text in (
        ({"units": np.array([0, 1, 3])}, "unit 3"), ({"times": np.array([3, 4, 6])}, "time 6"), ({"times": np.array([3, 5, 4])}, "in order"),
        ({"times": np.array([3, 4, 4]), "units": np.array([0, 1, 1])}, "none twice"), ({"times": np.array([3, np.nan, 4])}, "time nan"),
    ):  # fmt: skip
        with pytest.raises(EventError, match=text):
            event_lists.check(
                Events(one.counts, changed.get("times", one.times), changed.get("units", one.units)),
                3,
                5,
                strictly=True,
            )
    event_lists.check(Events(np.array([1]), one.times[:1], one.units[:1]), 3, 5)  # one alone has no order
    with pytest.raises(EventError, match="unit 2"):
        event_lists.populations(one, [1, 1])


# -- the target -----------------------------------------------------------------------------------


def test_a_served_target_says_what_it_is_before_it_is_opened() -> None:
    with serving("emulator:3", preset="bss2") as url:
        target: Any = find(url)
        chip: Any = find("emulator:3", preset="bss2")
        assert (target.device_id, target.capabilities) == (chip.device_id, chip.capabilities)
        assert target.describe() == chip.describe()
        assert target.in_words() == chip.in_words()
        assert not target.fixed
        assert target.partition(network()).digest == chip.partition(network()).digest
        assert target.compiler is None
    with serving("loihi") as url:
        target = find(url, headroom=2.0)
        rows = {name: value for name, value, _ in target.describe()}
        assert rows["max delay"] == "63"
        assert target.compiler == ("loihi", {"dt": 1e-4, "headroom": 2.0})
        with pytest.raises(OptionError, match="no time step to choose"):
            target.choose_dt(network(), inputs())


def test_a_board_that_leaves_the_tick_to_its_host_chooses_it_as_loihi_does() -> None:
    info = information.read(INFO, "board")
    target: Any = find("serial:/dev/ttyUSB9", dt=2e-4)
    target._said = (info, mock.Mock())
    assert target.dt == 2e-4
    chosen = target.choose_dt(network(), inputs())
    loihi: Any = find("loihi")
    assert chosen.dt == loihi.choose_dt(network(), inputs()).dt


@pytest.mark.parametrize("deadline", [0, -1.0, float("inf"), float("nan"), "1", True])
def test_a_deadline_that_is_none_is_refused(deadline: Any) -> None:
    with pytest.raises(InputError, match="deadline = .*allowed: finite and > 0"):
        find("serial:/dev/ttyUSB0", deadline=deadline)


def test_a_target_whose_board_does_not_answer_gives_the_port_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"serial:socket://127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(2):  # the port is not held by the first one
            with pytest.raises(LinkError, match=r"no answer from the board within 0.2 s"):
                find(url, deadline=0.2).open()
