"""Any bytes at all: each decoder answers with what it decodes, or with the one error of a damaged file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import hwloop as hl
from hwloop import storage
from hwloop.array_file import DTYPES, ArrayReader, dump_arrays, load_arrays
from hwloop.bundle.archive import Manifest, pack_members, unpack_members
from hwloop.bundle.documents import GoldenText, ProgramText, ProvenanceText
from hwloop.device.target_document import TargetText
from hwloop.errors import DataError
from hwloop.event_files import read_events
from hwloop.files import parse_npy
from hwloop.network.description import NetworkText
from hwloop.session_log import read_log
from hwloop.session_log.entries import LoadText, RunText, SessionText
from hwloop.stored_spikes import TrainText, pack_spikes, same_spikes, unpack_spikes
from hwloop.strict_documents import StrictDocument, parse_document

DOCUMENTS = (Manifest, GoldenText, ProgramText, ProvenanceText, TargetText, NetworkText, SessionText, LoadText, RunText)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
FEW = settings(max_examples=60, deadline=None)


@contextmanager
def refused_by_name(name: str) -> Iterator[None]:
    """What is inside comes to its end, or raises the error of a damaged file, which names it."""
    try:
        yield
    except DataError as error:
        if name not in str(error):
            pytest.fail(f"{name} is not named in {error}")


@pytest.mark.parametrize("model", DOCUMENTS, ids=lambda model: model.__name__)
@FEW
@given(data=st.data())
def test_a_document_is_what_its_model_says_or_refused(model: type[StrictDocument], data: st.DataObject) -> None:
    """Right keys, any values: what pydantic makes of them is the document, or one error."""
    import json

    document = {name: data.draw(JSON) for name in model.model_fields if data.draw(st.booleans())}
    text = json.dumps(document).encode()
    with refused_by_name("x.json"):
        found = parse_document(model, text, "x.json")
        assert parse_document(model, found.to_bytes(), "y.json") == found


@FEW
@given(st.binary(max_size=400))
def test_bytes_are_no_arrays_no_array_no_bundle_no_log_no_events(data: bytes) -> None:
    for read in (lambda: load_arrays(data, "x"), lambda: parse_npy(data, "x"), lambda: storage.parse_json(data, "x")):
        with refused_by_name("x"):
            read()
    with pytest.raises(DataError):
        unpack_members(data, "x", frozenset({"a"}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(data)
        for reader in (hl.load_bundle, read_log, read_events):
            with refused_by_name(str(path)):
                reader(path)


@FEW
@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(np.dtype(dtype), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
                                elements=arrays.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False))
), max_size=4))  # fmt: skip
def test_arrays_come_back_with_every_bit(held: dict[str, np.ndarray]) -> None:
    found = load_arrays(dump_arrays(held), "x")
    assert found.keys() == held.keys()
    for name, array in held.items():
        assert (found[name].dtype, found[name].shape, found[name].tobytes()) == (
            array.dtype,
            array.shape,
            array.tobytes(),
        )


@FEW
@given(st.dictionaries(st.sampled_from(["a.json", "b.safetensors", "c.json"]), st.binary(max_size=100)))
def test_members_come_back_and_no_others(members: dict[str, bytes]) -> None:
    if not members:
        return
    known = frozenset({"manifest.json", "a.json", "b.safetensors", "c.json"})
    data = pack_members(members)
    assert unpack_members(data, "x", known) == members
    with pytest.raises(DataError, match="unknown, or twice there"):
        unpack_members(data, "x", known - {next(iter(members))})


@st.composite
def batches(draw: st.DrawFn) -> hl.Spikes:
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    width = 32 if dtype == torch.float32 else 64
    pairs = []
    for _ in range(draw(st.integers(1, 4))):
        times = sorted(draw(st.lists(st.floats(0, 1, width=width), max_size=6)))
        pairs.append((times, draw(st.lists(st.integers(0, 3), min_size=len(times), max_size=len(times)))))
    return hl.Spikes.from_events(pairs, 4, 1.0, dtype)


@FEW
@given(batches())
def test_spikes_come_back_bit_for_bit_in_tensors_of_the_same_shape(spikes: hl.Spikes) -> None:
    held: dict[str, np.ndarray] = {}
    text = pack_spikes(spikes, "s", held)
    reader = ArrayReader(load_arrays(dump_arrays(held), "x"), "x")
    found = unpack_spikes(parse_document(TrainText, text.to_bytes(), "x"), "s", reader, "x")
    reader.finish()
    assert same_spikes(spikes, found)
    assert found.times.shape == spikes.times.shape
