"""Records of a log: what is whole is read, what is not is said, and nothing behind it is believed."""

from __future__ import annotations

import io
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwloop.errors import DataError
from hwloop.session_log.records import MAGIC, Damage, RecordWriter, encode_record, read_records

BODIES = [b"", b"a", bytes(range(256)) * 3]


def write(path: Path, bodies: list[bytes]) -> bytes:
    writer = RecordWriter(path, 0)
    os.write(writer._descriptor, MAGIC)
    writer._end = len(MAGIC)
    for kind, body in enumerate(bodies):
        writer.append(kind, body, lasting=False)
    writer.close()
    return path.read_bytes()


def read(path: Path) -> tuple[list[bytes], Damage | None]:
    with path.open("rb") as file:
        found = list(read_records(file, path))
    damage = found.pop() if found and isinstance(found[-1], Damage) else None
    return [one[1] for one in found if not isinstance(one, Damage)], damage


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6))
def test_what_is_appended_is_read(bodies: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        write(path, bodies)
        assert read(path) == (bodies, None)


def test_cut_at_every_byte_all_whole_records_are_there_and_the_rest_is_called_half_written(tmp_path: Path) -> None:
    whole, path = write(tmp_path / "log", BODIES), tmp_path / "cut"
    ends = [len(MAGIC)]
    for body in BODIES:
        ends.append(ends[-1] + len(encode_record(0, body)))
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        bodies, damage = read(path)
        there = max(0, sum(end <= length for end in ends) - 1)
        assert bodies == BODIES[:there]
        if length in ends:
            assert damage is None
        else:
            assert damage is not None
            assert damage.cut
            assert "half-written" in str(damage)


def test_zeros_at_the_end_are_what_a_power_cut_leaves(tmp_path: Path) -> None:
    whole = write(tmp_path / "log", BODIES)
    (tmp_path / "log").write_bytes(whole + b"\0" * 100_000)
    bodies, damage = read(tmp_path / "log")
    assert bodies == BODIES
    assert damage is not None
    assert (damage.cut, damage.place) == (True, len(whole))


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    whole, path, chance = write(tmp_path / "log", [*BODIES, *BODIES]), tmp_path / "flipped", random.Random(0)
    for position in range(len(MAGIC), len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << chance.randrange(8)]) + whole[position + 1 :])
        bodies, damage = read(path)
        assert bodies == [*BODIES, *BODIES][: len(bodies)]
        assert damage is not None
        assert damage.place <= position


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_damage(data: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(MAGIC + data)
        file.flush()
        file.seek(0)
        found = list(read_records(file, "log"))
    assert not data or found


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"PK\x03\x04" + b"0" * 100)
    with pytest.raises(DataError, match="the first line"):
        read(tmp_path / "x")


def test_a_record_that_does_not_fit_the_disk_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tmp_path / "log", BODIES)
    writer, real = RecordWriter(tmp_path / "log", len(whole)), os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) < 50:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: len(data) // 2])

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(DataError, match="No space left.*free space"):
            writer.append(7, b"x" * 1000, lasting=True)
    assert (tmp_path / "log").read_bytes() == whole
    writer.append(7, b"later", lasting=True)
    writer.close()
    assert read(tmp_path / "log") == ([*BODIES, b"later"], None)


def test_a_log_is_read_from_a_stream_of_its_bytes_alone() -> None:
    with pytest.raises(io.UnsupportedOperation):
        list(read_records(io.BytesIO(MAGIC), "log"))  # the size of a real file is what is checked
