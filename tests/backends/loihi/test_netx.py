from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import hwloop as hl
from hwloop.errors import CompileError, DataError
from hwloop_fixed_point import reference
from hwloop_loihi import Emulator, FixedGraph, FixedLayer, Synapses, encode, read_netx, write_netx

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


def written(path: Path, weight: Any, *, bias: Any = None, shape: Any = None, **neuron: Any) -> Path:
    """A file of one dense layer, as another tool writes it."""
    values = {"type": b"CUBA", "iDecay": 1025, "vDecay": 128, "vThMant": 100, **neuron}
    with h5py.File(path, "w") as file:
        group = file.create_group("layer/0")
        group["type"], group["weight"] = np.array([b"dense"], "S10"), weight
        group["shape"] = [len(weight), 1, 1] if shape is None else shape
        if bias is not None:
            group["bias"] = bias
        for name, value in values.items():
            group[f"neuron/{name}"] = value
    return path


mantissas = st.one_of(
    hnp.arrays(np.int32, (3, 2), elements=st.integers(-128, 127)),
    hnp.arrays(np.int32, (3, 2), elements=st.integers(-128, 127).map(lambda k: 2 * k)),
    hnp.arrays(np.int32, (3, 2), elements=st.integers(0, 255)),
    hnp.arrays(np.int32, (3, 2), elements=st.integers(-255, 0)),
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mantissas, st.booleans(), st.sampled_from([np.float32, np.int64, np.int16]), st.integers(-4096, 4095))
def test_every_weight_that_eight_bits_hold_is_read_exactly_and_runs_as_in_netx(
    tmp_path: Path, weight: Any, flat: bool, dtype: type, bias: int
) -> None:
    path = written(
        tmp_path / "a.net", (weight.reshape(-1) if flat else weight).astype(dtype), shape=[3, 1, 1], bias=[bias] * 3
    )
    (layer,) = read_netx(path, dt=1e-3).layers
    np.testing.assert_array_equal(layer.synapses.effective() * 2.0**layer.synapses.exponent, weight)
    assert (layer.du, layer.dv, layer.vth, layer.bias.tolist()) == (1024, 128, 100, [bias * 64] * 3)
    if weight.any() and not (weight.max() == 0 and weight.min() < -128):  # netx itself loses odd weights there
        netx = FixedLayer(synapses_of(weight), 1024, 128, 100, layer.bias_mant, layer.bias_exp)
        raster = np.random.default_rng(0).random((1, 20, 2)) < 0.5
        for a, b in zip(*(reference.run_fixed(FixedGraph((x,), DT), raster) for x in (layer, netx)), strict=True):
            np.testing.assert_array_equal(a, b)


def test_odd_weights_of_both_signs_are_not_rounded(tmp_path: Path) -> None:
    (layer,) = read_netx(written(tmp_path / "a.net", [[5, -3], [1, 7]]), dt=1e-3).layers
    assert (layer.synapses.effective() * 2.0**layer.synapses.exponent).tolist() == [[5, -3], [1, 7]]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([[200, -1]], r"weight \[0, 0\] = 200; allowed: -128..127, or -256..254 where all are even \(both signs"),
        ([[4, 256], [0, -2]], r"weight \[0, 1\] = 256"),
        ([[1, 256]], r"weight \[0, 1\] = 256; allowed: -255..255, or -256..254 where all are even \(one sign"),
        ([[-1, -256]], r"weight \[0, 1\] = -256"),
        ([[2**31 - 1, -(2**31 - 1)]], r"weight \[0, 0\] = 2147483647"),
        ([[1, 2], [3, 4], [5, 6]], r"weight \(3, 2\) for a shape of 2 neurons"),
    ],
)
def test_weights_that_eight_bits_do_not_hold_are_named(tmp_path: Path, weight: Any, message: str) -> None:
    path = written(tmp_path / "a.net", np.array(weight), shape=[min(len(weight), 2)])
    with pytest.raises(DataError, match=message):
        read_netx(path, dt=1e-3)


@pytest.mark.parametrize(
    ("neuron", "message"),
    [
        ({"refDelay": 3}, r"layer 0: neuron/refDelay = 3; allowed: 1 \(no refractory time"),
        ({"refDelay": [1, 2]}, "neuron/refDelay differs between neurons"),
        ({"gradedSpike": True}, r"neuron/gradedSpike = 1; allowed: 0 \(spikes of one size"),
        ({"wgtExp": 2}, r"neuron/wgtExp = 2; allowed: 0 .*weight \* 2\*\*wgtExp"),
        ({"theta": 7}, "layer 0: neuron/theta would be dropped; allowed in neuron: type, iDecay"),
        ({"../weight_exponent": 1}, "layer 0: weight_exponent would be dropped"),
    ],
)
def test_what_is_not_carried_is_refused_by_its_name(tmp_path: Path, neuron: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "a.net", [[5, -3], [1, 7]])
    with h5py.File(path, "a") as file:
        for name, value in neuron.items():
            file["layer/0"].create_dataset(name.removeprefix("../") if "../" in name else f"neuron/{name}", data=value)
    with pytest.raises(DataError, match=message):
        read_netx(path, dt=1e-3)


def test_a_weight_exponent_that_is_folded_in_as_told_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", np.array([[5, -3], [1, 7]]) * 2**2, wgtExp=0)
    (layer,) = read_netx(path, dt=1e-3).layers
    assert (layer.synapses.effective() * 2.0**layer.synapses.exponent).tolist() == [[20, -12], [4, 28]]


def test_what_says_nothing_about_a_run_is_read_past(tmp_path: Path) -> None:
    path = written(tmp_path / "a.net", [[2, 4]], refDelay=[1], gradedSpike=False, wgtExp=0, tauRho=0.5, scaleRho=1)
    assert read_netx(path, dt=1e-3).n_in == 2


def test_a_step_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    write_netx(tmp_path / "a.net", network(4, 3), dt=DT)
    assert read_netx(tmp_path / "a.net", dt=DT).dt == DT
    with pytest.raises(DataError, match="states a step of 0.0002 s; dt = 0.001 s; allowed: the same, or no dt"):
        read_netx(tmp_path / "a.net", dt=1e-3)


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
        (
            "layer/0/type",
            b"average",
            "layer 0: type 'average'; allowed: input, conv, pool, flatten, dense. Other blocks",
        ),
        ("layer/0/type", b"conv", "layer 0: inFeatures, outFeatures would be dropped; allowed: type, shape"),
        ("layer/0/type", b"flatten", "would be dropped; allowed: type. Delete"),
        ("layer/1/type", b"input", "layer 1: an input block behind others; allowed: as the first block"),
        ("layer/1/shape", [5], "layer 1: weight (3, 12) for a shape of 5 neurons"),
        ("layer/0/neuron/type", b"SDNN", "neuron/type 'SDNN'; allowed: 'CUBA'"),
        ("layer/0/delay", np.ones(4), "layer 0: delay of 4 values for 12 neurons; allowed: one a neuron"),
        (
            "layer/1/delay",
            np.ones(3),
            "layer 1: delay up to 1 ticks of the last block's spikes, which nothing receives",
        ),
        ("layer/1/bias", np.ones(2), "layer 1: bias of 2 values for (3,) neurons; allowed: one a neuron"),
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
