"""The firmware's receiver takes good frames and nothing else, whatever comes on the line."""

from __future__ import annotations

import ctypes
import hashlib
import re
import zlib
from functools import partial

import numpy as np
import pytest

from .built import FIRMWARE
from .library import load, receive, sent, sha256
from .wire import SCHEMA, STATUS, WRITE, frame, stuffed, unstuffed

MOST_BODY = 1024
GOOD = frame(STATUS, 1, 2, 3)


@pytest.fixture(autouse=True)
def _fresh() -> None:
    load().hwl_memory_restart()
    load().test_receiver_begin()


def dropped() -> list[int]:
    """Frames dropped for their COBS, length, crc and type."""
    return [int(load().test_dropped(which)) for which in range(4)]


def test_the_schema_id_is_that_of_the_page() -> None:
    page = (FIRMWARE.parent / "PROTOCOL.md").read_text()
    lines = re.search(r"```schema\n(.*?)```", page, re.DOTALL)
    assert lines is not None
    assert zlib.crc32(lines[1].encode()) == load().test_schema() == SCHEMA


@pytest.mark.parametrize("length", [0, 1, 2, 40, 236, 237, 238, 239, 253, 254, 255, 500, 509, MOST_BODY])
@pytest.mark.parametrize("kind", ["zeros", "none", "mixed"])
def test_frames_of_every_length_come_and_go(length: int, kind: str) -> None:
    low, high = {"zeros": (0, 1), "none": (1, 256), "mixed": (0, 3)}[kind]
    body = np.random.default_rng(length).integers(low, high, length).astype(np.uint8).tobytes()
    wire = frame(WRITE, 0x01020304, 5, 0xFF00FF00, body)
    load().test_frame_send(WRITE, 0x01020304, 5, 0xFF00FF00, body, length)
    assert sent() == wire
    count, found = receive(wire)
    assert count == 1
    assert found == unstuffed(wire[:-1])[:-4]


def test_a_last_block_of_254_may_be_followed_by_an_empty_one() -> None:
    body = b"\1" * (254 - 13 - 4)
    # a crc without zeros, so that all of the frame is one block
    wires = (frame(WRITE, 0x01010101, 0x01010100 + low, 0x01010101, body) for low in range(1, 200))
    wire = next(wire for wire in wires if wire[0] == 255)
    assert wire[-2:] == b"\1\0"
    assert receive(wire)[0] == receive(wire[:-2] + b"\0")[0] == 1
    load().test_frame_send(WRITE, 0x01010101, int.from_bytes(wire[6:10], "little"), 0x01010101, body, len(body))
    assert sent() == wire


def test_a_longer_body_is_skipped_to_the_next_delimiter() -> None:
    assert receive(frame(WRITE, 1, 1, 1, bytes(MOST_BODY + 1)))[0] == 0
    assert receive(frame(WRITE, 1, 1, 1, b"x" * 20000))[0] == 0
    assert receive(GOOD)[0] == 1
    assert dropped() == [2, 0, 0, 0]


def test_what_is_no_frame_is_counted_by_its_reason() -> None:
    raw = unstuffed(GOOD[:-1])
    assert receive(stuffed(raw[:16]))[0] == 0
    assert receive(stuffed(raw[:-1] + bytes([raw[-1] ^ 1])))[0] == 0
    assert receive(b"\x05\x01\x00")[0] == 0
    for kind in (0, 0x0B, 0x7F, 0x81, 0x82, 0xFF):
        assert receive(frame(kind, 1, 2, 3))[0] == 0
    assert dropped() == [1, 1, 1, 6]


def test_a_frame_of_another_schema_is_dropped() -> None:
    raw = unstuffed(GOOD[:-1])[:-4]
    for seed in (0, SCHEMA ^ 1, 0x48574C50):
        assert receive(stuffed(raw + zlib.crc32(raw, seed).to_bytes(4, "little")))[0] == 0
    assert receive(stuffed(raw + zlib.crc32(raw, SCHEMA).to_bytes(4, "little")))[0] == 1


def test_empty_frames_are_skipped_without_a_word() -> None:
    assert receive(b"\0" * 50 + GOOD + b"\0\0" + GOOD)[0] == 2
    assert dropped() == [0, 0, 0, 0]


# -- T1 to T3 of the promises: a damaged frame is never taken for a good one ------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_no_damaged_frame_is_accepted_and_the_next_good_one_always_is(seed: int) -> None:
    accepted, missed = ctypes.c_uint32(0), ctypes.c_uint32(0)
    really = load().test_damage(ctypes.c_uint64(1000 + seed), 100_000, ctypes.byref(accepted), ctypes.byref(missed))
    assert really > 90_000
    assert (accepted.value, missed.value) == (0, 0)


def short() -> bytes:
    """24 bytes with header and crc: SEAL's header with seven bytes of body."""
    wire = frame(WRITE, 0x00FF0001, 2, 0x80000000, b"\0\1\2\0\0\3\xff")
    assert len(unstuffed(wire[:-1])) == 24
    return wire


def test_every_flip_of_one_and_two_bits_of_a_frame_of_24_bytes_is_refused() -> None:
    wire, tried = short(), ctypes.c_uint32(0)
    bits = 8 * len(wire)
    for pairs, number in ((0, bits), (1, bits * (bits - 1) // 2)):
        assert load().test_flips(wire, ctypes.c_size_t(len(wire)), pairs, ctypes.byref(tried)) == 0
        assert tried.value == number
    assert receive(wire)[0] == 1


def test_every_truncation_is_refused_and_every_split_is_accepted() -> None:
    wire = short()
    for cut in range(1, len(wire) - 1):
        assert receive(wire[:cut] + b"\0")[0] == 0
        assert receive(wire[cut:])[0] == 0
        assert receive(wire[:cut])[0] + receive(wire[cut:])[0] == 1
    assert receive(wire)[0] == 1


def test_every_inserted_byte_is_refused() -> None:
    wire = short()
    accepted = 0
    for place in range(len(wire)):
        for byte in range(256):
            if byte == 0 and place in (0, len(wire) - 1):
                continue  # an empty frame before it, or behind it: no damage
            accepted += receive(wire[:place] + bytes([byte]) + wire[place:])[0]
            accepted += receive(b"\0")[0]
    assert accepted == 0
    assert receive(wire)[0] == 1


@pytest.mark.parametrize("byte", [0x00, 0xFF, 0x01, 0x55, 0xAA])
def test_a_constant_line_says_nothing(byte: int) -> None:
    constant = partial(load().test_constant, ctypes.c_uint8(byte))
    assert constant(ctypes.c_size_t(5000)) == 0
    for length in range(0, 5001, 7):
        load().test_receiver_begin()
        assert receive(bytes([byte]) * length + b"\0")[0] == 0
        assert receive(GOOD)[0] == 1


def test_a_megabyte_of_noise_says_nothing() -> None:
    noise = np.random.default_rng(5).integers(0, 256, 1 << 20).astype(np.uint8).tobytes()
    assert receive(noise)[0] == 0
    assert receive(b"\0" + GOOD)[0] == 1


@pytest.mark.parametrize("length", [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000, 65537])
def test_digest_and_crc_are_those_of_the_library(length: int) -> None:
    data = np.random.default_rng(length).integers(0, 256, length).astype(np.uint8).tobytes()
    assert sha256(data) == hashlib.sha256(data).digest()
    for start in (0, 0x48574C50, 0xFFFFFFFF):
        assert load().test_crc32(ctypes.c_uint32(start), data, ctypes.c_size_t(length)) == zlib.crc32(data, start)
