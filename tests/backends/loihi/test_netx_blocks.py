"""Files of lava-dl with input, conv, pool, flatten and dense blocks are read as what they mean in training, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional

import hwloop as hl
from hwloop.errors import CompileError, DataError
from hwloop.network import IF, LIF, Dense, Network
from hwloop_fixed_point.reference import run_fixed
from hwloop_loihi import Emulator, TickSpikes, read_netx, write_netx

from .graph_networks import convolution, loop, started, two

RNG = np.random.default_rng(5)
CONV = RNG.integers(-120, 121, (4, 1, 3, 3)) | 1
DENSE = 2 * RNG.integers(-100, 101, (3, 16))


def block(kind: str, **entries: Any) -> dict[str, Any]:
    neuron = {"type": b"CUBA", "iDecay": 1025, "vDecay": 128, "vThMant": 80, "refDelay": 1, "gradedSpike": False}
    return {"type": np.array([kind.encode()], "S10"), **entries, **({} if kind == "flatten" else {"neuron": neuron})}


def network(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Maps of 2x9x9 through every kind of block; ``changes`` of the entries of each."""
    blocks = {
        "input": block("input", shape=[2, 9, 9], weight=100),
        "conv": block(
            "conv", shape=[4, 4, 4], weight=CONV[..., None], inChannels=2, outChannels=4, kernelSize=[3, 3], stride=[2, 2],
            padding=[0, 0], dilation=[1, 1], groups=2, bias=np.array([1, -2, 3, 4]), delay=np.arange(64) % 5,
        ),
        "pool": block("pool", shape=[4, 2, 2], weight=np.full((1, 1, 2, 2, 1), 60), kernelSize=[2, 2], stride=[2, 2]),
        "flatten": block("flatten"),
        "dense": block("dense", shape=[3], weight=DENSE, inFeatures=16, outFeatures=3, bias=[1, 0, -1]),
    }  # fmt: skip
    for name, entries in changes.items():
        blocks[name].update(entries)
    return list(blocks.values())


def written(path: Path, blocks: list[dict[str, Any]]) -> Path:
    with h5py.File(path, "w") as file:
        for k, entries in enumerate(blocks):
            group = file.create_group(f"layer/{k}")
            for name, value in entries.items():
                for key, part in value.items() if isinstance(value, dict) else ((None, value),):
                    if part is not None:
                        group[name if key is None else f"{name}/{key}"] = part
    return path


def test_every_block_is_the_map_of_its_training(tmp_path: Path) -> None:
    graph = read_netx(written(tmp_path / "a.net", network()), dt=1e-3)
    first, conv, pool, dense = graph.layers
    maps = [layer.synapses.effective() * 2.0**layer.synapses.exponent for layer in graph.layers]
    np.testing.assert_array_equal(maps[0], 100 * np.eye(162))
    x = torch.from_numpy(RNG.integers(0, 2, (5, 2, 9, 9)).astype(float))
    wanted = functional.conv2d(x, torch.from_numpy(CONV.astype(float)), stride=2, groups=2)
    np.testing.assert_array_equal(x.reshape(5, -1).numpy() @ maps[1].T, wanted.reshape(5, -1).numpy())
    pooled = functional.avg_pool2d(wanted, 2) * 4 * 60
    np.testing.assert_array_equal(wanted.reshape(5, -1).numpy() @ maps[2].T, pooled.reshape(5, -1).numpy())
    np.testing.assert_array_equal(maps[3], DENSE)
    assert conv.bias.tolist() == np.repeat([64, -128, 192, 256], 16).tolist()
    assert dense.bias.tolist() == [64, 0, -64]
    # what leaves the conv block late arrives late at the pool, whatever it leads to
    assert pool.synapses.delay is not None
    np.testing.assert_array_equal(pool.synapses.delay, np.broadcast_to(np.arange(64) % 5, (16, 64)))
    assert [layer.synapses.delay is None for layer in (first, conv, dense)] == [True] * 3


def test_a_file_of_blocks_runs(tmp_path: Path) -> None:
    graph = read_netx(written(tmp_path / "a.net", network()), dt=1e-3)
    raster = RNG.random((2, 30, 162)) < 0.3
    expected = run_fixed(graph, raster)
    assert all(layer.any() for layer in expected)
    for ours, wanted in zip(Emulator(graph).run(TickSpikes.from_raster(raster), 30).layers, expected, strict=True):
        np.testing.assert_array_equal(ours.to_raster(30), wanted)


