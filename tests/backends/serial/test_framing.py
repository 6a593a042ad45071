"""Frames, COBS and messages against the page and the file of vectors."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import hwloop_serial
from hwloop_serial import cobs, framing, messages, schema
from hwloop_serial.framing import Decoder, Frame

HERE = Path(hwloop_serial.__file__).parent
VECTORS: dict[str, Any] = json.loads((HERE / "vectors.json").read_text())


def test_the_schema_is_that_of_the_page() -> None:
    text = (HERE / "PROTOCOL.md").read_text()
    assert text.split("```schema\n")[1].split("```")[0] == schema.SCHEMA
    assert VECTORS["schema_id"] == schema.SCHEMA_ID
    assert VECTORS["hello_seed"] == framing.HELLO_SEED


@pytest.mark.parametrize("name", schema.MESSAGES)
def test_bodies_have_the_fields_of_the_schema(name: str) -> None:
    request, reply = messages.BODIES[name]
    assert request._fields == schema.MESSAGES[name].request.fields
    assert reply._fields == schema.MESSAGES[name].reply.fields


@pytest.mark.parametrize("entry", VECTORS["good"], ids=lambda entry: entry["name"])
def test_good_frames_are_read_and_written(entry: dict[str, Any]) -> None:
    heard = Decoder(framing.REQUESTS | framing.REPLIES)
    (frame,) = heard.feed(bytes.fromhex(entry["hex"]))
    body = bytes.fromhex(entry["body"])
    assert frame == Frame(entry["type"], entry["session"], entry["sequence"], entry["boot"], body)
    assert framing.encode(frame).hex() == entry["hex"]


@pytest.mark.parametrize("entry", VECTORS["bad"], ids=lambda entry: entry["name"])
def test_bad_frames_are_dropped_and_the_next_one_is_heard(entry: dict[str, Any]) -> None:
    heard = Decoder(framing.REQUESTS)
    assert heard.feed(bytes.fromhex(entry["hex"])) == []
    good = next(one for one in VECTORS["good"] if one["name"] == "request STATUS")
    assert len(heard.feed(b"\0" + bytes.fromhex(good["hex"]))) == 1


def test_the_file_of_vectors_is_what_its_script_writes() -> None:
    from tests.backends.serial.make_vectors import make

    assert json.loads(json.dumps(make())) == VECTORS


def test_cobs_of_arrays_is_cobs_of_blocks_and_comes_back() -> None:
    draw = random.Random(4)
    for length in (0, 1, 2, 100, 191, 192, 193, 253, 254, 255, 256, 507, 508, 509, 1000, 3000):
        for share in (0.0, 0.001, 0.01, 0.5, 1.0):
            data = bytes(0 if draw.random() < share else draw.randrange(1, 256) for _ in range(length))
            stuffed = cobs.encode(data)
            assert stuffed == cobs._encoded_small(data)
            assert 0 not in stuffed
            assert len(stuffed) <= len(data) + len(data) // cobs.RUN + 1
            assert cobs.decode(stuffed) == data


@pytest.mark.parametrize("stuffed", [b"", b"\x02", b"\xff" + b"\1" * 10, b"\1\5\1", b"\1" * 200 + b"\2", b"\xff" * 254])
def test_what_is_no_cobs_is_refused(stuffed: bytes) -> None:
    with pytest.raises(cobs.StuffingError):
        cobs.decode(stuffed)


def test_a_body_of_another_length_is_refused() -> None:
    with pytest.raises(messages.BodyError, match="BEGIN with a body of 5 bytes; it has 6"):
        messages.unpack_request("BEGIN", bytes(5))
    with pytest.raises(messages.BodyError, match="9 or more"):
        messages.unpack_request("WRITE", bytes(8))
