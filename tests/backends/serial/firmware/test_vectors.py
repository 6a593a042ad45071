"""The firmware against the frames and images that host and firmware share: `vectors.json`."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from .built import FIRMWARE
from .library import load, read_image, receive, run_image, sent, sha256
from .wire import unstuffed

VECTORS: dict[str, Any] = json.loads((FIRMWARE.parent / "vectors.json").read_text())
LAST_REQUEST = 0x0A


@pytest.fixture(autouse=True)
def _fresh() -> None:
    load().hwl_memory_restart()
    load().test_receiver_begin()


def test_both_speak_the_same_schema() -> None:
    assert VECTORS["schema_id"] == load().test_schema()


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: vector["name"])
def test_good_frames_are_sent_and_requests_among_them_are_taken(vector: dict[str, Any]) -> None:
    wire, body = bytes.fromhex(vector["hex"]), bytes.fromhex(vector["body"])
    ends = (vector["session"], vector["sequence"], vector["boot"])
    load().test_frame_send(vector["type"], *ends, body, len(body))
    assert sent() == wire
    count, found = receive(wire)
    # a device takes requests alone; a reply that comes back to it, as on a line that echoes, is dropped
    assert count == (vector["type"] <= LAST_REQUEST)
    if count:
        assert found == unstuffed(wire[:-1])[:-4]
        assert found[13:] == body


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["name"])
def test_nothing_is_made_of_bad_frames_and_the_next_one_is_taken(vector: dict[str, Any]) -> None:
    good = bytes.fromhex(VECTORS["good"][1]["hex"])
    assert receive(bytes.fromhex(vector["hex"]))[0] == 0
    assert receive(good)[0] == 1


@pytest.mark.parametrize("vector", VECTORS["images"], ids=lambda vector: vector["name"])
def test_images_answer_as_they_have_to(vector: dict[str, Any]) -> None:
    image, events, expected = (bytes.fromhex(vector[name]) for name in ("hex", "input", "output_by_tick"))
    assert read_image(image).code == 0
    assert sha256(image).hex() == hashlib.sha256(image).hexdigest() == vector["sha256"]
    output = run_image(image, events, vector["batch"], vector["n_ticks"])
    assert isinstance(output, bytes)
    counts, wraps = 4 * vector["batch"], 4 * vector["batch"] * len(vector["sizes"])
    assert output[:counts] + output[counts + wraps :] == expected
