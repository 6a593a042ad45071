"""Boards of codes: writes that break off, boards without noise or clock, clocks to the last bit, forks, and what restarts."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import hwloop as hl
from hwloop.device.registry import find
from hwloop.errors import DataError, LinkError, OptionError, TargetError
from hwloop_serial import history
from hwloop_serial.board.codes import CodesModel
from hwloop_serial.board.server import Serving
from hwloop_serial.calls import TrimWrite
from hwloop_serial.codes_device import CodesDevice, NoisyDevice, _step_to
from hwloop_serial.history import History
from hwloop_serial.messages import Feature

from .test_device import Restarted, inputs, network, same, serving


def test_a_write_of_trim_cells_that_breaks_off_is_known_as_far_as_it_came() -> None:
    how: dict[str, Any] = {"preset": "worst", "fail_after": [3], "session": 4}
    found: list[Any] = []
    with Restarted("emulator:3", **how) as served, hl.open(served.url) as board, hl.open("emulator:3", **how) as chip:
        for opened in (board, chip):
            device: Any = opened
            device.load(hl.compile(network(), device))
            default = device.trim_ranges["v_th"].default
            with pytest.raises(TargetError):
                device.write_trim("v_th", default + np.arange(1, 9), np.arange(8))
            found.append((device.trim_codes("v_th")[:9] - default, device.writes))
            if device is board:
                served.target = find("emulator:3", **{**how, "fail_after": [10**9]})  # it does not break off again
                served.restart()
            found.append(device.run(inputs(4)))
    assert (found[0][0].tolist(), found[0][1]) == (found[2][0].tolist(), found[2][1])
    same(found[1], found[3])


def test_a_write_that_broke_off_before_its_first_cell_wrote_nothing() -> None:
    with serving("emulator:3", preset="worst", fail_after=[0]) as url, hl.open(url, session=1) as opened:
        board: Any = opened
        default = board.trim_ranges["v_th"].default
        with pytest.raises(TargetError):
            board.write_trim("v_th", np.array([default + 1]), np.array([0]))
        assert board.trim_codes("v_th")[0] == default
        with (
            mock.patch.object(board.remote, "call", side_effect=LinkError("unplugged")),
            pytest.raises(LinkError, match="unplugged"),
        ):
            board.write_trim("v_th", np.array([default + 1]), np.array([0]))


def test_a_board_with_neither_noise_nor_clock_nor_temperature_is_run_and_brought_back() -> None:
    with (
        mock.patch.object(CodesModel, "features", int(Feature.TRIM)),
        Restarted("emulator:3", preset="ideal") as served,
        hl.open(served.url) as opened,
    ):
        board: Any = opened
        assert type(board) is CodesDevice
        assert not isinstance(board, NoisyDevice)
        board.load(hl.compile(network(), board))
        first = board.run(inputs())
        served.restart()
        same(board.run(inputs()), first)
        assert (board.device_time, board.temperature, board.membrane_channels) == (0.0, None, 0)
        for use in (lambda: board.advance(1.0), lambda: setattr(board, "temperature", 1.0)):
            with pytest.raises(OptionError, match="leave it out, or use a board that has it"):
                use()
    with pytest.raises(TargetError, match="is closed"):
        board.run(inputs())


def test_a_fixed_point_board_that_starts_anew_is_given_its_program_again() -> None:
    with Restarted("loihi") as served, hl.open(served.url) as board:
        served.restart()
        board.load(hl.compile(network(), board))
        first = board.run(inputs())
        served.restart()
        same(board.run(inputs()), first)
        assert board.remote.session.counts.reboots == 2  # type: ignore[attr-defined]


def test_a_fork_that_closes_its_copy_of_a_board_leaves_it_to_its_parent() -> None:
    with serving("loihi") as url, hl.open(url) as opened:
        board: Any = opened
        here, board._opener = board._opener, board._opener + 1
        board.close()  # as in the child
        board._opener, board.closed = here, False
        board.load(hl.compile(network(), board))


def test_a_sample_whose_output_alone_is_too_much_is_refused() -> None:
    from hwloop_serial.board.board import Room

    with (
        serving("loihi", Room(program=65536, input=4096, output=8, max_body=256, window=2)) as url,
        hl.open(url) as board,
    ):
        board.load(hl.compile(network(), board))
        with pytest.raises(TargetError, match="does not fit the board's 8 bytes"):
            board.run(inputs(3))


def test_a_board_that_refuses_to_begin_gives_its_line_and_port_back() -> None:
    with serving("emulator:3", preset="bss2") as url:
        target: Any = find(url)
        for _ in range(2):  # the second one finds the port free
            with (
                mock.patch("hwloop_serial.remote.Remote.reset", side_effect=LinkError("no")),
                pytest.raises(LinkError, match="^no$"),
            ):
                target.open()
        target.open().close()


def test_a_clock_is_brought_to_the_last_bit() -> None:
    chance = random.Random(0)
    for _ in range(2000):
        now = chance.uniform(0, 10) ** chance.randint(1, 6)
        then = now + chance.uniform(0, 1) ** chance.randint(1, 12)
        step = _step_to(now, then)
        assert step is not None
        assert now + step == then
    assert _step_to(2.0, 1.0) is None


# -- what a board was given -----------------------------------------------------------------------


def trim(code: int) -> TrimWrite:
    return TrimWrite(0, False, np.array([code]), np.array([0]))


def test_every_load_is_kept_where_it_leaves_a_trace_and_the_last_one_else() -> None:
    images = [b"abc" * 100, b"abd" * 100, b"abd" * 120, b"", b"x"]
    for every, kept in ((True, images), (False, images[-1:])):
        given = History(every=every)
        given.trimmed(trim(1))
        for image in images:
            given.loaded(image)
        given.trimmed(trim(2))
        steps = list(given.steps())
        assert [one for one in steps if isinstance(one, bytes)] == kept
        assert [one.codes.tolist() for one in steps if isinstance(one, TrimWrite)] == [[1], [2]]
        given.sought()
        assert list(given.steps()) == images[-1:]


def test_what_is_not_known_any_more_is_known_again_once_it_is_sought_with_a_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = History(every=True)
    given.loaded(b"abc")
    given.lost()
    given.sought()  # nobody knows what the board held
    assert "broke off" in given.unknown
    given.loaded(b"abd")
    assert given.unknown
    given.sought()
    assert (given.unknown, list(given.steps())) == ("", [b"abd"])
    monkeypatch.setattr(history, "MOST_KEPT", 10)
    given.loaded(bytes(20))
    assert "than the 10 bytes that are kept" in given.unknown
    other = History(every=False)
    other.loaded(bytes(100))
    other.lost()
    assert (other.unknown, list(other.steps())) == ("", [])


# -- recorded -------------------------------------------------------------------------------------


def test_a_recorded_board_is_seen_by_the_watch_too_and_a_log_that_cannot_be_is_refused(tmp_path: Path) -> None:
    seen: list[str] = []
    with Serving(find("loihi"), "tcp://127.0.0.1:0") as url:
        options: dict[str, Any] = {"watch": lambda at, way, frame: seen.append(way)}
        with hl.open(f"serial:{url}", log=tmp_path / "x.log", **options) as board:
            board.load(hl.compile(network(), board))
        log = hl.session_log.read_log(tmp_path / "x.log")  # type: ignore[attr-defined]
        assert log.frames["sent"] <= seen.count("sent")
        with hl.open("emulator:3") as chip, hl.record_session(chip, tmp_path / "other.log"):
            pass
        with pytest.raises(DataError, match="is the log of emulator:3"):
            hl.open(f"serial:{url}", log=tmp_path / "other.log")
        hl.open(f"serial:{url}", log=tmp_path / "x.log").close()  # port and log are free


def test_a_replay_compiles_in_pieces_where_its_device_did(tmp_path: Path) -> None:
    with hl.record_session(hl.open("emulator:3", preset="bss2"), tmp_path / "x.log") as device:
        device.load(hl.compile(network(), device))
    target: Any = find(f"replay:{tmp_path / 'x.log'}")
    assert target.partition(network()).digest == find("emulator:3", preset="bss2").partition(network()).digest  # type: ignore[attr-defined]
    with target.open() as device:
        assert (device.target, device.logged) == (target, 0)
        with pytest.raises(TargetError, match="allowed: to go on after 0..0"):
            device.seek(logged=1)
