from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError, DataError
from hwloop_loihi import (
    Emulator,
    FixedGraph,
    FixedLayer,
    Synapses,
    encode,
    read_netx,
    reference,
    write_netx,
)

from .support import network, spikes

DT = 2e-4


def as_netx_reads(path: Path) -> list[dict[str, Any]]:
    """The file as lava-dl's NetDict takes it: keys, types and shapes written down from its documentation."""
    layers = []
    with h5py.File(path, "r") as file:
        for k in range(len(file["layer"])):
            group = file[f"layer/{k}"]
            assert group["type"].shape == (1,)
            assert group["type"][0].decode("ascii") == "dense"
            neuron = group["neuron"]
            assert neuron["type"][()].decode("ascii") == "CUBA"
            layers.append(
                {
                    "shape": (int(np.prod(group["shape"][()])),),
                    "weight": group["weight"][()].astype(int),
                    "bias": group["bias"][()].astype(int) if "bias" in group else None,
                    "du": int(neuron["iDecay"][()]) - 1,
                    "dv": int(neuron["vDecay"][()]),
                    "vth": int(neuron["vThMant"][()]),
                }
            )
    return layers


def synapses_of(weight: Any) -> Synapses:
    """What netx makes of a matrix: shifted to the top of 8 bits, with the exponent that undoes it."""
    low, high = int(weight.min()), int(weight.max())
    mixed = low < 0 <= high
    if mixed:
        scale = min(127 / high if high else np.inf, 128 / -low)
    else:
        scale = 255 / high if low >= 0 else 256 / -low
    bits = int(np.floor(np.log2(scale))) + mixed
    return Synapses((weight << bits).astype(np.int32), -bits)


@pytest.mark.parametrize("lif", [{}, {"v_leak": 1.5}, {"v_th": 0.6}])
def test_what_netx_builds_from_the_file_spikes_as_the_emulator(tmp_path: Path, lif: dict[str, Any]) -> None:
    net, given = network(4, 12, 3, **lif), spikes(4)
    program = write_netx(tmp_path / "a.net", net, dt=DT)
    layers = tuple(
        FixedLayer(
            synapses_of(entry["weight"]), entry["du"], entry["dv"], entry["vth"], entry["bias"],
            None if entry["bias"] is None else np.full(entry["shape"], 6),
        )
        for entry in as_netx_reads(tmp_path / "a.net")
    )  # fmt: skip
    built, n_ticks = FixedGraph(layers, DT), program.graph.n_ticks(given.t_stop)
    ticks, _ = encode(given, DT)
    expected = Emulator(program.graph).run(ticks, n_ticks).layers
    for found, wanted in zip(reference.run_fixed(built, ticks.to_raster(n_ticks)), expected, strict=True):
        np.testing.assert_array_equal(found, wanted.to_raster(n_ticks))
    assert int(expected[-1].counts.sum()) > 0


def test_a_file_comes_back_as_the_graph_and_runs_on_the_device(tmp_path: Path) -> None:
    net, given = network(4, 12, 3, v_leak=1.5), spikes(4)
    program = write_netx(tmp_path / "a.net", net, dt=DT)
    back = read_netx(tmp_path / "a.net")
    assert back.dt == DT
    for a, b in zip(back.layers, program.graph.layers, strict=True):
        np.testing.assert_array_equal(a.synapses.effective(), b.synapses.effective())
        np.testing.assert_array_equal(a.bias, b.bias)
        assert (a.du, a.dv, a.vth, a.synapses.exponent) == (b.du, b.dv, b.vth, 0)
    with hl.open("loihi", dt=DT) as device:
        device.load(program)
        measured = device.run(given)
        # in a loop the program stays one that the format can say
        assert program.with_weights(net).graph.digest == program.graph.digest
    exact = net(given).output.unit_counts().sum()
    assert abs(int(measured.output.counts.sum()) - int(exact)) <= 0.2 * int(exact)


def test_delays_are_refused_since_netx_drops_them(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="netx drops them"):
        write_netx(tmp_path / "a.net", network(4, 3, delay=1e-3), dt=DT)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot write"):
        write_netx(tmp_path / "none" / "a.net", network(4, 3), dt=DT)


def changed(path: Path, entry: str, value: Any) -> Path:
    with h5py.File(path, "a") as file:
        if entry in file:
            del file[entry]
        if value is not None:
            file[entry] = value
    return path


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("layer/0/type", b"conv", "layer 0: type 'conv'; allowed: 'dense'"),
        ("layer/0/neuron/type", b"SDNN", "neuron/type 'SDNN'; allowed: 'CUBA'"),
        ("layer/0/delay", np.ones(4), "layer 0: delay; netx does not read it"),
        ("layer/1/neuron/vThMant", 2**18, "vth = 262144"),
        ("layer/1/neuron/iDecay", np.array([1, 2, 3]), "neuron/iDecay differs between neurons"),
        ("layer/0/weight", np.full((12, 4), 0.5), "layer 0: weight holds values that are no whole numbers"),
        ("layer/1/weight", None, "KeyError"),
        ("layer/1/weight", np.ones((3, 5)), "layer 1 takes 5 inputs; the layer before has 12 neurons"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, entry: str, value: Any, message: str) -> None:
    write_netx(tmp_path / "a.net", network(4, 12, 3), dt=DT)
    with pytest.raises(DataError) as caught:
        read_netx(changed(tmp_path / "a.net", entry, value))
    assert message in str(caught.value)


def test_bytes_that_are_no_hdf5_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.net").write_bytes(b"not a network")
    with pytest.raises(DataError, match="is no netx file"):
        read_netx(tmp_path / "a.net")
    with pytest.raises(DataError, match=r"none\.net"):
        read_netx(tmp_path / "none.net")


def test_a_file_of_another_tool_needs_its_step(tmp_path: Path) -> None:
    write_netx(tmp_path / "a.net", network(4, 3, dtype=torch.float32), dt=DT)
    with h5py.File(tmp_path / "a.net", "a") as file:
        del file.attrs["hwloop_dt_s"]
    with pytest.raises(DataError, match="does not state its step"):
        read_netx(tmp_path / "a.net")
    assert read_netx(tmp_path / "a.net", dt=1e-3).dt == 1e-3
