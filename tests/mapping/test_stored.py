"""Programs as bytes: what is read has the digest of what was written; anything else is refused."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from hwloop.device.registry import find
from hwloop.errors import DataError, InputError
from hwloop.mapping import Program, compile_network, stored
from hwloop.network import LIF, Dense, Network


def program(preset: str = "bss2", dtype: torch.dtype = torch.float32) -> Program:
    generator = torch.Generator().manual_seed(3)
    net = Network([
        Dense(4, 6, generator=generator), LIF(6, 10e-3, 5e-3), Dense(6, 2, generator=generator), LIF(2, 10e-3, 5e-3),
    ])  # fmt: skip
    return compile_network(net.to(dtype), find("emulator:1", preset=preset).capabilities)


@pytest.mark.parametrize("preset", ["bss2", "ideal", "worst"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_program_comes_back_with_its_digest(preset: str, dtype: torch.dtype) -> None:
    made = program(preset, dtype)
    data = stored.dump(made)
    found = stored.load(data, made.capabilities)
    assert found.digest == made.digest
    assert found.report().to_dict() == made.report().to_dict()
    assert stored.dump(found) == data


def test_the_file_is_one_that_safetensors_reads() -> None:
    made = program()
    arrays = safetensors.numpy.load(stored.dump(made))
    np.testing.assert_array_equal(arrays["0.codes"], made.layers[0].codes)


def test_one_changed_code_changes_few_bytes() -> None:
    """What a board is sent again is what differs."""
    made = program()
    before = stored.dump(made)
    made.layers[0].codes[2, 1] += 1 if made.layers[0].codes[2, 1] < 0 else -1
    after = stored.dump(made)
    assert len(after) == len(before)
    assert sum(a != b for a, b in zip(after, before, strict=True)) <= 2


def _edited(change: Any) -> bytes:
    data = stored.dump(program())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    text = json.loads(header["__metadata__"]["hwloop"])
    change(header, text)
    header["__metadata__"]["hwloop"] = json.dumps(text)
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data[8 + size :]


REFUSED = {
    "another version": (lambda h, t: t.update(version=2), "version"),
    "an unknown key": (lambda h, t: t.update(extra=1), "extra"),
    "other limits": (lambda h, t: t.update(limits="0" * 64), "Compile the network for this target"),
    "an unknown reset": (lambda h, t: t["layers"][0].update(reset="jump"), "reset"),
    "a code range of another chip": (lambda h, t: t["layers"][0].update(max_code=127), "codes up to 127"),
    "an array that is missing": (lambda h, t: t["layers"].append(dict(t["layers"][0])), "figures"),
    "a shape that lies": (lambda h, t: h["0.codes"].update(shape=[60000, 40000]), "0.codes"),
    "offsets that lie": (lambda h, t: h["0.codes"].update(data_offsets=[0, 2**40]), "0.codes"),
    "a type that is none": (lambda h, t: h["0.codes"].update(dtype="U128"), "0.codes"),
    "an array too many": (lambda h, t: h.update({"9.codes": h.pop("0.codes")}), "0.codes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_was_edited_is_refused(name: str) -> None:
    change, said = REFUSED[name]
    with pytest.raises(DataError, match=said):
        stored.load(_edited(change), program().capabilities)


def test_every_truncation_and_every_nan_is_refused() -> None:
    data, limits = stored.dump(program()), program().capabilities
    for length in range(0, len(data), 7):
        with pytest.raises(DataError):
            stored.load(data[:length], limits)
    made = program()
    made.layers[0].parameters["v_th"][1] = np.nan
    with pytest.raises(DataError, match=r"v_th is inf or NaN; allowed: finite"):
        stored.load(stored.dump(made), limits)


def test_a_neuron_that_does_not_exist_is_refused() -> None:
    made = program()
    made.layers[0].neurons[0] = 10**6
    with pytest.raises(DataError, match="neuron 1000000; allowed"):
        stored.load(stored.dump(made), made.capabilities)


def test_a_program_of_another_kind_is_refused() -> None:
    class Other(Program):
        pass

    made = program()
    with pytest.raises(InputError, match="cannot store a Other"):
        stored.dump(Other(made.capabilities, made.layers))
