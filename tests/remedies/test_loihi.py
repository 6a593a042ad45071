"""Fixed-point graphs, their emulator, and their files: what is asked for in the place of what is refused.

What a network has to change to fit (:class:`hwloop.CompileError`) is followed in ``tests/backends/loihi``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import hwloop as hl
from hwloop import rules
from hwloop.device.registry import find
from hwloop.network import IF, LIF, Input
from hwloop.network.structure import Projection
from hwloop_fixed_point import runs as emulators
from hwloop_fixed_point.graph import FloatGraph, FloatLayer
from hwloop_fixed_point.soft_reset import run_population
from hwloop_fixed_point.ticks import TickSpikes
from hwloop_loihi import Emulator, FixedGraph, FixedLayer, Synapses, choose_dt, read_netx, write_netx
from hwloop_loihi.discretise import float_graph
from hwloop_loihi.soft_codes import spikegrad_codes

from .step_networks import N_IN, N_OUT, stepped, values
from .support import Case, Said, option, refused

WEIGHT = np.full((2, 3), 20, np.int32)


def layer(n: int = 2, n_in: int = 3, vth: Any = 10, **options: Any) -> FixedLayer:
    return FixedLayer(Synapses(np.full((n, n_in), 20, np.int32)), du=1000, dv=500, vth=vth, **options)


def float_layer(
    n: int = 2, n_in: int = 3, weight: Any = None, du: float = 0.2, vth: float = 1.0, bias: Any = None
) -> FloatLayer:
    return FloatLayer(np.ones((n, n_in)) if weight is None else weight, du, 0.1, vth, bias=bias)


def synapses(weight: Any = WEIGHT, **options: Any) -> Synapses:
    return Synapses(weight, **options)


def fixed(*layers: FixedLayer, dt: float = 1e-3) -> FixedGraph:
    return FixedGraph(layers or (layer(),), dt)


def parts(**changes: Any) -> FixedGraph:
    document, arrays = fixed().to_parts()
    return FixedGraph.from_parts({**document, **changes}, arrays)


def ran(raster: np.ndarray, n_ticks: int = 5, graph: FixedGraph | None = None) -> Any:
    return Emulator(fixed() if graph is None else graph).run(TickSpikes.from_raster(raster), n_ticks)


def network() -> hl.Network:
    return hl.Network([hl.Dense(3, 2), hl.LIF(2, 10e-3, 5e-3)])


def leakless() -> hl.Network:
    return hl.Network([hl.Dense(3, 2), IF(2)])


SPIKES = hl.Spikes.from_events([([1e-3, 2e-3], [0, 1])], 3, 0.02)
ONES = np.ones((2, 3, 3), bool)

GRAPHS = [
    option("Synapses.__post_init__", "sign_mode = {}; allowed: {}", synapses, "sign_mode", "both", "auto", "mixed", "excitatory", "inhibitory"),
    option("FloatLayer.__post_init__", "{} = {}; allowed: 0..1", float_layer, "du", 1.5, 0, 1),
    option("FloatLayer.__post_init__", "vth = {}; allowed: finite", float_layer, "vth", math.inf, 1e300),
    Case("_Graph.__post_init__", "a graph of no layers; give at least one", lambda: FloatGraph((), 1e-3), lambda: FloatGraph((float_layer(),), 1e-3)),
    option("_Graph.__post_init__", "dt = {} s; allowed: finite and > 0", fixed, "dt", 0.0, 5e-324),
    Case("_check_ends", "inputs; the layer before has {} neurons", lambda: fixed(layer(), layer()), lambda: fixed(layer(), layer(n_in=2))),
    Case("_check_ends", "takes units {}..{} of layer {}; it has {}", lambda: fixed(layer(), layer(blocks=((0, 0, 3),))),
         lambda: fixed(layer(), layer(blocks=((0, 0, 2), (-1, 0, 1))))),
    Case("_Graph.__post_init__", "no layer takes the input (source -1); give one a block from it", lambda: fixed(layer(n_in=2, blocks=((0, 0, 2),))),
         lambda: fixed(layer(n_in=2, blocks=((-1, 0, 2),)))),
    option("check_source", "late = {} ticks; allowed: finite, or None", layer, "late", math.nan, 0.5, None),
    option("check_source", "sizes from 1, together the columns", layer, "blocks", ((-1, 0, 2),), ((-1, 0, 3),)),
    option("_Graph.from_parts", "kind {}; expected {}", parts, "kind", "FloatGraph", "FixedGraph"),
    option("_Graph.from_parts", "parts of a {} do not fit", parts, "layers", [{}], fixed().to_parts()[0]["layers"]),
    option("arguments.whole", "{} = {}; allowed: a whole number {}..{}", layer, "vth", 2**17, 0, 2**17 - 1),
    option("registers.whole_array", "has dtype {}; allowed: whole numbers", synapses, "weight", WEIGHT / 1.0, WEIGHT),
    option("registers.whole_array", "spans {}..{}; allowed: {}..{}", synapses, "delay", WEIGHT + 44, WEIGHT * 0, WEIGHT * 0 + 63),
    option("registers.finite_array", "allowed: finite", float_layer, "weight", np.full((2, 3), np.nan), np.ones((2, 3))),
    option("registers.ranked", "expected an array of {} dimensions, not empty", synapses, "weight", WEIGHT[0], WEIGHT[:1]),
    option("registers.shaped", "has shape {}; expected {}", float_layer, "bias", np.zeros(3), np.zeros(2)),
    Case("TickSpikes.from_raster", "expected [batch >= 1, ticks, n_units >= 1]", lambda: ran(ONES[0]), lambda: ran(ONES[:1])),
    Case("Emulator.run", "the input has {} units; the graph takes {}", lambda: ran(ONES[:, :, :2]), lambda: ran(ONES)),
    Case("Emulator.run", "n_ticks = {}; allowed: >= 1", lambda: ran(ONES, 0), lambda: ran(ONES, 1)),
    option("float_graph", "dt = {} s; allowed: finite and > 0", lambda dt: float_graph(network(), dt), "dt", 0.0, 1e-4),
    Case("sweep._taus", "the network has no time constant to choose a step by; name one: dt=... (s)",
         lambda: choose_dt(hl.Network([hl.Dense(3, 2), hl.IF(2)]), SPIKES), lambda: find("loihi", dt=1e-4).compile(hl.Network([hl.Dense(3, 2), hl.IF(2)]))),
    Case("choose_dt", "steps is empty; name at least one step (s)", lambda: choose_dt(network(), SPIKES, steps=[]),
         lambda: choose_dt(network(), SPIKES, steps=[1e-4])),
    Case("sweep._taus", "no time constant to choose a step by; name one: dt=... (s)", lambda: choose_dt(leakless(), SPIKES),
         lambda: find("loihi", dt=1e-3).compile(leakless())),
    option("_step", "allowed: a step of {}..{} s", lambda dt: find("loihi", dt=dt), "dt", 0.0, 1e-4, 1e-9, 1.0),
    Case("LoihiTarget.__init__", "allowed: loihi, with the option dt (s)", lambda: find("loihi:0"), lambda: find("loihi", dt=1e-4)),
]  # fmt: skip


def population(*shape: int) -> Any:
    codes = spikegrad_codes(stepped("spikegrad"), signed=True)
    found = codes.populations[0]
    return run_population(found, np.zeros((1, 2, *shape), np.int32), np.zeros((1, found.n), np.int32))


def opened(rule: str = "na", steps: int = 5) -> Any:
    net = rules.StepNetwork([hl.Dense(N_IN, N_OUT), rules.TracedNeurons(tau_m=4.0)], in_shape=N_IN, steps=steps)
    return rules.open_network(net, "loihi")


def closed() -> Any:
    device = opened()
    device.close()
    return device


def neurons() -> rules.TracedNeurons:
    return rules.TracedNeurons(tau_m=4.0)


HELD = [
    Case("run_population", "expected [batch, ticks, {}] and [batch, {}]", lambda: population(N_IN + 1), lambda: population(N_IN)),
    Case("HeldNetwork._parts", "is closed; open the network again with rules.open_network", lambda: closed().run(values()), lambda: opened().run(values())),
    Case("HeldNetwork._parts", "give those of its task", lambda: opened().run(values(N_IN + 1)), lambda: opened().run(values(N_IN))),
]  # fmt: skip


@pytest.mark.parametrize("case", [*GRAPHS, *HELD], ids=str)
def test_what_fixed_point_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_runaway_layer_is_held_by_each_of_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulators, "MAX_EVENTS", 1000)
    raster = np.ones((4, 200, 3), bool)
    message = "Use smaller batches, lower weights, or a shorter window"
    refused("_with_room", message, lambda: ran(raster, 200))
    ran(raster[:1], 200)
    ran(raster, 100)
    quiet = fixed(replace(layer(), synapses=Synapses(WEIGHT * 0 + 2), vth=2**17 - 1))
    ran(raster, 200, quiet)


# -- netx -----------------------------------------------------------------------------------------


def changed(folder: Path, **entries: Any) -> Path:
    """The file of a small network with entries of its first layer replaced; None: removed."""
    path = folder / "net.net"
    net = network()
    write_netx(path, net, dt=1e-4)
    with h5py.File(path, "r+") as file:
        for name, value in entries.items():
            group = file if name == "dt" else file["layer/0"]
            key = name.replace("__", "/")
            if name == "dt":
                for attribute in list(file.attrs):
                    del file.attrs[attribute]
                continue
            if key in group:
                del group[key]
            if value is not None:
                group.create_dataset(key, data=value)
    return path


def test_a_step_that_is_named_takes_the_place_of_a_missing_one(tmp_path: Path) -> None:
    path = changed(tmp_path, dt=None)
    refused("read_netx", "does not state its step; name it: read_netx(path, dt=...)", lambda: read_netx(path))
    assert read_netx(path, dt=1e-4).dt == 1e-4


def test_a_step_that_is_left_out_or_the_same_is_read(tmp_path: Path) -> None:
    path = changed(tmp_path)
    refused("read_netx", "allowed: the same, or no dt", lambda: read_netx(path, dt=1e-3))
    read_netx(path)
    read_netx(path, dt=1e-4)


def test_a_file_exported_again_is_read(tmp_path: Path) -> None:
    path = tmp_path / "net.net"
    path.write_bytes(b"a picture")
    refused("read_netx", "export it again", lambda: read_netx(path))
    read_netx(changed(tmp_path))


#: What a layer may not be, and what it may.
LAYERS = [
    (Said("read_blocks", "allowed: {}. Other blocks of netx are not carried"), {"type": np.array([b"average"])}, {"type": np.array([b"dense"])}),
    (Said("read_blocks", "the last block's spikes, which nothing receives; set it to 0"), {"delay": np.ones(2)}, {"delay": np.zeros(2)}),
    (Said("read_blocks", "values for {} neurons; allowed: one a neuron"), {"delay": np.ones(3)}, {"delay": np.zeros(2)}),
    (Said("netx_blocks._bias", "allowed: one a neuron or one a channel"), {"bias": np.ones(3)}, {"bias": np.ones(2)}),
    (Said("_read_layer", "neuron/type {}; allowed: 'CUBA' or 'LOIHI'"), {"neuron__type": b"ALIF"}, {"neuron__type": b"LOIHI"}),
    (Said("netx_blocks._number", "differs between neurons; allowed: one value per layer"), {"neuron__vThMant": np.array([1, 2])}, {"neuron__vThMant": np.array([2, 2])}),
    (Said("_check_entries", "neuron/{} = {}; allowed: {} ({})"), {"neuron__refDelay": 2}, {"neuron__refDelay": 1}),
    (Said("_check_known", "Delete it from the file if it does not matter"), {"something": 1}, {"something": None}),
    (Said("_check_entries", "Delete it from the file if it does not matter"), {"neuron__theta": 1}, {"neuron__theta": None}),
    (Said("netx_blocks._dense", "allowed: [n, n_in]"), {"weight": np.ones((3, 3), np.float32)}, {"weight": np.full((2, 3), 2, np.float32)}),
    (Said("_synapses", "weight [{}, {}] = {}; allowed: {} ({} in the layer)"), {"weight": np.full((2, 3), 256, np.float32)}, {"weight": np.full((2, 3), 255, np.float32)}),
    (Said("netx_blocks._whole", "no whole numbers of 32 bits"), {"neuron__vThMant": 1.5}, {"neuron__vThMant": 2.0}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "entries", "mended"), LAYERS, ids=lambda value: getattr(value, "text", None))
def test_a_layer_of_the_allowed_kind_is_read(
    tmp_path: Path, error: Said, entries: dict[str, Any], mended: dict[str, Any]
) -> None:
    refused(*error, lambda: read_netx(changed(tmp_path, **entries)))
    read_netx(changed(tmp_path, **mended))


def blocks(folder: Path, *kinds: bytes, shape: tuple[int, ...] = (1, 2, 2), weight: Any = None) -> Path:
    """A file of blocks on maps of 2x2; ``shape`` and ``weight`` of the last."""
    path = folder / "blocks.net"
    with h5py.File(path, "w") as file:
        for k, kind in enumerate(kinds):
            group = file.create_group(f"layer/{k}")
            group["type"] = np.array([kind])
            if kind == b"flatten":
                continue
            last = k + 1 == len(kinds)
            group["shape"] = shape if last else (1, 2, 2)
            if last and weight is not None:
                group["weight"] = weight
            elif kind != b"input":
                group["weight"] = np.full((1, 1, 1, 1), 4)
            for name, value in {"type": b"CUBA", "iDecay": 1025, "vDecay": 128, "vThMant": 80}.items():
                group[f"neuron/{name}"] = value
    return path


@pytest.mark.parametrize(
    ("error", "wrong", "right"),
    [
        (Said("read_blocks", "an input block behind others; allowed: as the first block"), ((b"input", b"input"), {}), ((b"input", b"conv"), {})),
        (Said("read_blocks", "no block of neurons; allowed: input, conv, pool or dense blocks"), ((b"flatten",), {}), ((b"input",), {})),
        (Said("_read_layer", "values; allowed: one number"), ((b"input",), {"weight": [1, 2]}), ((b"input",), {"weight": 3})),
        (Said("_windows", "allowed: {}"), ((b"input", b"pool"), {"weight": np.ones((2, 1, 1, 1))}), ((b"input", b"pool"), {"weight": np.ones((1, 1, 1, 1))})),
        (Said("_windows", "its weights make {} of {}; allowed: the same"), ((b"input", b"conv"), {"shape": (1, 3, 3)}), ((b"input", b"conv"), {"shape": (1, 2, 2)})),
        (Said("_windows", "or put an input block before it"), ((b"conv",), {}), ((b"input", b"conv"), {})),
    ],
    ids=lambda value: getattr(value, "text", None),
)  # fmt: skip
def test_blocks_as_they_are_allowed_are_read(tmp_path: Path, error: Said, wrong: Any, right: Any) -> None:
    refused(*error, lambda: read_netx(blocks(tmp_path, *wrong[0], **wrong[1]), dt=1e-3))
    read_netx(blocks(tmp_path, *right[0], **right[1]), dt=1e-3)
    if "input block" in error.text:
        read_netx(
            blocks(tmp_path, *wrong[0], **wrong[1]) if wrong[0] == (b"conv",) else blocks(tmp_path, b"input"),
            dt=1e-3,
            in_shape=(1, 2, 2),
        )


def test_a_file_of_the_allowed_number_of_layers_is_read(tmp_path: Path) -> None:
    path = changed(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["layer/0"]
    refused("read_netx", "has {} layers; allowed: 1..{}", lambda: read_netx(path))
    read_netx(changed(tmp_path))


def row(**options: Any) -> hl.Network:
    """Two layers in a row, with ``options`` of the first one's neurons."""
    return hl.Network([hl.Dense(3, 2, bias=True), LIF(2, 10e-3, 5e-3, **options), hl.Dense(2, 2), LIF(2, 10e-3, 5e-3)])


