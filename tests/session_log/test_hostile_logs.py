"""Records that are whole and say what no recorder writes: refused with file, byte, field, and nothing of them used."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwloop as hl
from hwloop.array_file import dump_arrays
from hwloop.errors import DataError, TargetError
from hwloop.session_log import Damage, SessionLog, read_log, record_session
from hwloop.session_log.asked import AskedText, OpenedText, read_asked, read_opened
from hwloop.session_log.entries import Frame, Kind, encode_entry, run_events
from hwloop.session_log.records import MAGIC, RecordWriter, encode_record

from .test_asked import INPUTS, chain, use


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The records of a log by what they are."""
    path = tmp_path_factory.mktemp("log") / "x.log"
    with record_session(hl.open("emulator:3", preset="worst", session=3), path) as device:
        use(device)
    content, whole = read_log(path), path.read_bytes()
    places = {"run": content._places[0], "opened": content._asked_places[0], "trim": content._asked_places[1]}
    found = {name: whole[place.start : place.start + place.length] for name, place in places.items()}
    (membranes,) = [k for k, text in enumerate(content.asked) if getattr(text, "name", "") == "read_membrane"]
    place = content._asked_places[membranes]
    found["membranes"] = whole[place.start : place.start + place.length]
    found["session"] = encode_entry(content.sessions[0])
    found["load"] = encode_entry(content.loads[0])
    return found


def log(path: Path, *records: tuple[int, bytes]) -> Path:
    path.write_bytes(MAGIC + b"".join(encode_record(kind, body) for kind, body in records))
    return path


def altered(body: bytes, old: bytes, new: bytes) -> bytes:
    """``body`` with another text, whose length is right."""
    (length,) = struct.unpack_from("<I", body)
    text = body[4 : 4 + length]
    assert old in text
    text = text.replace(old, new, 1)
    return struct.pack("<I", len(text)) + text + body[4 + length :]


Records = Callable[[dict[str, bytes]], list[tuple[int, bytes]]]
WRONG: list[tuple[str, Records]] = [
    ("the record is of kind 2; allowed: a session before anything else", lambda b: [(Kind.LOAD, b["load"])]),
    ("the record is of kind 9; allowed: kinds 1, 2, 3, 4, 5, 6", lambda b: [(Kind.SESSION, b["session"]), (9, b"")]),
    ("the session is emulator:4", lambda b: [(Kind.SESSION, b["session"]), (Kind.SESSION, altered(b["session"], b'"emulator:3/', b'"emulator:4/'))]),
    ("the session is emulator:3.*, run 5", lambda b: [(Kind.SESSION, altered(b["session"], b'"runs":0', b'"runs":5'))]),
    ("the run is number 1 of", lambda b: [(Kind.SESSION, b["session"]), (Kind.RUN, altered(b["run"], b'"run":0', b'"run":1'))]),
    ("what was asked is before run 3", lambda b: [(Kind.SESSION, b["session"]), (Kind.ASKED, altered(b["trim"], b'"run":1', b'"run":3'))]),
    ("a frame is 8 bytes", lambda b: [(Kind.FRAME, bytes(8))]),
    ("a frame is 9 bytes", lambda b: [(Kind.FRAME, struct.pack("<Bd", 1, float("nan")))]),
    ("a frame is 9 bytes", lambda b: [(Kind.FRAME, struct.pack("<Bd", 2, 0.0))]),
    ("a record is a text of 3 bytes in 3", lambda b: [(Kind.SESSION, b"abc")]),
    ("a record is a text of 999 bytes in 7", lambda b: [(Kind.SESSION, struct.pack("<I", 999) + b"abc")]),
    ("unknown key", lambda b: [(Kind.SESSION, altered(b["session"], b'{"format"', b'{"more":1,"format"'))]),
]  # fmt: skip


@pytest.mark.parametrize(("said", "records"), WRONG, ids=[said for said, _ in WRONG])
def test_a_record_that_does_not_follow_from_those_before_is_refused_with_its_byte(
    tmp_path: Path, bodies: dict[str, bytes], said: str, records: Records
) -> None:
    path = log(tmp_path / "x.log", *records(bodies))
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"x.log.*{said}"):
        read_log(path)
    with pytest.raises(TargetError, match="x.log"):
        hl.open(f"replay:{path}")
    with pytest.raises(DataError, match="x.log"):
        SessionLog(path)
    assert path.read_bytes() == before


ARRAYS: list[tuple[str, str, Any]] = [
    ("trim", "codes.v_th.*int64", {"codes.v_th": np.zeros(3, np.float64)}),
    ("trim", "unknown", {"more": np.zeros(3)}),
    ("trim", "what was found", {"found": np.zeros((1, 1, 1))}),
    ("membranes", "inputs.times.*missing", {}),
]


@pytest.mark.parametrize(("name", "said", "arrays"), ARRAYS)
def test_arrays_of_a_question_are_its_own(
    bodies: dict[str, bytes], name: str, said: str, arrays: dict[str, Any]
) -> None:
    body = bodies[name]
    (length,) = struct.unpack_from("<I", body)
    text = AskedText.model_validate_json(body[4 : 4 + length])
    read_asked(text, body, "x.log")
    with pytest.raises(DataError, match=f"x.log.*{said}"):
        read_asked(text, body[: 4 + length] + dump_arrays(arrays), "x.log")