def test_a_convolution_without_an_input_block_needs_the_shape(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", network()[1:])
    with pytest.raises(DataError, match=r"layer 0: a conv block of units of unknown rows and columns; name them"):
        read_netx(path, dt=1e-3)
    assert read_netx(path, dt=1e-3, in_shape=(2, 9, 9)).n_in == 162


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv": {"shape": [4, 5, 5]}}, r"layer 1: shape \(4, 5, 5\); its weights make \(4, 4, 4\) of \(2, 9, 9\)"),
        ({"conv": {"weight": CONV[..., 0]}}, r"layer 1: weight \(4, 1, 3\); allowed: \[c_out, c_in / groups, kh, kw\]"),
        ({"pool": {"weight": np.ones((4, 1, 2, 2))}}, r"layer 2: weight \(4, 1, 2, 2\); allowed: \[1, 1, kh, kw\]"),
        ({"conv": {"weight": CONV[..., None] * 3}}, "layer 1: weight .* allowed: -128..127"),
        ({"input": {"weight": np.ones(162)}}, "layer 0: weight of 162 values; allowed: one number"),
        ({"conv": {"delay": np.full(64, 64)}}, r"delay \(ticks\) spans 64..64; allowed: 0..63"),
        ({"flatten": {"order": 1}}, "layer 3: order would be dropped; allowed: type"),
        ({"pool": {"neuron": {"type": b"CUBA", "refDelay": 2}}}, "layer 2: neuron/refDelay = 2; allowed: 1"),
        ({"pool": {"neuron": {"type": b"CUBA", "gradedSpike": True}}}, "layer 2: neuron/gradedSpike = 1; allowed: 0"),
    ],
)
def test_blocks_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_netx(written(tmp_path / "a.net", network(**changes)), dt=1e-3)


def test_a_file_without_neurons_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file has no block of neurons"):
        read_netx(written(tmp_path / "a.net", [block("flatten")]), dt=1e-3)


@pytest.mark.parametrize(
    "build",
    [convolution, lambda: two(IF(8), IF(4), 0.4), lambda: two(LIF(8, 1e-2, 5e-3), LIF(4, 1e-2, 5e-3), bias=0.4)],
)
def test_rows_of_layers_are_written_and_read_back(tmp_path: Path, build: Any) -> None:
    program = write_netx(tmp_path / "a.net", build(), dt=1e-3)
    back = read_netx(tmp_path / "a.net")
    for a, b in zip(back.layers, program.graph.layers, strict=True):
        np.testing.assert_array_equal(a.synapses.effective(), b.synapses.effective())
        np.testing.assert_array_equal(a.bias, b.bias)
        assert (a.du, a.dv, a.vth, b.v_start, b.u_start) == (b.du, b.dv, b.vth, None, None)


@pytest.mark.parametrize(
    ("build", "layer", "message"),
    [
        (loop, "projections into 'a'", "no delays"),
        (lambda: hl.Network.graph(*skip()), "projections into 'out'", "a row of layers"),
        (started, "population '0' (LIF)", "start at rest"),
    ],
)
def test_what_the_format_does_not_say_is_not_written(tmp_path: Path, build: Any, layer: str, message: str) -> None:
    with pytest.raises(CompileError, match=message) as caught:
        write_netx(tmp_path / "a.net", build(), dt=1e-3)
    assert caught.value.layer == layer
    assert list(tmp_path.iterdir()) == []


def skip() -> tuple[Any, Any]:
    from hwloop.network import Input
    from hwloop.network.structure import Projection

    nodes = {"in": Input(3), "a": LIF(4, 1e-2, 5e-3), "out": LIF(2, 1e-2, 5e-3)}
    ends = (("in", "a", 3, 4), ("a", "out", 4, 2), ("in", "out", 3, 2))
    return nodes, [Projection(source, target, Dense(n_in, n)) for source, target, n_in, n in ends]


def test_the_network_that_is_written_is_the_one_that_runs(tmp_path: Path) -> None:
    net: Network = two(LIF(8, 1e-2, 5e-3), LIF(4, 1e-2, 5e-3), bias=0.4)
    program = write_netx(tmp_path / "a.net", net, dt=1e-3)
    raster = RNG.random((2, 40, 6)) < 0.2
    for a, b in zip(run_fixed(read_netx(tmp_path / "a.net"), raster), run_fixed(program.graph, raster), strict=True):
        np.testing.assert_array_equal(a, b)
