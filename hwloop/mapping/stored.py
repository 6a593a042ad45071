"""Programs as bytes and back: one safetensors file, arrays of the layers and, in its metadata, one JSON text of the rest.

What is read has the digest of what was written. Nothing is trusted: sizes are compared with what is there before anything
is allocated, every field is checked, and no number may be inf or NaN.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..document_errors import explain
from ..errors import DataError, InputError
from ..neurons import PARAMETERS
from ..storage import parse_json
from .capabilities import Capabilities
from .constraints import Block
from .program import LayerProgram, Program
from .quantise import Array

FORMAT, VERSION = "hwloop-program", 1
#: Metadata key of the JSON text.
KEY = "hwloop"
#: Largest file (bytes), largest header of one, layers, blocks of a layer, and notes: far above any chip's.
MAX_BYTES, MAX_HEADER = 1 << 30, 1 << 24
MAX_LAYERS, MAX_BLOCKS, MAX_NOTES = 10_000, 10_000, 10_000
MAX_TEXT = 10_000
#: Types of arrays, by their name in the file.
TYPES: dict[str, np.dtype[Any]] = {
    "I16": np.dtype("<i2"), "I32": np.dtype("<i4"), "I64": np.dtype("<i8"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8"),
    "BOOL": np.dtype("bool"),
}  # fmt: skip
#: What a layer may have besides codes, neurons and parameters.
OPTIONAL = ("delay", "gain", "synapses", "bias", "v_init")
#: Columns of the array ``figures``, a row a layer: numbers that change while the layout of the file does not.
FIGURES = ("scale", "saturated", "zeroed", "rounding_rms")

_Count = Field(ge=0, le=2**31 - 1)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class _BlockText(_Strict):
    source: int = Field(ge=-1, le=MAX_LAYERS)
    start: int = _Count
    size: int = Field(ge=1, le=2**31 - 1)


class _LayerText(_Strict):
    max_code: int | None = Field(default=None, ge=1, le=2**31 - 1)
    reset: Literal["value", "subtract"]
    max_spikes: int | None = Field(default=None, ge=1, le=2**31 - 1)
    dtype: Literal["float32", "float64"]
    blocks: tuple[_BlockText, ...] = Field(max_length=MAX_BLOCKS)
    filtered: bool
    kind: str = Field(max_length=64)
    name: str = Field(max_length=256)


class _ProgramText(_Strict):
    format: Literal["hwloop-program"]
    version: Literal[1]
    target: str = Field(max_length=256)
    limits: str = Field(pattern="^[0-9a-f]{64}$")
    membrane_scale: float = Field(gt=0)
    notes: tuple[str, ...] = Field(max_length=MAX_NOTES)
    warnings: tuple[str, ...] = Field(max_length=MAX_NOTES)
    inputs: tuple[tuple[str, int], ...] = Field(max_length=MAX_BLOCKS)
    layers: tuple[_LayerText, ...] = Field(min_length=1, max_length=MAX_LAYERS)


def dump(program: Program) -> bytes:
    """``program`` as one safetensors file.

    Raises :class:`InputError` for a program of another kind, such as one in pieces: store its pieces.
    """
    if type(program) is not Program:
        raise InputError(
            f"cannot store a {type(program).__name__}; allowed: a Program, such as one of the pieces of a program in pieces"
        )
    figures = [[float(getattr(layer, name)) for name in FIGURES] for layer in program.layers]
    arrays: dict[str, Array] = {"figures": np.array(figures)}
    for index, layer in enumerate(program.layers):
        arrays |= {f"{index}.{name}": array for name, array in _arrays(layer).items()}
    text = _ProgramText(
        format="hwloop-program", version=1, target=program.target, limits=program.capabilities.graph_digest,
        membrane_scale=program.membrane_scale, notes=program.notes, warnings=program.warnings, inputs=program.inputs,
        layers=tuple(map(_text, program.layers)),
    )  # fmt: skip
    return _packed(arrays, text.model_dump_json())


def load(data: bytes, capabilities: Capabilities, where: str = "program") -> Program:
    """The program in ``data``, for a target of ``capabilities``.

    Raises :class:`DataError` that names ``where``, field, what was found and what is allowed.
    """
    try:
        return _loaded(data, capabilities, where)
    except _OtherTargetError:
        raise
    except DataError as error:
        raise DataError(
            f"{error}. Nothing is read from it: compile the network again, and store its program"
        ) from error


class _OtherTargetError(DataError):
    """A whole program, for another target."""


def _loaded(data: bytes, capabilities: Capabilities, where: str) -> Program:
    text, arrays = _unpacked(data, where)
    document = _document(text, where)
    if document.limits != capabilities.graph_digest or document.target != capabilities.name:
        raise _OtherTargetError(
            f"{where}: compiled for {document.target} with limits {document.limits[:8]}; allowed: {capabilities.name} with "
            f"{capabilities.graph_digest[:8]}. Compile the network for this target"
        )
    read = _Reader(arrays, where)
    figures = read.take("figures", ("F64",), (len(document.layers), len(FIGURES)))
    layers = tuple(_layer(read, index, entry, figures[index]) for index, entry in enumerate(document.layers))
    read.finish()
    program = Program(
        capabilities, layers, document.membrane_scale, notes=document.notes, warnings=document.warnings,
        inputs=document.inputs,
    )  # fmt: skip
    _check_graph(program, where)
    return program


# -- layers ---------------------------------------------------------------------------------------


def _arrays(layer: LayerProgram) -> dict[str, Array]:
    found = {"codes": layer.codes, "neurons": layer.neurons, **{name: layer.parameters[name] for name in PARAMETERS}}
    return found | {name: array for name in OPTIONAL if (array := getattr(layer, name)) is not None}


def _text(layer: LayerProgram) -> _LayerText:
    blocks = tuple(_BlockText(source=b.source, start=b.start, size=b.size) for b in layer.blocks)
    return _LayerText.model_validate({
        "max_code": layer.max_code, "reset": layer.reset, "max_spikes": layer.max_spikes, "dtype": layer.dtype,
        "blocks": blocks, "filtered": layer.filtered, "kind": layer.kind, "name": layer.name,
    })  # fmt: skip


def _layer(read: _Reader, index: int, entry: _LayerText, figures: Array) -> LayerProgram:
    codes = read.take(f"{index}.codes", ("I16", "I32", "F32", "F64"), (None, None))
    shape = n_out, n_in = codes.shape
    real = (entry.dtype.replace("float", "F"),)
    if (codes.dtype.kind == "f") != (entry.max_code is None):
        raise read.wrong(f"{index}.codes", str(codes.dtype), "whole numbers where there is a max_code, else real ones")
    if entry.max_code is not None and int(np.abs(codes.astype(np.int64)).max()) > entry.max_code:
        raise read.wrong(f"{index}.codes", str(int(np.abs(codes.astype(np.int64)).max())), f"up to {entry.max_code}")
    shapes: dict[str, tuple[int | None, ...]] = {
        "gain": (n_out,),
        "synapses": shape,
        "bias": (n_out,),
        "v_init": (n_out,),
    }
    kinds = {
        "synapses": ("BOOL",),
        "gain": ("F32", "F64"),
        "delay": ("F32", "F64"),
        "bias": ("F32", "F64"),
        "v_init": ("F32", "F64"),
    }
    shapes["delay"] = shape if read.rank(f"{index}.delay") == 2 else (n_in,)
    optional = {
        name: read.take(f"{index}.{name}", kinds[name], shapes[name]) for name in OPTIONAL if f"{index}.{name}" in read
    }
    neurons = read.take(f"{index}.neurons", ("I64",), (n_out,))
    if int(neurons.min()) < 0 or len(np.unique(neurons)) != n_out:
        raise read.wrong(f"{index}.neurons", "numbers below 0, or twice the same", "different neurons")
    counts = [float(value) for value in figures]
    if not (counts[0] > 0 and min(counts[1:]) >= 0 and all(count == int(count) for count in counts[1:3])):
        raise read.wrong("figures", str(counts), "scale > 0, whole counts and an error >= 0")
    return LayerProgram(
        codes=codes,
        scale=counts[0],
        max_code=entry.max_code,
        neurons=neurons,
        parameters={name: read.take(f"{index}.{name}", real, (n_out,)) for name in PARAMETERS},
        reset=entry.reset,
        max_spikes=entry.max_spikes,
        saturated=int(counts[1]),
        zeroed=int(counts[2]),
        rounding_rms=counts[3],
        dtype=entry.dtype,
        blocks=tuple(Block(block.source, block.start, block.size) for block in entry.blocks),
        filtered=entry.filtered,
        kind=entry.kind,
        name=entry.name,
        **optional,
    )


def _check_graph(program: Program, where: str) -> None:
    """Blocks are the columns of their layers; without blocks a layer takes the one before it."""
    limits, layers = program.capabilities, program.layers
    for index, layer in enumerate(layers):
        if int(layer.neurons.max()) >= limits.n_neurons:
            raise DataError(f"{where}: neuron {int(layer.neurons.max())}; allowed: 0..{limits.n_neurons - 1}")
        if layer.max_code != limits.max_code:
            raise DataError(f"{where}: layer {index} has codes up to {layer.max_code}; allowed: {limits.max_code}")
        before = layers[index - 1].n_out if index else layer.n_in
        sizes = [None if b.source < 0 else layers[b.source].n_out for b in layer.blocks if b.source < len(layers)]
        ends = [block.start + block.size for block in layer.blocks]
        fits = len(sizes) == len(ends) and all(n is None or end <= n for n, end in zip(sizes, ends, strict=True))
        if layer.blocks:
            fits &= sum(block.size for block in layer.blocks) == layer.n_in
        elif layer.n_in != before:
            fits = False
        if not fits:
            raise DataError(
                f"{where}: layer {index} takes {layer.n_in} units; its blocks are not those of what drives it"
            )
    used = np.concatenate([layer.neurons for layer in layers])
    if len(np.unique(used)) != len(used):
        raise DataError(f"{where}: a physical neuron stands in two layers; allowed: in one")
    if program.is_graph and not any(block.source < 0 for layer in layers for block in layer.blocks):
        raise DataError(f"{where}: no layer takes the input; allowed: one at least")


def _document(text: str, where: str) -> _ProgramText:
    try:
        return _ProgramText.model_validate_json(text)
    except ValidationError as error:
        raise DataError(str(explain(where, error, _ProgramText))) from None


# -- the file -------------------------------------------------------------------------------------


def _packed(arrays: Mapping[str, Array], text: str) -> bytes:
    """A safetensors file; arrays by the width of their numbers, widest first, so that each is aligned."""
    kinds = {dtype: name for name, dtype in TYPES.items()}
    header: dict[str, Any] = {"__metadata__": {KEY: text}}
    parts, place = [], 0
    for name, array in sorted(arrays.items(), key=lambda pair: (-pair[1].dtype.itemsize, pair[0])):
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        data = little.tobytes()
        kind = kinds[np.dtype(little.dtype.str)]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [place, place + len(data)]}
        parts.append(data)
        place += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    return b"".join([struct.pack("<Q", len(head)), head, *parts])


@dataclass(frozen=True)
class _Entry:
    kind: str
    shape: tuple[int, ...]
    data: bytes


def _unpacked(data: bytes, where: str) -> tuple[str, dict[str, _Entry]]:
    if not 8 < len(data) <= MAX_BYTES:
        raise DataError(f"{where}: {len(data)} bytes; allowed: 9..{MAX_BYTES}")
    (size,) = struct.unpack_from("<Q", data)
    if not 2 <= size <= min(MAX_HEADER, len(data) - 8):
        raise DataError(f"{where}: a header of {size} bytes; allowed: 2..{min(MAX_HEADER, len(data) - 8)}")
    header = parse_json(data[8 : 8 + size], where)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or set(metadata) != {KEY} or not isinstance(metadata[KEY], str):
        raise DataError(f"{where}: no metadata {KEY!r} alone; allowed: what hwloop wrote")
    body, end = memoryview(data)[8 + size :], 0
    found = {}
    for name, entry in sorted(header.items(), key=_place):
        start, kind, shape = end, *_kind_and_shape(name, entry, where)
        count = 1
        for length in shape:
            count *= length
        end = start + count * TYPES[kind].itemsize
        if entry.get("data_offsets") != [start, end]:
            raise DataError(
                f"{where}: {name} at {entry.get('data_offsets')!s:.60}; allowed: {[start, end]} of {len(body)} bytes"
            )
        found[name] = _Entry(kind, shape, bytes(body[start:end]))
    if end != len(body):
        raise DataError(f"{where}: {len(body)} bytes of arrays; the header names {end}")
    return metadata[KEY], found


def _place(pair: tuple[str, Any]) -> tuple[int, int]:
    entry = pair[1]
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    if isinstance(offsets, list) and len(offsets) == 2 and all(type(value) is int for value in offsets):
        return offsets[0], offsets[1]
    return -1, -1


def _kind_and_shape(name: str, entry: Any, where: str) -> tuple[str, tuple[int, ...]]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"} or entry["dtype"] not in TYPES:
        raise DataError(
            f"{where}: {name!r:.60} is no array; allowed: dtype ({', '.join(TYPES)}), shape and data_offsets"
        )
    shape = entry["shape"]
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 2
        or any(type(n) is not int or not 0 < n < 2**31 for n in shape)
    ):
        raise DataError(f"{where}: {name!r:.60} has shape {shape!s:.60}; allowed: one or two lengths > 0")
    return entry["dtype"], tuple(shape)


class _Reader:
    """Arrays by name, each to be taken once."""

    def __init__(self, entries: dict[str, _Entry], where: str) -> None:
        self._left, self._where = dict(entries), where

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def rank(self, name: str) -> int:
        """Dimensions of array ``name``; 0 where there is none."""
        return len(self._left[name].shape) if name in self._left else 0

    def wrong(self, name: str, found: str, allowed: str) -> DataError:
        """The error of a field."""
        return DataError(f"{self._where}: {name} is {found}; allowed: {allowed}")

    def take(self, name: str, kinds: tuple[str, ...], shape: tuple[int | None, ...]) -> Array:
        """Array ``name``, of one of ``kinds`` and of ``shape``, None any length; all of its numbers finite."""
        entry = self._left.pop(name, None)
        if entry is None:
            raise self.wrong(name, "missing", f"{' or '.join(kinds)} {shape}")
        fits = len(entry.shape) == len(shape) and all(w in (None, f) for w, f in zip(shape, entry.shape, strict=True))
        if entry.kind not in kinds or not fits:
            raise self.wrong(name, f"{entry.kind} {entry.shape}", f"{' or '.join(kinds)} {shape}")
        if entry.kind == "BOOL" and entry.data.strip(b"\0\1"):
            raise self.wrong(name, "bytes other than 0 and 1", "true or false")
        array = np.frombuffer(entry.data, TYPES[entry.kind]).reshape(entry.shape).copy()
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self.wrong(name, "inf or NaN", "finite numbers")
        return array.astype(array.dtype.newbyteorder("="), copy=False)

    def finish(self) -> None:
        """Refuse arrays that nothing took."""
        if self._left:
            raise DataError(
                f"{self._where}: arrays {', '.join(sorted(self._left))!s:.200}; allowed: those of the layers alone"
            )
