"""Gains of neurons folded into the maps before them, values as one for each unit, and the matrices that are written."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hwloop as hl
from hwloop.errors import InputError, OptionError
from hwloop.network.nir.conventions import SpikeMeaning, constant_gain, spike_gain
from hwloop.network.nir.read import from_nir
from hwloop.network.nir.receivers import taken_otherwise
from hwloop.network.nir.resets import resets_of
from hwloop.network.nir.scaling import rescaled
from hwloop.network.nir.units import TimeUnit
from hwloop.network.nir.values import numbers, per_unit, text

from .made import cuba, cubali, integrate_and_fire, li, lif, linear, row


def dense(rows: Any, bias: Any = None) -> hl.Dense:
    values = torch.tensor(rows, dtype=torch.float64)
    layer = hl.Dense(values.shape[1], values.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(values)
    if bias is not None:
        layer.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float64))
    return layer


def conv(bias: bool = False) -> hl.Conv2d:
    """Two channels of 2 x 2 units from 3 x 3, weights of 1, biases of 1 and 2."""
    layer = hl.Conv2d(1, 2, 2, bias=bias).double()
    with torch.no_grad():
        layer.weight.fill_(1.0)
        if layer.bias is not None:
            layer.bias.copy_(torch.tensor([1.0, 2.0]))
    return layer


def folded(maps: list[Any], gain: Any, constant: Any = None, shape: Any = (2,)) -> list[Any]:
    gains = np.asarray(gain, float)
    return rescaled(maps, shape, gains, gains if constant is None else np.asarray(constant, float), "node 'n'")


def values(tensor: Tensor) -> Any:
    return tensor.detach().tolist()


# -- gains ----------------------------------------------------------------------------------------


def test_each_kind_of_weights_takes_the_gain_of_its_neuron() -> None:
    (plain,) = folded([dense([[1.0, 2.0], [3.0, 4.0]])], [10.0, 100.0])
    assert values(plain.weight) == [[10.0, 20.0], [300.0, 400.0]]
    (scale,) = folded([hl.Scale(2, torch.tensor([1.0, 2.0]))], [10.0, 100.0])
    assert values(scale.factor) == [10.0, 200.0]
    (sparse,) = folded([hl.Sparse(2, 2, [0, 1, 0], [1, 0, 0], torch.tensor([1.0, 2.0, 3.0]))], [10.0, 100.0])
    assert values(sparse.weight) == [100.0, 20.0, 30.0]
    (maps,) = folded([conv()], np.repeat([10.0, 100.0], 4), shape=(1, 3, 3))
    assert values(maps.weight.reshape(2, -1)) == [[10.0] * 4, [100.0] * 4]


def test_gains_that_differ_within_a_channel_stand_in_a_scale_after_it() -> None:
    gain = np.arange(1.0, 9.0)
    maps, scale = folded([conv()], gain, shape=(1, 3, 3))
    assert (values(scale.factor), scale.factor.dtype) == (gain.tolist(), torch.float64)
    assert values(maps.weight.max()) == 1.0
    single, scale = folded([conv().float()], gain, shape=(1, 3, 3))
    assert (scale.factor.dtype, single.weight.dtype) == (torch.float32, torch.float32)


def test_gains_pass_delays_and_flattening_and_no_pool() -> None:
    late = hl.Delay(2, torch.tensor([1e-3, 2e-3]))
    first, same = folded([dense([[1.0, 1.0], [1.0, 1.0]]), late], [2.0, 3.0])
    assert (values(first.weight), same is late) == ([[2.0, 2.0], [3.0, 3.0]], True)
    maps, pool, scale = folded([conv(), hl.SumPool2d(2)], [2.0, 3.0], shape=(1, 3, 3))
    assert (values(maps.weight.max()), type(pool), values(scale.factor)) == (1.0, hl.SumPool2d, [2.0, 3.0])
    maps, flat = folded([conv(), hl.Flatten()], np.full(8, 5.0), shape=(1, 3, 3))
    assert (values(maps.weight.min()), type(flat)) == (5.0, hl.Flatten)
    (only,) = folded([], [2.0, 3.0])
    assert values(only.factor) == [2.0, 3.0]


def test_gains_of_1_change_nothing_and_add_nothing() -> None:
    for maps, shape, n in (([conv(), hl.SumPool2d(2)], (1, 3, 3), 2), ([dense([[0.1, 0.2]])], (2,), 1), ([], (2,), 2)):
        before = [values(layer.weight) for layer in maps if hasattr(layer, "weight")]
        found = folded(list(maps), np.ones(n), shape=shape)
        assert found == maps
        assert [values(layer.weight) for layer in found if hasattr(layer, "weight")] == before


# -- biases ---------------------------------------------------------------------------------------


def test_the_bias_of_the_last_weights_takes_the_gain_of_a_constant() -> None:
    (plain,) = folded([dense([[1.0, 1.0], [1.0, 1.0]], bias=[1.0, 2.0])], [10.0, 100.0], [3.0, 5.0])
    assert (values(plain.weight), values(plain.bias)) == ([[10.0, 10.0], [100.0, 100.0]], [3.0, 10.0])
    (maps,) = folded([conv(bias=True)], np.repeat([10.0, 100.0], 4), np.repeat([3.0, 5.0], 4), shape=(1, 3, 3))
    assert values(maps.bias) == [3.0, 10.0]
    with pytest.raises(
        InputError, match=r"node 'n': a convolution's bias, .* allowed: equal time constants in a channel"
    ):
        folded([conv(bias=True)], np.ones(8), np.arange(1.0, 9.0), shape=(1, 3, 3))


def test_an_earlier_bias_passes_the_weights_after_it_and_takes_what_they_do_not() -> None:
    first, last = folded(
        [dense([[1.0, 0.0], [0.0, 1.0]], bias=[1.0, 2.0]), dense([[1.0, 1.0]], bias=[7.0])], [10.0], [30.0]
    )
    # 10 from the gain of the weights after it, 3 by itself
    assert (values(first.bias), values(last.weight), values(last.bias)) == ([3.0, 6.0], [[10.0, 10.0]], [210.0])


def test_earlier_biases_move_into_the_last_matrix_where_neurons_differ() -> None:
    early = dense([[1.0, 0.0], [0.0, 1.0]], bias=[1.0, 2.0])
    first, last = folded([early, dense([[1.0, 1.0], [1.0, 2.0]], bias=[7.0, 0.0])], [10.0, 100.0], [30.0, 50.0])
    # a constant of 1 + 2 + 7 and 1 + 4 arrives at the neurons
    assert (first.bias, values(last.bias)) == (None, [300.0, 250.0])
    assert values(last.weight) == [[10.0, 10.0], [100.0, 200.0]]
    with pytest.raises(
        InputError, match=r"node 'n': a bias before Scale, and neurons whose gains differ in another way"
    ):
        folded([dense([[1.0, 0.0], [0.0, 1.0]], bias=[1.0, 2.0]), hl.Scale(2, 1.0)], [10.0, 100.0], [30.0, 50.0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(bad: float) -> None:
    for maps, name in (
        ([dense([[bad, 1.0]])], "weight"), ([dense([[1.0, 1.0]], bias=[bad])], "bias"), ([hl.Scale(2, 1.0)], "factor"),
    ):  # fmt: skip
        gain = [bad, 1.0] if name == "factor" else [1.0]
        with pytest.raises(InputError, match=f"node 'n': a {name} .with r and w_in of the neurons folded in. is NaN"):
            folded(maps, gain)


def test_gains_of_every_kind_of_neuron_for_spikes_and_for_constants() -> None:
    unit, jump = TimeUnit("ms", "", True), SpikeMeaning("jump", 1.0, "")
    stepped = SpikeMeaning("jump", 1.0, "", SpikeMeaning("pulse", 0.5, ""))
    current = cuba(r=[2.0, 3.0], w_in=[5.0, 7.0], tau_syn=4.0, tau_mem=10.0)
    assert spike_gain("n", current, jump, (2,)).tolist() == [10.0, 21.0]
    assert spike_gain("n", current, SpikeMeaning("delta", 1.0, ""), (2,)).tolist() == [2.5, 5.25]
    assert constant_gain("n", current, jump, unit, (2,)).tolist() == [10.0, 21.0]
    # where spikes are jumps and a step is known, a constant is one jump a step: a current settles at tau_syn / step of it
    assert constant_gain("n", current, stepped, unit, (2,)).tolist() == [80.0, 168.0]
    assert constant_gain("n", lif(r=[2.0, 3.0]), jump, unit, (2,)).tolist() == [2.0, 3.0]
    assert constant_gain("n", li(r=2.0), jump, unit, (2,)).tolist() == [2.0, 2.0]
    assert constant_gain("n", integrate_and_fire(r=2.0), jump, unit, (2,)).tolist() == [2000.0, 2000.0]
    assert (stepped.step, jump.step, SpikeMeaning("jump", 1.0, "", jump).step) == (0.5, None, None)
    assert stepped.of(lif()).kind == "pulse"
    assert stepped.of(cubali()).kind == jump.of(lif()).kind == "jump"


def test_the_refusal_of_a_graph_with_and_without_currents_reckons_a_step_in_its_own_unit_of_time() -> None:
    current, plain = cuba(r=2.0, w_in=3.0, tau_syn=5.0, tau_mem=10.0), lif(r=2.0, tau=10.0)
    with pytest.raises(InputError) as caught:
        from_nir(row(linear(), current, linear(2, 2), plain, time_unit="ms"), reset="value")
    said = str(caught.value)
    # a step of 1 ms: jumps by 2 x 3 with a current, by 2 (1 - exp(-1 / 10)) without
    assert "spike=('jump', dt) " in said
    assert f"weights x {2 * -np.expm1(-0.1):.4g}..6;" in said
    assert f"weights x {2 * -np.expm1(-0.1):.4g}..1.2 for spike=0.001" in said
    assert "spike='delta' (NIR's text): weights x 0.2..1.2;" in said


# -- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.float16(1.5), np.float32), (np.float32(1.5), np.float32), (1.5, np.float64), (np.int8(1), np.float64), (3, np.float64),
        (np.uint16(3), np.float64), (torch.tensor(1.5, dtype=torch.bfloat16), np.float32), (torch.ones(2, requires_grad=True), np.float32),
    ],
)  # fmt: skip
def test_numbers_are_single_where_they_were_no_more_and_double_otherwise(given: Any, dtype: Any) -> None:
    found = numbers("n", "r", given)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.asarray(given.detach().float() if isinstance(given, Tensor) else given))


def test_numbers_are_a_copy_and_nothing_else_is_one() -> None:
    array = np.asfortranarray(np.ones((2, 3)))
    found = numbers("n", "r", array)
    found[0, 0] = 7.0
    assert (array[0, 0], found.flags.c_contiguous) == (1.0, True)
    for bad in (True, 1j, "1", np.array([True]), None):
        with pytest.raises(InputError, match="node 'n': r has values of dtype .*; allowed: real numbers"):
            numbers("n", "r", bad)


MAPS = (2, 3, 2)


@pytest.mark.parametrize(
    ("sides", "shape", "kind"),
    [
        ((), (4,), "one"), ((1, 1), (4,), "one"), ((4,), (4,), "each"), ((1, 4), (4,), "each"), ((2, 2), (4,), "each"),
        ((), MAPS, "one"), (MAPS, MAPS, "each"), ((1, *MAPS), MAPS, "each"), ((12,), MAPS, "each"), ((1, 12, 1), MAPS, "each"),
        ((2,), MAPS, "channel"), ((2, 1, 1), MAPS, "channel"), ((1, 2), MAPS, "channel"), ((1, 2, 1, 1), MAPS, "channel"),
        ((3,), (4,), None), ((6, 2), MAPS, None), ((3, 2, 2), MAPS, None), ((3,), MAPS, None), ((3, 2), MAPS, None),
    ],
)  # fmt: skip
def test_values_are_one_for_all_one_a_unit_or_one_a_channel(sides: Any, shape: Any, kind: str | None) -> None:
    given = np.arange(1.0, 1.0 + np.prod(sides, dtype=int)).reshape(sides)
    n = int(np.prod(shape))
    if kind is None:
        more = ", or one for each of its 2 channels" if len(shape) == 3 else ""
        with pytest.raises(InputError) as caught:
            per_unit("n", "r", given, shape)
        assert str(caught.value) == (
            f"node 'n': r has shape {sides}; allowed: one number, or one for each of its {n} units {shape}{more}"
        )
        return
    expected = {"one": np.ones(n), "each": np.arange(1.0, n + 1), "channel": np.repeat([1.0, 2.0], 6)}[kind]
    assert per_unit("n", "r", given, shape).tolist() == expected.tolist()


def test_words_are_read_from_bytes_and_anything_else() -> None:
    assert [text(value) for value in ("a", b"a", 3, b"\xff")] == ["a", "a", "3", "\ufffd"]


# -- resets, receivers, matrices ------------------------------------------------------------------


def test_resets_are_asked_for_where_they_make_a_difference() -> None:
    stated = cuba(metadata={"reset": b"subtract"})
    assert resets_of({"a": cuba()}).evidence.startswith("value, not stated; the same for a current that carries")
    assert str(resets_of({"a": stated})) == "reset: subtract, metadata reset"
    assert (
        resets_of({"a": stated, "b": lif(metadata={"reset": "value"})}).evidence == "subtract and value, metadata reset"
    )
    assert resets_of({"a": stated, "b": cuba()}).evidence.startswith("subtract and value, not stated")
    assert resets_of({"a": li()}).evidence == "none, no neuron spikes"
    assert dict(resets_of({"a": stated, "b": lif()}, "value").kinds) == {"a": "value", "b": "value"}
    with pytest.raises(InputError, match=r"how 'b', 'c' \(LIF\) is reset NIR does not say"):
        resets_of({"a": cuba(), "b": lif(), "c": integrate_and_fire()})
    with pytest.raises(InputError, match="node 'a': metadata reset = 'zero'; allowed: 'value', 'subtract'. Pass reset"):
        resets_of({"a": cuba(metadata={"reset": "zero"})})
    with pytest.raises(OptionError, match="reset = 'zero'; allowed: 'value', 'subtract'"):
        resets_of({"a": cuba()}, "zero")


def test_what_each_package_takes_otherwise_is_told_by_node() -> None:
    nodes = {
        "c": cuba(v_reset=0.0), "d": cuba(v_reset=[0.0, 0.5]), "l": lif(v_reset=0.0), "i": integrate_and_fire(v_reset=0.0),
        "r": li(), "s": cubali(), "w": linear(2, 2), "v": nir.Affine(np.ones((2, 2)), np.zeros(2)),
    }  # fmt: skip
    assert list(taken_otherwise(nodes, [("c", "w"), ("w", "d")])) == [
        "norse: 'l' (r is taken for 1); 'r', 's' (left out); 'd' (v_reset is taken for 0)",
        "snnTorch: 'd' (v_reset is taken for 0)",
        "rockpool: 'r' (tau is rounded to a whole number); 'd' (v_reset is taken for 0)",
        "sinabs: 'l' (tau is taken for a number of steps); 'i' (the membrane is held above -v_threshold); 'd' (v_reset is taken for 0)",
    ]  # fmt: skip
    plain = {"c": nodes["c"], "w": nodes["w"]}
    assert list(taken_otherwise(plain, [("c", "w")])) == []
    loops = [("c", "w"), ("w", "c"), ("l", "v"), ("v", "l"), ("i", "w"), ("w", "i")]
    assert list(taken_otherwise({name: nodes[name] for name in ("c", "l", "i", "w", "v")}, loops))[1:3] == [
        "snnTorch: 'c', 'l' (its input is led through its recurrent weights)",
        "rockpool: 'c', 'l' (its recurrent weights are not run)",
    ]


def written(layer: Any) -> nir.NIRGraph:
    nodes = {"in": hl.Input(2), "n": hl.LIF(2, 1e-2, 5e-3)}
    return hl.Network.graph(nodes, [hl.Projection("in", "n", layer)]).to_nir()


def test_synapses_are_written_as_a_matrix_in_which_those_that_stand_twice_add_up() -> None:
    sparse = hl.Sparse(2, 2, [0, 0, 1], [1, 1, 0], torch.tensor([1.0, 2.0, 4.0]))
    assert written(sparse).nodes["in_n_dense"].weight.tolist() == [[0.0, 4.0], [3.0, 0.0]]


def test_delays_of_a_source_are_written_and_those_of_synapses_refused() -> None:
    def delays(layer: Any) -> Any:
        return written(layer).nodes["in_n_delay"].delay.tolist()

    late = torch.tensor([1e-3, 2e-3])
    assert delays(hl.Dense(2, 2, delay=late)) == late.tolist()
    same = hl.Sparse(2, 2, [0, 1, 1], [0, 0, 1], torch.ones(3), delay=torch.tensor([1e-3, 2e-3, 2e-3]))
    assert delays(same) == late.tolist()
    other = hl.Sparse(2, 2, [0, 1, 1], [0, 0, 1], torch.ones(3), delay=torch.tensor([1e-3, 2e-3, 3e-3]))
    with pytest.raises(
        InputError, match=r"delays that differ between synapses of one source, .*; allowed: one delay a"
    ):
        written(other)


def test_what_an_exporter_means_moves_as_much_as_it_means() -> None:
    for exporter, factor in (("hwloop", 1.0), ("rockpool", 5e-3), ("norse", 5e-3)):
        net = from_nir(row(linear(), cuba(), time_unit="s", exporter=exporter))  # r = 1, w_in = tau_syn = 5e-3
        np.testing.assert_allclose(net.layers[0].weight.detach(), factor, rtol=1e-12)  # type: ignore[union-attr, operator]
