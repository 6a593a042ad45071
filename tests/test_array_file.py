"""Files of arrays: what is taken is of the name, type and shape that was asked for, finite, and nothing is left over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from hwloop.array_file import DTYPES, ArrayReader, dump_arrays, load_arrays
from hwloop.errors import DataError


def reader(**arrays: Any) -> ArrayReader:
    return ArrayReader(load_arrays(dump_arrays(arrays), "file"), "file")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_comes_back(dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, (3, 4)).astype(dtype)
    found = load_arrays(dump_arrays({"a": array, "empty": array[:0]}), "file")
    assert found["a"].tobytes() == array.tobytes()
    assert (found["a"].dtype, found["empty"].shape) == (array.dtype, (0, 4))
    with pytest.raises(ValueError, match="read-only"):
        found["a"][0, 0] = 1


BAD: list[tuple[str, Callable[[], bytes]]] = [
    ("uint16; allowed: float32", lambda: save({"a": np.zeros(2, np.uint16)})), ("float16; allowed: float32", lambda: save({"a": np.zeros(2, np.float16)})),
    ("inf or NaN in places", lambda: save({"a": np.array([0.0, np.inf])})), ("inf or NaN in places", lambda: save({"a": np.array([np.nan], np.float32)})),
    ("safetensors", lambda: b""), ("safetensors", lambda: b"\xff" * 100), ("safetensors", lambda: save({"a": np.zeros(9)})[:-1]),
    ("safetensors", lambda: save({"a": np.zeros(9)}) + b"\0"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "data"), BAD, ids=[said for said, _ in BAD])
def test_what_is_no_file_of_arrays_is_refused_by_name(said: str, data: Callable[[], bytes]) -> None:
    with pytest.raises(DataError, match=f"^file: .*{said}"):
        load_arrays(data(), "file")


TAKEN: list[tuple[str, Callable[[ArrayReader], Any]]] = [
    ("array 'b' is missing; allowed: an array", lambda read: read.take("b")),
    ("array 'b' is missing; allowed: int64 of shape \\(2,\\)", lambda read: read.take("b", ("int64",), (2,))),
    ("array 'a' is float64 of shape \\(2, 3\\); allowed: int64", lambda read: read.take("a", ("int64",))),
    (
        "array 'a' is float64 of shape \\(2, 3\\); allowed: an array of shape \\(6,\\)",
        lambda read: read.take("a", (), (6,)),
    ),
    ("of shape \\(None, 2\\)", lambda read: read.take("a", (), (None, 2))),
    ("array 'a' is unknown; allowed: what the document beside it names", lambda read: read.finish()),
]


@pytest.mark.parametrize(("said", "take"), TAKEN, ids=[said for said, _ in TAKEN])
def test_what_is_not_as_it_was_asked_for_is_refused(said: str, take: Callable[[ArrayReader], Any]) -> None:
    with pytest.raises(DataError, match=said):
        take(reader(a=np.zeros((2, 3))))


def test_what_was_taken_is_not_there_any_more() -> None:
    read = reader(a=np.zeros((2, 3)), b=np.zeros(1))
    assert "a" in read
    assert read.take("a", ("float32", "float64"), (None, 3)).shape == (2, 3)
    assert "a" not in read
    with pytest.raises(DataError, match="missing"):
        read.take("a")
    read.take("b")
    read.finish()
