from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from hwloop.errors import InputError
from hwloop_loihi import FixedGraph, FixedLayer, FloatGraph, FloatLayer, Synapses

from .random_graphs import random_graph

WEIGHT = np.array([[3, -4]], np.int32)


def layer(**changes: Any) -> FixedLayer:
    return FixedLayer(**{"synapses": Synapses(WEIGHT), "du": 100, "dv": 50, "vth": 10, **changes})


@pytest.mark.parametrize(
    ("given", "mode", "bits", "held"),
    [
        # rule 1 by hand: even and toward minus infinity; clipped; one sign keeps every number
        ([3, -3, 255, -257, 254, 1], "mixed", 8, [2, -4, 254, -256, 254, 0]),
        ([3, -3, 255, -257, 254, 1], "auto", 8, [2, -4, 254, -256, 254, 0]),
        ([3, 256, 255, 0], "auto", 8, [3, 255, 255, 0]),
        ([-3, -256, -255, 0], "auto", 8, [-3, -255, -255, 0]),
        ([3, -3, 300], "excitatory", 8, [3, 0, 255]),
        ([3, -3, -300], "inhibitory", 8, [0, -3, -255]),
        ([7, -7, 9], "mixed", 6, [0, -8, 8]),
        ([7, 9, 255], "excitatory", 6, [4, 8, 252]),
        ([-7, -9], "inhibitory", 6, [-4, -8]),
    ],
)
def test_weights_are_clipped_and_truncated_as_dense_does(
    given: list[int], mode: Any, bits: int, held: list[int]
) -> None:
    synapses = Synapses(np.array([given], np.int32), sign_mode=mode, weight_bits=bits)
    assert synapses.effective().tolist() == [held]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"du": 4096}, "du = 4096; allowed: a whole number 0..4095"),
        ({"dv": -1}, "dv = -1; allowed: a whole number 0..4095"),
        ({"vth": 2**17}, "vth = 131072; allowed: a whole number 0..131071"),
        ({"vth": 1.5}, "vth = 1.5; allowed: a whole number"),
        ({"bias_mant": np.array([4096])}, "bias_mant spans 4096..4096; allowed: -4096..4095"),
        ({"bias_exp": np.array([8])}, "bias_exp spans 8..8; allowed: 0..7"),
        ({"bias_mant": np.array([1, 2])}, "bias_mant has shape (2,); expected (1,)"),
        ({"recurrent": Synapses(WEIGHT)}, "recurrent.weight has shape (1, 2); expected (1, 1)"),
    ],
)
def test_values_beyond_their_declared_width_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        layer(**change)


def test_whole_numbers_of_numpy_are_kept_as_pythons() -> None:
    synapses = Synapses(WEIGHT, exponent=np.int64(2), weight_bits=np.uint8(8))  # type: ignore[arg-type]
    made = layer(du=np.int32(7), vth=np.int64(100))
    assert [type(x) for x in (synapses.exponent, synapses.weight_bits, made.du, made.vth)] == [int] * 4
    assert (synapses.exponent, made.du) == (2, 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exponent": 8}, "exponent = 8; allowed: a whole number -8..7"),
        ({"weight_bits": 0}, "weight_bits = 0"),
        ({"sign_mode": "both"}, "sign_mode = 'both'; allowed: auto"),
        ({"delay": np.array([[0, 64]])}, "delay (ticks) spans 0..64; allowed: 0..63"),
        ({"delay": np.array([[1]])}, "delay has shape (1, 1); expected (1, 2)"),
        ({"weight": np.array([[0.5, 1]])}, "weight has dtype float64; allowed: whole numbers"),
    ],
)
def test_synapses_that_no_dense_has_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Synapses(**{"weight": WEIGHT, **change})


def test_layers_that_do_not_fit_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="layer 1 takes 2 inputs; the layer before has 1 neurons"):
        FixedGraph((layer(), layer()), 1e-3)
    with pytest.raises(InputError, match="a graph of no layers"):
        FixedGraph((), 1e-3)


@pytest.mark.parametrize("seed", range(12))
def test_a_graph_travels_as_json_and_arrays(seed: int) -> None:
    graph = random_graph(seed)
    document, arrays = graph.to_parts()
    back = FixedGraph.from_parts(json.loads(json.dumps(document)), arrays)
    assert back.digest == graph.digest
    changed = dataclasses.replace(back, layers=(dataclasses.replace(back.layers[0], vth=1234), *back.layers[1:]))
    assert changed.digest != graph.digest


def test_a_float_graph_travels_too() -> None:
    graph = FloatGraph((FloatLayer(np.ones((2, 3)), 0.1, 0.2, 1.0, delay=np.ones((2, 3), int), refractory=3),), 1e-3)
    document, arrays = graph.to_parts()
    back = FloatGraph.from_parts(json.loads(json.dumps(document)), arrays)
    assert back.digest == graph.digest
    assert back.layers[0].refractory == 3


@pytest.mark.parametrize("key", ["kind", "layers", "dt"])
def test_parts_with_something_missing_are_refused(key: str) -> None:
    document, arrays = random_graph(0).to_parts()
    del document[key]
    with pytest.raises(InputError):
        FixedGraph.from_parts(document, arrays)


def test_a_window_has_the_tick_that_decodes_to_its_end() -> None:
    # index i of the last of two layers stands for (i - 1) dt: 0..50 ms at 1 ms takes indices up to 51
    graph = FixedGraph((layer(), FixedLayer(Synapses(np.array([[1]], np.int32)), 0, 0, 1)), 1e-3)
    assert graph.n_ticks(50e-3) == 52