def test_codes_of_a_beginning_are_those_of_its_ranges(bodies: dict[str, bytes]) -> None:
    body = bodies["opened"]
    (length,) = struct.unpack_from("<I", body)
    text = OpenedText.model_validate_json(body[4 : 4 + length])
    assert set(read_opened(text, body, "x.log")) == set(text.ranges)
    for arrays in ({}, {"codes.v_th": np.zeros(3)}):
        with pytest.raises(DataError, match="x.log"):
            read_opened(text, body[: 4 + length] + dump_arrays(arrays), "x.log")
    with pytest.raises(ValueError, match="codes_min"):
        OpenedText.model_validate_json(body[4 : 4 + length].replace(b'"codes_min":', b'"codes_min":-99999', 1))


def test_events_of_a_run_are_its_own(bodies: dict[str, bytes], tmp_path: Path) -> None:
    path = log(tmp_path / "x.log", (Kind.SESSION, bodies["session"]), (Kind.RUN, bodies["run"]))
    content = read_log(path)
    inputs, _ = content.events(0)
    assert len(inputs) == len(INPUTS)
    path.write_bytes(path.read_bytes()[:-40])  # since it was looked through
    with pytest.raises(DataError, match="x.log"):
        content.events(0)
    with pytest.raises(DataError, match="x.log"):
        run_events(content.runs[0], bodies["run"][:-40], "x.log")


def test_frames_alone_are_no_session(tmp_path: Path) -> None:
    path = log(tmp_path / "x.log", (Kind.FRAME, Frame(True, 0.5, b"abc").encode()))
    assert read_log(path).device_id == "any device"
    with pytest.raises(TargetError, match="no session in it. Nothing is replayed"):
        hl.open(f"replay:{path}")


def test_a_log_that_was_cut_in_its_first_line_is_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(MAGIC[:5])
    damage = read_log(path).damage
    assert isinstance(damage, Damage)
    assert damage.cut
    with record_session(hl.open("emulator:3"), path) as device:
        device.load(hl.compile(chain(), device.target))
    assert "half-written" in caplog.text
    assert (len(read_log(path).loads), read_log(path).damage) == (1, None)


def test_zeros_that_are_not_to_the_end_are_damage(tmp_path: Path) -> None:
    path = log(tmp_path / "x.log", (Kind.FRAME, Frame(True, 0.5, b"abc").encode()))
    whole = path.read_bytes()
    for tail, cut in ((bytes(100_000), True), (bytes(100_000) + b"x", False), (bytes(24), True)):
        path.write_bytes(whole + tail)
        damage = read_log(path).damage
        assert damage is not None
        assert (damage.place, damage.cut) == (len(whole), cut)


def test_a_record_that_can_neither_be_written_nor_taken_back_is_left_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = log(tmp_path / "x.log", (Kind.FRAME, Frame(True, 0.5, b"abc").encode()))
    whole = path.read_bytes()
    writer = RecordWriter(path, len(whole))
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 90:
            raise OSError(5, "Input/output error")
        return real(descriptor, data[:50])

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", half)
        disk.setattr(os, "ftruncate", refuse)
        with pytest.raises(DataError, match="Input/output error"):
            writer.append(Kind.FRAME, b"y" * 100, lasting=False)
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", refuse)
        with pytest.raises(DataError, match="Read-only file system"):
            writer.close()
    damage = read_log(path).damage
    assert damage is not None
    assert damage.cut
    assert read_log(path).end == len(whole)


def test_a_log_is_closed_once_and_its_device_given_back_though_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chip: Any = hl.open("emulator:3")
    device = record_session(chip, tmp_path / "x.log")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left"):
            device.close()
    device.close()
    assert chip.closed
    SessionLog(tmp_path / "x.log").close()  # nobody holds it


def test_a_device_that_cannot_say_what_its_cells_hold_after_a_write_that_broke_off_is_recorded_without(
    tmp_path: Path,
) -> None:
    """Unplugged: the write breaks off, and asking breaks off too."""
    chip: Any = hl.open("emulator:3", preset="worst", session=3)
    with record_session(chip, tmp_path / "x.log") as opened:
        device: Any = opened
        held = chip.trim_codes

        def gone(*_: object, **__: object) -> Any:
            raise TargetError("unplugged")

        chip.write_trim = chip.trim_codes = gone
        with pytest.raises(TargetError, match="unplugged"):
            device.write_trim("v_th", np.array([1]), np.array([0]))
        chip.write_trim = lambda *_, **__: None
        with pytest.raises(TargetError, match="unplugged"):
            device.write_trim("v_th", np.array([1]), np.array([0]))
        chip.trim_codes = held
    with hl.open(f"replay:{tmp_path / 'x.log'}") as replayed, pytest.raises(TargetError, match="unplugged"):
        replayed.write_trim("v_th", np.array([1]), np.array([0]))  # type: ignore[attr-defined]
