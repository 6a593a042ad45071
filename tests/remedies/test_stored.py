"""Programs as bytes: what is no program is refused, and the same program, compiled and stored again, is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.device.registry import find
from hwloop.mapping import Program, compile_network, stored
from hwloop.network import LIF, Dense, Network

from .support import Case, Said, refused

TARGET = find("emulator:1")
Change = Callable[[dict[str, Any], dict[str, Any]], object]


def network() -> Network:
    generator = torch.Generator().manual_seed(3)
    return Network([
        Dense(4, 6, generator=generator), LIF(6, 10e-3, 5e-3), Dense(6, 2, generator=generator), LIF(2, 10e-3, 5e-3),
    ])  # fmt: skip


def program() -> Program:
    return compile_network(network(), TARGET.capabilities)


def again() -> None:
    """What the messages say: compiled again, stored and read."""
    made = program()
    assert stored.load(stored.dump(made), TARGET.capabilities).digest == made.digest


def load(data: bytes) -> Program:
    return stored.load(data, TARGET.capabilities, "x.program")


def edited(change: Change) -> bytes:
    """A program whose header (its arrays, its text) was changed."""
    data = stored.dump(program())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    text = json.loads(header["__metadata__"]["hwloop"])
    header["__metadata__"]["hwloop"] = text
    change(header, text)
    if "__metadata__" in header:
        header["__metadata__"]["hwloop"] = json.dumps(text)
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data[8 + size :]


def with_layer(index: int, name: str, change: Callable[[Any], object]) -> bytes:
    """A program one of whose arrays was changed before it was stored."""
    made = program()
    layer = made.layers[index]
    change(layer.parameters[name] if name in layer.parameters else getattr(layer, name))
    return stored.dump(made)


def put(place: Any, value: Any) -> Callable[[Any], object]:
    return lambda array: array.__setitem__(place, value)


def figures(value: float) -> bytes:
    """A program whose first scale was overwritten."""
    data, (size,) = stored.dump(program()), struct.unpack_from("<Q", stored.dump(program()))
    start = 8 + size + json.loads(data[8 : 8 + size])["figures"]["data_offsets"][0]
    return data[:start] + struct.pack("<d", value) + data[start + 8 :]


def of_blocks(header: dict[str, Any], text: dict[str, Any], source: int, size: int) -> None:
    for layer in text["layers"]:
        layer["blocks"] = [{"source": source, "start": 0, "size": size}]


def loops(header: dict[str, Any], text: dict[str, Any]) -> None:
    """Both layers take the spikes of the first 4 and 6 neurons of the first: none takes the input."""
    for layer, size in zip(text["layers"], (4, 6), strict=True):
        layer["blocks"] = [{"source": 0, "start": 0, "size": size}]


def one_more(header: dict[str, Any], text: dict[str, Any]) -> None:
    """An array of one byte behind all others."""
    end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    header["more"] = {"dtype": "BOOL", "shape": [1], "data_offsets": [end, end + 1]}


DATA = stored.dump(program())
AGAIN = "Nothing is read from it: compile the network again, and store its program"

DAMAGED: list[tuple[Said, Callable[[], bytes]]] = [
    (Said("stored._unpacked", "{}: {} bytes; allowed: 9..{}"), lambda: DATA[:5]),
    (Said("stored._unpacked", "{}: a header of {} bytes; allowed: 2..{}"), lambda: DATA[:40]),
    (Said("stored._unpacked", "{}: no metadata {} alone; allowed: what hwloop wrote"),
     lambda: edited(lambda h, t: h.pop("__metadata__"))),
    (Said("stored._unpacked", "{}: {} at {}; allowed: {} of {} bytes"),
     lambda: edited(lambda h, t: h["0.codes"].update(data_offsets=[0, 2**40]))),
    (Said("stored._unpacked", "{}: {} bytes of arrays; the header names {}"), lambda: DATA + b"x"),
    (Said("stored._kind_and_shape", "{}: {} is no array; allowed: dtype ({}), shape and data_offsets"),
     lambda: edited(lambda h, t: h["0.codes"].update(dtype="U128"))),
    (Said("stored._kind_and_shape", "{}: {} has shape {}; allowed: one or two lengths > 0"),
     lambda: edited(lambda h, t: h["0.codes"].update(shape=[]))),
    (Said("_Reader.finish", "{}: arrays {}; allowed: those of the layers alone"),
     lambda: edited(one_more) + b"\0"),
    (Said("_Reader.take", "missing"), lambda: edited(lambda h, t: h.update({"9.codes": h.pop("0.codes")}))),
    (Said("_Reader.take", "finite numbers"), lambda: with_layer(0, "v_th", put(1, np.nan))),
    (Said("stored.wrong", "{}: {} is {}; allowed: {}"), lambda: with_layer(0, "v_th", put(1, np.inf))),
    (Said("stored._layer", "whole numbers where there is a max_code, else real ones"),
     lambda: edited(lambda h, t: t["layers"][0].update(max_code=None))),
    (Said("stored._layer", "up to {}"), lambda: with_layer(0, "codes", put((0, 0), 1000))),
    (Said("stored._layer", "different neurons"), lambda: with_layer(0, "neurons", put(0, 3))),
    (Said("stored._layer", "scale > 0, whole counts and an error >= 0"), lambda: figures(-1.0)),
    (Said("stored._check_graph", "{}: neuron {}; allowed: 0..{}"), lambda: with_layer(0, "neurons", put(0, 10**6))),
    (Said("stored._check_graph", "{}: layer {} has codes up to {}; allowed: {}"),
     lambda: edited(lambda h, t: t["layers"][0].update(max_code=127))),
    (Said("stored._check_graph", "{}: layer {} takes {} units; its blocks are not those of what drives it"),
     lambda: edited(lambda h, t: of_blocks(h, t, -1, 3))),
    (Said("stored._check_graph", "{}: a physical neuron stands in two layers; allowed: in one"),
     lambda: with_layer(1, "neurons", put(0, int(program().layers[0].neurons[0])))),
    (Said("stored._check_graph", "{}: no layer takes the input; allowed: one at least"), lambda: edited(loops)),
]  # fmt: skip


@pytest.mark.parametrize(("said", "make"), DAMAGED, ids=lambda value: value.text if isinstance(value, Said) else "")
def test_a_program_that_is_damaged_is_read_once_it_is_compiled_and_stored_again(
    said: Said, make: Callable[[], bytes]
) -> None:
    message = refused(said.at, said.text, lambda: load(make()))
    assert message.endswith(AGAIN)
    assert message.startswith("x.program: ")
    again()


def test_an_array_of_other_truths_is_read_once_it_is_stored_again() -> None:
    """A mask of synapses is bytes of 0 and 1."""
    entry = stored._Entry("BOOL", (2,), b"\0\2")
    refused("_Reader.take", "true or false", lambda: stored._Reader({"a": entry}, "x").take("a", ("BOOL",), (2,)))
    whole = stored._Entry("BOOL", (2,), b"\0\1")
    assert stored._Reader({"a": whole}, "x").take("a", ("BOOL",), (2,)).tolist() == [False, True]


class Pieces(Program):
    """A program of another kind."""


CASES = [
    Case("stored.load", "Nothing is read from it: compile the network again", lambda: load(DATA[:-1]), again),
    Case("stored._loaded", "Compile the network for this target",
         lambda: stored.load(DATA, find("emulator:1", preset="worst").capabilities),
         lambda: stored.load(stored.dump(compile_network(network(), (worst := find("emulator:1", preset="worst")).capabilities)),
                             worst.capabilities)),
    Case("stored.dump", "cannot store a {}; allowed: a Program", lambda: stored.dump(Pieces(program().capabilities, program().layers)),
         lambda: load(stored.dump(Program(program().capabilities, program().layers)))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_remedy_works(case: Case) -> None:
    case.follow()
