"""Programs as bytes: what is read has the digest of what was written; anything else is refused."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch

from hwloop.device.registry import find
from hwloop.errors import DataError, InputError
from hwloop.mapping import Program, compile_network, stored
from hwloop.mapping.constraints import Block
from hwloop.network import LIF, Dense, Network, Sparse


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
    "whole numbers of another width": (lambda h, t: h["0.codes"].update(dtype="F32", shape=[6, 2]), "0.codes"),
    "neurons of 32 bits": (
        lambda h, t: h["0.neurons"].update(dtype="I32", shape=[12]),
        r"0.neurons is I32 \(12,\); allowed: I64 \(6,\)\. Nothing is read from it",
    ),
    "a length of 2^31": (lambda h, t: h["0.codes"].update(shape=[2**31, 1]), "one or two lengths > 0"),
    "no length": (lambda h, t: h["0.codes"].update(shape=[]), "one or two lengths > 0"),
    "a length of 0": (lambda h, t: h["0.codes"].update(shape=[6, 0]), "one or two lengths > 0"),
    "three lengths": (lambda h, t: h["0.codes"].update(shape=[1, 6, 4]), "one or two lengths > 0"),
    "a name of 257 characters": (lambda h, t: t["layers"][0].update(name="n" * 257), "name"),
    "a kind of 65 characters": (lambda h, t: t["layers"][0].update(kind="k" * 65), "kind"),
    "a target of 257 characters": (lambda h, t: t.update(target="t" * 257), "target"),
    "a code range of none": (lambda h, t: t["layers"][0].update(max_code=0), "max_code"),
    "a code range of 2^31": (lambda h, t: t["layers"][0].update(max_code=2**31), "max_code"),
    "a cap of no spikes": (lambda h, t: t["layers"][0].update(max_spikes=0), "max_spikes"),
    "a cap of 2^31 spikes": (lambda h, t: t["layers"][0].update(max_spikes=2**31), "max_spikes"),
    "a block of no units": (lambda h, t: t["layers"][0].update(blocks=[{"source": -1, "start": 0, "size": 0}]), "size"),
    "a block from -2": (lambda h, t: t["layers"][0].update(blocks=[{"source": -2, "start": 0, "size": 4}]), "source"),
    "a block from before 0": (
        lambda h, t: t["layers"][0].update(blocks=[{"source": -1, "start": -1, "size": 4}]),
        "start",
    ),
    "a block too large": (
        lambda h, t: t["layers"][0].update(blocks=[{"source": -1, "start": 0, "size": 5}]),
        "its blocks are not",
    ),
    "a block beyond its source": (
        lambda h, t: t["layers"][1].update(blocks=[{"source": 0, "start": 1, "size": 6}]),
        "its blocks are not",
    ),
    "a block from a layer that is none": (
        lambda h, t: t["layers"][1].update(blocks=[{"source": 2, "start": 0, "size": 6}]),
        "its blocks are not",
    ),
    "metadata of others": (lambda h, t: h["__metadata__"].update(other="x"), "no metadata 'hwloop' alone"),
    "no layer": (lambda h, t: t.update(layers=[]), "layers"),
    "a membrane of no scale": (lambda h, t: t.update(membrane_scale=0.0), "membrane_scale"),
    "an array too many": (lambda h, t: h.update({"9.codes": h.pop("0.codes")}), "0.codes"),
}


def test_the_header_may_name_arrays_in_any_order() -> None:
    def backwards(header: dict[str, Any], text: dict[str, Any]) -> None:
        items = list(header.items())
        header.clear()
        header.update(reversed(items))

    made = program()
    assert stored.load(_edited(backwards), made.capabilities).digest == made.digest


def test_arrays_stand_one_after_the_other_the_widest_numbers_first() -> None:
    data = stored.dump(
        replace(program(), layers=(replace(program().layers[0], delay=np.zeros(4, np.float32)), program().layers[1]))
    )
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    arrays = {name: entry for name, entry in header.items() if name != "__metadata__"}
    widths = [stored.TYPES[entry["dtype"]].itemsize for entry in arrays.values()]
    assert widths == sorted(widths, reverse=True)
    assert set(widths) == {8, 4, 2}
    ends = [entry["data_offsets"] for entry in arrays.values()]
    assert [start for start, _ in ends] == [0, *(end for _, end in ends[:-1])]
    assert size + 8 + ends[-1][1] == len(data)
    assert header["__metadata__"].keys() == {"hwloop"}
    assert json.loads(header["__metadata__"]["hwloop"])["format"] == "hwloop-program"


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


def _masked() -> Program:
    """A layer in which a synapse is missing: an array of true and false."""
    net = Network([Sparse(4, 3, [0, 1, 2], [0, 1, 2], torch.ones(3)), LIF(3, 10e-3, 5e-3)])
    return compile_network(net, find("emulator:1", preset="bss2").capabilities)


def test_true_and_false_are_one_and_nought_and_nothing_else() -> None:
    made = _masked()
    data = stored.dump(made)
    assert stored.load(data, made.capabilities).digest == made.digest
    (size,) = struct.unpack_from("<Q", data)
    place = 8 + size + json.loads(data[8 : 8 + size])["0.synapses"]["data_offsets"][0]
    with pytest.raises(DataError, match=r"0.synapses is bytes other than 0 and 1; allowed: true or false"):
        stored.load(data[:place] + b"\2" + data[place + 1 :], made.capabilities)


def test_names_kinds_and_codes_may_be_as_long_as_is_said() -> None:
    """The other side of the limits."""
    made = program()
    longest = replace(made.layers[0], name="n" * 256, kind="k" * 64, max_spikes=2**31 - 1)
    whole = Program(made.capabilities, (longest, *made.layers[1:]), notes=("a",) * stored.MAX_NOTES)
    assert stored.load(stored.dump(whole), made.capabilities).digest == whole.digest


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda made: made.layers[0].neurons.__setitem__(0, -1), "different neurons"),
        (lambda made: made.layers[0].neurons.__setitem__(0, made.layers[0].neurons[1]), "different neurons"),
        (lambda made: made.layers[1].neurons.__setitem__(0, made.layers[0].neurons[1]), "stands in two layers"),
        (lambda made: made.layers[0].neurons.__setitem__(0, made.capabilities.n_neurons), "allowed: 0..511"),
        (
            lambda made: made.layers[0].codes.__setitem__((0, 0), made.layers[0].max_code + 1),
            "codes is 32; allowed: up to 31",
        ),
        (
            lambda made: made.layers[0].codes.__setitem__((0, 0), -made.layers[0].max_code - 1),
            "codes is 32; allowed: up to 31",
        ),
    ],
)
def test_neurons_and_codes_are_those_of_the_chip(change: Any, said: str) -> None:
    made = program()
    change(made)
    with pytest.raises(DataError, match=said):
        stored.load(stored.dump(made), made.capabilities)


def test_blocks_that_end_where_their_sources_end_are_read() -> None:
    """The other side of the blocks that are refused."""
    made = program()
    layers = (
        replace(made.layers[0], blocks=(Block(-1, 0, 4),), kind="LIF"),
        replace(made.layers[1], blocks=(Block(0, 4, 2), Block(0, 0, 4))),
    )
    whole = Program(made.capabilities, layers, inputs=(("in", 4),))
    assert stored.load(stored.dump(whole), made.capabilities).digest == whole.digest
    beyond = Program(made.capabilities, (layers[0], replace(layers[1], blocks=(Block(0, 1, 6),))), inputs=(("in", 4),))
    with pytest.raises(DataError, match="layer 1 takes 6 units; its blocks are not those of what drives it"):
        stored.load(stored.dump(beyond), made.capabilities)


def test_every_array_starts_where_its_numbers_are_aligned() -> None:
    """Readers map the file instead of copying it."""
    for length in range(9):
        made = replace(program().layers[0], name="n" * length)
        data = stored.dump(Program(program().capabilities, (made, program().layers[1])))
        assert struct.unpack_from("<Q", data)[0] % 8 == 0
    for size in (1000, 993, 1):
        with pytest.raises(DataError, match=rf"a header of {size} bytes; allowed: 2..992"):
            stored.load(struct.pack("<Q", size) + bytes(992), program().capabilities)
    for data in (b"", bytes(8)):
        with pytest.raises(DataError, match=rf"program: {len(data)} bytes; allowed: 9..1073741824"):
            stored.load(data, program().capabilities)


@pytest.mark.parametrize(
    ("figures", "allowed"),
    [((0.0, 0, 0, 0.0), False), ((0.1, -1, 0, 0.0), False), ((0.1, 0, 0.5, 0.0), False), ((0.1, 0, 0, -1e-9), False), ((0.1, 2, 3, 0.25), True)],
)  # fmt: skip
def test_figures_are_counts_and_errors(figures: tuple[float, ...], allowed: bool) -> None:
    made = program()
    names = ("scale", "saturated", "zeroed", "rounding_rms")
    layer = replace(made.layers[0], **dict(zip(names, figures, strict=True)))
    data = stored.dump(Program(made.capabilities, (layer, *made.layers[1:])))
    if allowed:
        found = stored.load(data, made.capabilities).layers[0]
        assert tuple(getattr(found, name) for name in names) == figures
    else:
        with pytest.raises(DataError, match="figures is .*whole counts and an error >= 0"):
            stored.load(data, made.capabilities)


def test_the_digest_tells_which_array_a_layer_has_and_synapses_are_counted() -> None:
    made, value = _masked(), np.full(3, 0.25, np.float32)
    assert (made.layers[0].n_synapses, made.layers[0].codes.size) == (3, 12)
    layer = replace(made.layers[0], blocks=(Block(-1, 0, 4),), synapses=None)
    kinds = [replace(layer, bias=value), replace(layer, v_init=value), layer]
    digests = {Program(made.capabilities, (kind,), inputs=(("in", 4),)).digest for kind in kinds}
    assert len(digests) == 3
