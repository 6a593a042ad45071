"""Fields of a stored program: every array and word comes back, each within its bounds, and no other is read."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from hwloop.errors import DataError
from hwloop.mapping import Program, stored
from hwloop.mapping.constraints import Block

from .test_stored import program


def with_everything() -> Program:
    """A layer of six neurons and four inputs that has every array that a layer may have, each of its own values."""
    made, rng = program(), np.random.default_rng(0)
    full = replace(
        made.layers[0], blocks=(Block(-1, 0, 4),), filtered=True, max_spikes=9, reset="subtract", name="first",
        delay=rng.random((6, 4)), gain=rng.random(6), bias=rng.random(6), v_init=rng.random(6).astype(np.float32),
        synapses=rng.random((6, 4)) < 0.5,
    )  # fmt: skip
    last = replace(made.layers[1], blocks=(Block(0, 0, 6),), kind="DeltaLIF", delay=rng.random(6))
    return Program(
        made.capabilities, (full, last), 2.5, notes=("a note",), warnings=("one", "two"), inputs=(("in", 4),)
    )


def test_every_array_and_word_of_a_layer_comes_back() -> None:
    made = with_everything()
    found = stored.load(stored.dump(made), made.capabilities)
    assert (found.digest, found.layer_digests) == (made.digest, made.layer_digests)
    assert (found.membrane_scale, found.notes, found.warnings, found.inputs) == (
        2.5,
        ("a note",),
        ("one", "two"),
        (("in", 4),),
    )
    for ours, theirs in zip(found.layers, made.layers, strict=True):
        for name in ("codes", "neurons", *stored.OPTIONAL):
            one, other = getattr(ours, name), getattr(theirs, name)
            assert (one is None) == (other is None)
            if other is not None:
                np.testing.assert_array_equal(one, other, strict=True)
        for name in ("scale", "max_code", "reset", "max_spikes", "dtype", "blocks", "filtered", "kind", "name"):
            assert getattr(ours, name) == getattr(theirs, name)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "message"),
    [
        ("gain", (4,), float, r"0.gain is F64 \(4,\); allowed: F32 or F64 \(6,\)"),
        ("bias", (4,), float, r"0.bias is F64 \(4,\); allowed: F32 or F64 \(6,\)"),
        ("v_init", (4,), float, r"0.v_init is F64 \(4,\); allowed: F32 or F64 \(6,\)"),
        ("synapses", (4, 6), bool, r"0.synapses is BOOL \(4, 6\); allowed: BOOL \(6, 4\)"),
        ("delay", (6,), float, r"0.delay is F64 \(6,\); allowed: F32 or F64 \(4,\)"),
        ("delay", (4, 6), float, r"0.delay is F64 \(4, 6\); allowed: F32 or F64 \(6, 4\)"),
        *(
            (name, (6, 4) if name == "synapses" else (6,), np.int64, rf"0.{name} is I64 .*; allowed: (F32 or F64|BOOL)")
            for name in ("gain", "bias", "v_init", "synapses")
        ),
        ("delay", (4,), np.int32, r"0.delay is I32 \(4,\); allowed: F32 or F64 \(4,\)"),
        ("neurons", (6,), np.int32, r"0.neurons is I32 \(6,\); allowed: I64 \(6,\)"),
    ],
)
def test_an_array_of_another_shape_or_type_is_refused(name: str, shape: Any, dtype: Any, message: str) -> None:
    made = with_everything()
    changed = replace(made.layers[0], **{name: np.ones(shape, dtype)})
    data = stored.dump(replace(made, layers=(changed, made.layers[1])))
    with pytest.raises(DataError, match=message):
        stored.load(data, made.capabilities)


def test_parameters_are_of_the_layers_own_type() -> None:
    made = program()
    one = made.layers[0]
    wide = replace(one, parameters={**one.parameters, "v_leak": one.parameters["v_leak"].astype(np.float64)})
    with pytest.raises(DataError, match=r"0.v_leak is F64 \(6,\); allowed: F32 \(6,\)"):
        stored.load(stored.dump(replace(made, layers=(wide, made.layers[1]))), made.capabilities)


def test_codes_are_whole_where_there_is_a_largest_and_real_where_there_is_none() -> None:
    for preset, dtype in (("bss2", np.float32), ("ideal", np.int16)):
        made = program(preset)
        other = replace(made.layers[0], codes=made.layers[0].codes.astype(dtype))
        with pytest.raises(DataError, match=r"0.codes is \w+; allowed: whole numbers where there is a max_code"):
            stored.load(stored.dump(replace(made, layers=(other, made.layers[1]))), made.capabilities)


def test_a_graph_that_no_input_drives_is_refused() -> None:
    made = with_everything()
    itself = replace(made.layers[0], blocks=(Block(0, 0, 4),))
    with pytest.raises(DataError, match="no layer takes the input; allowed: one at least"):
        stored.load(stored.dump(replace(made, layers=(itself, made.layers[1]))), made.capabilities)


MOST = 2**31 - 1
BLOCK = {"source": -1, "start": 0, "size": 1}
LAYER = {
    "max_code": 1, "reset": "value", "max_spikes": 1, "dtype": "float64", "blocks": (), "filtered": False, "kind": "", "name": "",
}  # fmt: skip
PROGRAM = {
    "format": "hwloop-program", "version": 1, "target": "", "limits": "0" * 64, "membrane_scale": 1.0, "notes": (),
    "warnings": (), "inputs": (), "layers": (LAYER,),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "whole", "name", "inside", "outside"),
    [
        (stored._BlockText, BLOCK, "source", [-1, 10_000], [-2, 10_001]),
        (stored._BlockText, BLOCK, "start", [0, MOST], [-1, MOST + 1]),
        (stored._BlockText, BLOCK, "size", [1, MOST], [0, MOST + 1]),
        (stored._LayerText, LAYER, "max_code", [None, 1, MOST], [0, MOST + 1]),
        (stored._LayerText, LAYER, "max_spikes", [None, 1, MOST], [0, MOST + 1]),
        (stored._LayerText, LAYER, "blocks", [(BLOCK,) * 10_000], [(BLOCK,) * 10_001]),
        (stored._LayerText, LAYER, "kind", ["k" * 64], ["k" * 65]),
        (stored._LayerText, LAYER, "name", ["n" * 256], ["n" * 257]),
        (stored._ProgramText, PROGRAM, "target", ["t" * 256], ["t" * 257]),
        (stored._ProgramText, PROGRAM, "limits", ["af09" * 16], ["0" * 63, "0" * 65, "A" * 64]),
        (stored._ProgramText, PROGRAM, "membrane_scale", [5e-324], [0.0, float("inf")]),
        (stored._ProgramText, PROGRAM, "notes", [("a",) * 10_000], [("a",) * 10_001]),
        (stored._ProgramText, PROGRAM, "warnings", [("a",) * 10_000], [("a",) * 10_001]),
        (stored._ProgramText, PROGRAM, "inputs", [(("a", 1),) * 10_000], [(("a", 1),) * 10_001]),
        (stored._ProgramText, PROGRAM, "layers", [(LAYER,) * 10_000], [(), (LAYER,) * 10_001]),
        (stored._ProgramText, PROGRAM, "format", [], ["hwloop-programs"]),
        (stored._ProgramText, PROGRAM, "version", [], [0, 2]),
    ],
)
def test_every_field_of_the_text_is_held_to_its_bounds(
    kind: Any, whole: dict[str, Any], name: str, inside: list[Any], outside: list[Any]
) -> None:
    assert kind.model_validate(whole)
    for value in inside:
        kind.model_validate({**whole, name: value})
    for value in outside:
        with pytest.raises(ValidationError, match=name):
            kind.model_validate({**whole, name: value})
    with pytest.raises(ValidationError, match="more"):
        kind.model_validate({**whole, "more": 1})


def test_the_largest_file_and_header_are_a_gibibyte_and_16_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (stored.MAX_BYTES, stored.MAX_HEADER) == (2**30, 2**24)
    data, limits = stored.dump(program()), program().capabilities
    (size,) = struct.unpack_from("<Q", data)
    for name, value in (("MAX_BYTES", len(data)), ("MAX_HEADER", size)):
        monkeypatch.setattr(stored, name, value)
        stored.load(data, limits)
        monkeypatch.setattr(stored, name, value - 1)
        with pytest.raises(DataError, match=rf"allowed: \d\.\.{value - 1}"):
            stored.load(data, limits)
        monkeypatch.undo()
