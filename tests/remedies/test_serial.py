"""The link to a board, in memory: what breaks, what a board answers wrongly, and names of ports."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from hwloop.device.registry import find
from hwloop_serial import framing, information, messages
from hwloop_serial.address import FoundPort, port_of
from hwloop_serial.board.board import Room
from hwloop_serial.board.lines import PseudoTerminal, TcpPort, line
from hwloop_serial.faults import FaultRates
from hwloop_serial.framing import Decoder
from hwloop_serial.messages import NO_DIGEST, NUMBERS, Code, Region, State
from hwloop_serial.remote import Remote
from hwloop_serial.transport import SerialPort
from tests.reliability.support import INFO, CountingModel, Restarting, SimulatedBoard, answer_to

from .support import Case, Said, option, refused

IMAGE, GIVEN = b"an image " * 40, b"its input " * 20


def opened(board: SimulatedBoard) -> Remote:
    """The board, opened by a session of its own number: those of one seed begin with the same."""
    session = board.session()
    session.session = 1 + len(board.ports)
    return Remote(session)


def ran(remote: Remote, batch: int = 1) -> bool:
    """A whole upload and run, whose answer is right."""
    remote.upload(Region.PROGRAM, IMAGE)
    found = remote.run(GIVEN, NO_DIGEST, batch=batch, repeats=1, n_ticks=1, t_stop=0.0, code=0)
    return found.output == answer_to(IMAGE, GIVEN)


# -- boards whose firmware is at fault ------------------------------------------------------------


class Faulty(SimulatedBoard):
    """A board whose replies to requests called ``name`` are changed, until it gets :meth:`mended` firmware."""

    def __init__(self, name: str, change: Callable[[Any, bytes], bytes]) -> None:
        self.name, self.change, self.faulty = name, change, True
        super().__init__(1)

    def restart(self) -> None:
        super().restart()
        answer = self.board.answer

        def changed(frame: framing.Frame) -> bytes:
            raw = answer(frame)
            (reply,) = Decoder(framing.REPLIES).feed(raw)
            if not self.faulty or reply.type != framing.REPLY | NUMBERS[self.name]:
                return raw
            return framing.encode(reply._replace(body=self.change(*messages.unpack_reply(self.name, reply.body))))

        self.board.answer = changed  # type: ignore[method-assign]

    def mended(self) -> bool:
        """Whether everything works with the firmware that its author mended, or with that of the same version."""
        self.faulty = False
        self.cut()
        return ran(opened(self))

    def use(self) -> bool:
        return ran(opened(self))


def reply(name: str, **values: Any) -> Faulty:
    """A board that puts ``values`` into its replies."""
    return Faulty(name, lambda fields, data: messages.pack_reply(name, fields._replace(**values), data))


def of_run(**values: Any) -> Faulty:
    """A board that puts ``values`` into STATUS once a run was begun."""
    return Faulty("STATUS", lambda fields, _: messages.pack_reply("STATUS", fields._replace(**values)))


def damaged(fields: Any, data: bytes) -> bytes:
    """OUTPUT with a bit that is wrong; INFO, which is read before, as it is."""
    wrong = bytes((data[0] ^ 1, *data[1:])) if fields.region == Region.OUTPUT else data
    return messages.pack_reply("READ", fields, wrong)


def misplaced(fields: Any, data: bytes) -> bytes:
    return messages.pack_reply("READ", fields._replace(offset=fields.offset + 1), data)


FAULTY: list[tuple[Said, Faulty]] = [
    (Said("check_hello", "Put firmware and hwloop of the same version together"), reply("HELLO", schema=0x12345678)),
    (Said("check_hello", "1 or 2. Its firmware is at fault: report it to its author"), reply("HELLO", window=0)),
    (Said("Session._fields", "{}: {}; the firmware of the board is at fault"),
     Faulty("SEAL", lambda fields, data: messages.pack_reply("SEAL", fields) + b"x")),
    (Said("Remote._read_info", "{}: INFO of {} bytes; allowed: {}; {}"), reply("HELLO", info_bytes=70_000)),
    (Said("Remote.upload", "its firmware is at fault"), reply("SEAL", digest=bytes(32))),
    (Said("_read.take", "the firmware of the board is at fault"), Faulty("READ", misplaced)),
    (Said("Remote._download", "the board says {}; run again"), Faulty("READ", damaged)),
    (Said("Remote._done", "the board reports run {}, not {}; open it anew"), of_run(run_id=77)),
    (Said("remote._failed", "by a reset, another program or silence; run again"), of_run(state=State.FAILED, run_error=Code.ABORTED)),
    (Said("remote._failed", "the run failed with error {}; the firmware of the board is at fault"),
     of_run(state=State.FAILED, run_error=99)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "board"), FAULTY, ids=lambda value: value.text if isinstance(value, Said) else "")
def test_a_board_that_answers_wrongly_works_opened_anew_once_it_answers_rightly(said: Said, board: Faulty) -> None:
    refused(said.at, said.text, board.use)
    assert board.mended()


INFOS = [
    (Said("information.read", "INFO of {} bytes; allowed: {}; {}"), b" " * 70_000),
    (Said("information.read", "INFO nests deeper than {}; {}"), b'{"a":' + b"[" * 20 + b"]" * 20 + b"}"),
    (Said("information.read", "{}; {}"), b"no JSON"),
    (Said("information.read", "{}: INFO"), INFO.replace(b'"version":1', b'"version":2')),
]


@pytest.mark.parametrize(("said", "data"), INFOS, ids=lambda value: value.text if isinstance(value, Said) else "")
def test_an_info_is_read_once_its_author_has_mended_it(said: Said, data: bytes) -> None:
    message = refused(said.at, said.text, lambda: information.read(data, "board"))
    assert message.endswith("report it to its author")
    assert information.read(INFO, "board").device_id == "counting"


def test_a_board_that_says_boot_0_works_once_its_author_has_mended_it() -> None:
    """The host would not notice that it started anew."""
    board = SimulatedBoard(8)
    board.board.boot = 0
    text = "the board says boot number 0; allowed: 1..{}, another one at each start. Its firmware is at fault: report it to its author"
    refused("check_hello", text, lambda: ran(opened(board)))
    board.restart()
    remote = opened(board)
    assert ran(remote)
    board.restart()
    board.board.boot = 0
    refused("check_hello", text, lambda: ran(remote))
    board.restart()
    assert ran(opened(board))


# -- lines and sessions ---------------------------------------------------------------------------


def test_a_port_that_cannot_be_opened_is_opened_once_it_is_there() -> None:
    board = SimulatedBoard(1)
    board.refusing = True
    refused("Session.open", "check the port, its cable and permissions", board.session().open)
    board.refusing = False
    assert ran(opened(board))


def test_a_board_that_is_silent_answers_once_it_is_connected_again_or_is_given_longer() -> None:
    board = SimulatedBoard(2)
    session = board.session(deadline=1.0)
    remote = Remote(session)
    board.refusing = True
    board.cut()
    refused("session._gone", "check that it is powered, connected and running", lambda: ran(remote))
    board.refusing = False
    assert ran(remote)
    back = board.clock.now() + 5.0
    board.cut()

    def connect() -> Any:
        if board.clock.now() < back:
            raise OSError("not yet")
        return board.connect()

    session.connect = connect
    refused("session._gone", "or give it longer: deadline=SECONDS", lambda: ran(remote))
    session.deadline = 20.0
    assert ran(remote)


def test_a_board_that_another_program_took_works_opened_again_when_that_has_ended() -> None:
    board = SimulatedBoard(3)
    mine = opened(board)
    other = board.session()
    other.session = 4711
    other.open()
    refused("session._refused", "end the other one, and open the board again", lambda: ran(mine))
    other.close()
    mine.close()
    assert ran(opened(board))


def test_a_session_that_is_not_open_has_to_be_opened() -> None:
    session = SimulatedBoard(4).session()
    refused("Session.limits", "{} is not open; open it first", session.limits)
    session.open()
    assert session.limits().window == 3


def test_what_a_board_has_no_room_for_fits_when_it_is_smaller() -> None:
    remote = Remote(SimulatedBoard(5).session())
    message = "a smaller network or batch, or a larger board"
    refused("Remote._begin", message, lambda: remote.upload(Region.PROGRAM, bytes(5000)))
    remote.upload(Region.PROGRAM, bytes(4096))
    assert ran(remote)


def test_another_board_at_the_same_port_has_to_be_opened_anew() -> None:
    board = SimulatedBoard(6)
    remote = opened(board)
    assert ran(remote)
    board.restart()
    board.board._info = INFO.replace(b"counting", b"replaced")
    remote.session._lost_boot()
    refused("Remote.again", "or it has other limits; open it anew", remote.again)
    remote.close()
    assert ran(opened(board))


def test_a_run_that_takes_too_long_is_ended_and_a_smaller_one_runs() -> None:
    """The board has no sample of two done for an hour."""
    batches = [0]

    def slow(fields: Any, _: bytes) -> bytes:
        return messages.pack_reply("STATUS", fields._replace(state=State.RUNNING) if batches[-1] > 1 else fields)

    board = Faulty("STATUS", slow)
    run = board.model.run

    def counted(asked: messages.Run, data: bytes, room: int) -> Any:
        batches.append(asked.batch)
        return run(asked, data, room)

    board.model.run = counted  # type: ignore[method-assign]
    remote = opened(board)
    refused("Remote._done", "the run was ended: send a smaller batch", lambda: ran(remote, 2))
    assert ran(remote, 1)


# -- ports ----------------------------------------------------------------------------------------

PORT = FoundPort("/dev/ttyUSB7", "1A86:7523", "A1", "a board")


def connected(*ports: FoundPort) -> Any:
    return mock.patch("hwloop_serial.address.ports", return_value=list(ports))


def test_a_port_is_found_as_the_list_of_ports_names_it() -> None:
    with connected(PORT):
        message = refused("address.port_of", "serial: names no port; allowed: serial:PORT", lambda: port_of(""))
        for name in ("/dev/ttyUSB7", "1A86:7523", "sn=A1"):
            assert name.removeprefix("sn=") in message.replace("serial number A1", "A1")
            assert port_of(name) == "/dev/ttyUSB7"
        text = "serial:{}: {} connected that this names. {}"
        message = refused("address.port_of", text, lambda: port_of("sn=A2"))
        assert "serial number A1" in message
    with connected(PORT, FoundPort("/dev/ttyUSB8", "1A86:7523", "A2", "another")):
        message = refused("address.port_of", text, lambda: port_of("1A86:7523"))
        assert "several boards are connected" in message
        assert "serial number A2" in message
        assert port_of("sn=A2") == "/dev/ttyUSB8"


def test_a_computer_without_a_port_serves_a_board() -> None:
    with connected():
        message = refused("address.port_of", "serial: names no port", lambda: port_of(""))
    assert "serve one: hwloop serve --target emulator:7" in message


def closed(made: Any) -> None:
    made.close()


def test_a_link_that_cannot_be_made_is_made_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    text = "{} is there already and no link; name another"
    refused("_make_link", text, lambda: line(f"pty:{tmp_path / 'taken'}"))
    missing = f"pty:{tmp_path / 'missing' / 'board'}"
    refused("_make_link", "cannot make the link {}: {}; name another", lambda: line(missing))
    closed(line(f"pty:{tmp_path / 'free'}"))
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_computer_without_pseudo_terminals_serves_at_a_tcp_port() -> None:
    with mock.patch("os.openpty", side_effect=OSError("out of pty devices")):
        refused("PseudoTerminal.__init__", "no pseudo-terminal: {}; use tcp://{}:0", PseudoTerminal)
        closed(line("tcp://127.0.0.1:0"))


def test_a_tcp_port_that_is_taken_is_left_for_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        text = "cannot listen on {}:{}: {}; name another port"
        refused("TcpPort.__init__", text, lambda: TcpPort("127.0.0.1", number))
        closed(TcpPort("127.0.0.1", 0))


def test_a_port_that_is_none_is_one_of_those_that_are_named() -> None:
    served = Restarting(CountingModel, lambda: TcpPort("127.0.0.1", 0), Room(4096, 4096, 4096, 256, 4))
    try:
        text = "allowed: a device such as /dev/ttyUSB0, socket://HOST:PORT, rfc2217://HOST:PORT"
        refused("SerialPort.__init__", text, lambda: SerialPort("nonsense://127.0.0.1:1"))
        closed(SerialPort(served.url))
    finally:
        served.stop()


CASES = [
    Case("lines.line", "allowed: pty, pty:LINK", lambda: line("udp://127.0.0.1:1"),
         (lambda: closed(line("pty")), lambda: closed(line("tcp://127.0.0.1:0")))),
    option("FaultRates.__post_init__", "{} = {}; allowed: a chance, 0..1", FaultRates, "flip", 1.5, 0.0, 1.0),
    option("SerialTarget._take_options", "deadline = {}; allowed: finite and > 0 (s)",
           lambda deadline: find("serial:/dev/ttyUSB0", deadline=deadline), "deadline", -1.0, 1e-3, 20.0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_remedy_works(case: Case) -> None:
    case.follow()