def wired(skips: bool) -> hl.Network:
    nodes = {"in": Input(3), "a": LIF(2, 10e-3, 5e-3), "b": LIF(2, 10e-3, 5e-3)}
    ends = [("in", "a", 3), ("a", "b", 2), *([("in", "b", 3)] if skips else [])]
    return hl.Network.graph(nodes, [Projection(source, target, hl.Dense(n, 2)) for source, target, n in ends])


@pytest.mark.parametrize(
    ("error", "wrong", "mended"),
    [
        (Said("_check_writable", "build the network as a chain, or deploy to loihi or lava, which have graphs"), lambda: wired(True), lambda: wired(False)),
        (Said("_check_writable", "build the layer with v_init = v_reset and filtered_bias=False"), lambda: row(v_init=0.5), lambda: row(v_init=0.0)),
        (Said("_check_writable", "build the layer with v_init = v_reset and filtered_bias=False"), lambda: row(filtered_bias=True), lambda: row(filtered_bias=False)),
    ],
)  # fmt: skip
def test_what_a_file_does_not_say_is_built_otherwise_or_deployed(
    tmp_path: Path, error: Said, wrong: Any, mended: Any
) -> None:
    refused(*error, lambda: write_netx(tmp_path / "net.net", wrong(), dt=1e-3))
    write_netx(tmp_path / "net.net", mended(), dt=1e-3)
    find("loihi", dt=1e-3).compile(wrong())
