"""Frames: what is sent arrives, and what is no frame is refused before it costs anything."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from hwloop_lava.worker import protocol
from hwloop_lava.worker.protocol import MAGIC, PREFIX, Message, ProtocolError

ARRAYS = st.sampled_from([np.int32, np.int64, np.float64, np.int8]).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


def through(data: bytes) -> Message:
    stream = io.BytesIO(data)

    def read(n: int) -> bytes:
        found = stream.read(n)
        if len(found) < n:
            raise EOFError
        return found

    return protocol.receive(read)


@given(kind=st.text(max_size=9), fields=st.dictionaries(st.text(max_size=5), st.integers()), array=ARRAYS)
def test_what_is_sent_arrives(kind: str, fields: dict[str, int], array: np.ndarray) -> None:
    found = through(protocol.encode(Message(kind, fields, {"a": array, "b": array})))
    assert (found.kind, found.fields, list(found.arrays)) == (kind, fields, ["a", "b"])
    for given_back in found.arrays.values():
        assert given_back.dtype == array.dtype
        assert given_back.shape == array.shape
        assert given_back.tobytes() == array.tobytes()


def test_big_endian_arrays_arrive_as_their_values() -> None:
    found = through(protocol.encode(Message("x", {}, {"a": np.arange(3, dtype=">i4")})))
    assert found.arrays["a"].tolist() == [0, 1, 2]


def frame(header: object, body: bytes = b"", *, declared: int | None = None) -> bytes:
    text = json.dumps(header).encode()
    return PREFIX.pack(MAGIC, len(text), len(body) if declared is None else declared) + text + body


def entry(*values: object) -> dict[str, object]:
    return {"kind": "x", "fields": {}, "arrays": [list(values)]}


@pytest.mark.parametrize(
    "data, message",
    [
        (b"Traceback (most recent call last)", "where b'hwlava1"),
        (PREFIX.pack(MAGIC, 2**31, 0), "a frame of 2147483648"),
        (PREFIX.pack(MAGIC, 2, 2**60) + b"{}", "allowed"),
        (PREFIX.pack(MAGIC, 3, 0) + b"{]}", "no JSON"),
        (frame([]), "no JSON object"),
        (frame({"kind": 1, "fields": {}, "arrays": []}), "without kind"),
        (frame(entry("a", "<i4", [2]), b"1234"), "8 bytes where 4 are left"),
        (frame(entry("a", "<i4", [-1]), b"1234"), "describes no array"),
        (frame(entry("a", "|O", [1]), b"12345678"), "describes no array"),
        (frame(entry("a", ["<i4"], [1]), b"1234"), "describes no array"),
        (frame(entry("a", "<i4", [True]), b"1234"), "describes no array"),
        (frame({"kind": "x", "fields": {}, "arrays": []}, b"1"), "1 bytes more"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        through(data)


def test_objects_are_not_sent() -> None:
    with pytest.raises(ProtocolError, match="allowed"):
        protocol.encode(Message("x", {}, {"a": np.array([None])}))
