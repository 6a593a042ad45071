"""NIR graphs of every structure as networks: rows, branches, loops, graphs in graphs, maps; and what is refused by name."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest
import torch

from hwloop import InputError
from hwloop.network import IF, LI, LIF, AvgPool2d, Conv2d, Delay, DeltaLIF, Dense, Flatten, Scale, SumPool2d
from hwloop.network.nir.read import from_nir
from hwloop.network.nir.shapes import settled

from .made import (
    conv,
    cuba,
    cubali,
    ends,
    graph,
    integrate_and_fire,
    li,
    lif,
    linear,
    nested,
    pool,
    projection,
    row,
    two_by_two,
    weight,
)

# -- rows -----------------------------------------------------------------------------------------


def test_a_row_of_weights_and_current_based_neurons_is_a_chain() -> None:
    net = from_nir(row(linear(4, 3), cuba(4), nir.Delay(np.full(4, 1e-3)), linear(2, 4), cuba()))
    assert net.is_plain_chain
    assert [type(layer) for layer in net.layers] == [Dense, LIF, Dense, LIF]
    assert net.blocks[1][0].delay is not None
    assert net.blocks[1][0].delay.tolist() == [1e-3] * 4


def test_any_other_graph_keeps_the_names_of_its_file() -> None:
    net = from_nir(row(linear(4, 3), cuba(4), linear(2, 4), li()))
    assert not net.is_plain_chain
    assert list(net.structure.nodes) == ["in", "n1", "n3"]
    assert net.structure.output == "n3"
    assert net.structure.readouts == ("n3",)


@pytest.mark.parametrize(
    ("node", "kind", "current"),
    [(cuba, LIF, True), (lif, DeltaLIF, False), (integrate_and_fire, IF, False), (li, LI, False), (cubali, LI, True)],
)
def test_every_kind_of_neuron_is_read(node: Any, kind: type, current: bool) -> None:
    net = from_nir(row(linear(), node()), reset="value")
    found = net.structure.nodes[net.structure.output]
    assert type(found) is kind
    assert (getattr(found, "tau_syn", None) is not None) == current


def test_conv2d_pools_and_flatten_become_maps() -> None:
    net = from_nir(
        row(
            conv(2, 1, 3, 8, stride=np.array([1, 1]), padding=(1, 1)), integrate_and_fire((2, 8, 8)), pool(nir.SumPool2d, 2),
            conv(4, 2, 3, 4, groups=2), lif((4, 2, 2)), pool(nir.AvgPool2d, [2, 1]), nir.Flatten({"input": np.array([4, 1, 2])}, 0, -1),
            linear(3, 8), cuba(3), n_in=[1, 8, 8],
        ),
        reset="value",
    )  # fmt: skip
    kinds = [[type(layer) for layer in link.composition.maps] for link in net.structure.links]
    assert kinds == [[Conv2d], [SumPool2d, Conv2d], [AvgPool2d, Flatten, Dense]]
    assert [node.shape for node in net.structure.nodes.values()] == [(1, 8, 8), (2, 8, 8), (4, 2, 2), (3,)]
    second = projection(net, "n4")[1]
    assert (second.groups, second.c_in, second.padding_size) == (2, 2, (0, 0))
    assert projection(net, "n8")[0].kernel_size == (2, 1)


def test_conv1d_is_a_convolution_of_height_1() -> None:
    weights = np.arange(12.0).reshape(2, 2, 3)
    node = nir.Conv1d(10, weights, 2, 1, 1, 1, np.zeros(2))
    for shape in ([2, 10], [1, 2, 10]):
        net = from_nir(row(node, cuba((2, 5)), n_in=shape))
        (found,) = projection(net, "n1")
        assert found.weight.shape == (2, 2, 1, 3)
        assert (found.stride, found.padding_size) == ((1, 2), (0, 1))
        assert net.structure.nodes["in"].shape == (2, 1, 10)
        x = torch.rand(20, dtype=torch.float64)
        expected = torch.nn.functional.conv1d(x.reshape(1, 2, 10), torch.from_numpy(weights), stride=2, padding=1)
        torch.testing.assert_close(found.apply_to(x, (2, 1, 10)), expected.reshape(-1))


@pytest.mark.parametrize(
    ("given", "expected"), [("same", (2, 2)), ("valid", (0, 0)), (1, (1, 1)), (np.array([1, 0]), (1, 0))]
)
def test_padding_in_words_and_numbers(given: Any, expected: tuple[int, int]) -> None:
    node = conv(1, 1, 3, None, padding=given, dilation=(2, 2))
    sides = [8 + 2 * p - 4 for p in expected]
    found = from_nir(row(node, cuba((1, *sides)), n_in=[1, 8, 8]))
    assert projection(found, "n1")[0].padding_size == expected


def test_scales_and_delays_stand_where_the_file_has_them() -> None:
    nodes = {
        "in": nir.Input(np.array([3])), "s": nir.Scale(np.array([1.0, 2.0, 3.0])), "d0": nir.Delay(np.full(3, 1e-3)),
        "w": linear(2, 3), "d1": nir.Delay(np.array([2e-3, 3e-3])), "n": cuba(), "out": nir.Output(np.array([2])),
    }  # fmt: skip
    net = from_nir(graph(nodes, list(pairwise(nodes))))
    maps = projection(net, "n")
    assert [type(layer) for layer in maps] == [Scale, Dense, Delay]
    assert maps[0].factor.tolist() == [1.0, 2.0, 3.0]
    assert maps[1].delay.tolist() == [1e-3] * 3
    assert maps[2].delay.tolist() == [2e-3, 3e-3]


def test_two_matrices_in_a_row_are_one_projection_whose_last_takes_the_gains() -> None:
    net = from_nir(row(linear(4, 3, 2.0), linear(2, 4, 3.0), cuba(r=[1.0, 5.0])))
    first, second = projection(net, "n2")
    assert np.all(first.weight.detach().numpy() == 2.0)
    assert second.weight[:, 0].tolist() == [3.0, 15.0]


def test_gains_that_no_weights_can_take_become_a_scale() -> None:
    mixed = np.where(np.arange(18).reshape(2, 3, 3) % 2, 2.0, 1.0)
    net = from_nir(row(conv(2, 1, 3, 5), integrate_and_fire((2, 3, 3), r=mixed), n_in=[1, 5, 5]), reset="value")
    assert [type(layer) for layer in projection(net, "n1")] == [Conv2d, Scale]
    by_channel = np.broadcast_to(np.array([2.0, 3.0])[:, None, None], (2, 3, 3))
    net = from_nir(row(conv(2, 1, 3, 5), integrate_and_fire((2, 3, 3), r=by_channel), n_in=[1, 5, 5]), reset="value")
    (only,) = projection(net, "n1")
    np.testing.assert_array_equal(only.weight[:, 0, 0, 1].tolist(), [2.0, 30.0])


# -- branches, loops, nesting ---------------------------------------------------------------------


def test_a_skip_connection_is_a_second_projection() -> None:
    net = from_nir(two_by_two(("in", "skip"), ("skip", "n"), skip=linear(2, 2, 7.0)))
    assert [weight(net, "n", k)[0, 0] for k in (0, 1)] == [1.0, 7.0]
    assert not net.is_plain_chain


def test_recurrence_with_and_without_weights() -> None:
    net = from_nir(two_by_two(("n", "r"), ("r", "n"), r=linear(2, 2, -1.0)))
    assert [(link.source, link.target) for link in net.structure.links] == [("in", "n"), ("n", "n")]
    assert net.structure.components[0].loop
    bare = from_nir(two_by_two(("n", "n")))
    assert bare.structure.links[1].composition.weight().tolist() == [1.0, 1.0]
    scaled = from_nir(two_by_two(("n", "n"), n=cuba(r=3.0)))
    assert scaled.structure.links[1].composition.weight().tolist() == [3.0, 3.0]


def test_several_inputs_keep_their_names() -> None:
    nodes = {**ends(), "other": nir.Input(np.array([3])), "w": linear(2, 2), "v": linear(2, 3), "n": cuba()}
    net = from_nir(graph(nodes, [("in", "w"), ("w", "n"), ("other", "v"), ("v", "n"), ("n", "out")]))
    assert net.structure.inputs == ("in", "other")
    assert net.n_in == 5


def test_edges_into_one_map_add_up_and_its_bias_counts_once() -> None:
    both = nir.Affine(np.full((2, 2), 2.0), np.array([1.0, 3.0]))
    after = nir.Affine(np.eye(2), np.array([0.5, 0.5]))
    nodes = {**ends(), "more": nir.Input(np.array([2])), "w": both, "v": after, "n": cuba()}
    net = from_nir(graph(nodes, [("in", "w"), ("more", "w"), ("w", "v"), ("v", "n"), ("n", "out")]))
    offsets = [link.composition.offset() for link in net.structure.links]
    total = sum(offset.detach() for offset in offsets if offset is not None)
    # r w_in = 5e-3 times a constant S of v(w(0)) = b_w + b_v
    np.testing.assert_allclose(total, 5e-3 * np.array([1.5, 3.5]), rtol=1e-12)
    assert [offset is not None for offset in offsets] == [True, False]


def test_a_graph_in_a_graph_is_resolved_its_nodes_named_by_both() -> None:
    outer = graph(
        {**ends(), "w": linear(2, 2), "n": cuba(), "sub": nested()},
        [("in", "w"), ("w", "n"), ("n", "sub"), ("sub", "out")],
    )
    net = from_nir(outer)
    assert net.is_plain_chain
    twice = graph({**ends(), "a": nested(), "b": nested()}, [("in", "a"), ("a", "b"), ("b", "out"), ("b", "b")])
    assert list(from_nir(twice).structure.nodes) == ["in", "a.n", "b.n"]
    assert [(link.source, link.target) for link in from_nir(twice).structure.links] == [
        ("in", "a.n"), ("a.n", "b.n"), ("b.n", "b.n")
    ]  # fmt: skip


def test_a_nested_graph_that_only_passes_on_is_a_wire() -> None:
    wire = graph(ends(), [("in", "out")])
    net = from_nir(
        graph(
            {**ends(), "wire": wire, "w": linear(2, 2), "n": cuba()},
            [("in", "wire"), ("wire", "w"), ("w", "n"), ("n", "out")],
        )
    )
    assert net.is_plain_chain


def test_a_name_that_one_node_left_over_must_mean_is_taken_for_it_and_said(caplog: pytest.LogCaptureFixture) -> None:
    wrong = nested([("in", "l"), ("l", "lif"), ("lif", "out")])
    net = from_nir(graph({**ends(), "s": wrong}, [("in", "s"), ("s", "out")]))
    assert (
        "edges of the graph 's' name 'lif', which is not in it; taken for 'n', which no edge names" in net.nir_evidence
    )
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    # two left over: nobody knows which
    with pytest.raises(InputError, match="no node 's.lif'"):
        from_nir(
            graph(
                {**ends(), "s": nested([("in", "l"), ("l", "lif"), ("lif", "out")], m=cuba())},
                [("in", "s"), ("s", "out")],
            )
        )


def test_the_output_may_be_chosen_where_there_are_several() -> None:
    nodes = {
        **ends(),
        "w": linear(2, 2),
        "n": cuba(),
        "v": linear(3, 2),
        "m": cuba(3),
        "out2": nir.Output(np.array([3])),
    }
    edges = [("in", "w"), ("w", "n"), ("n", "out"), ("in", "v"), ("v", "m"), ("m", "out2")]
    with pytest.raises(
        InputError,
        match=r"2 Output nodes \('out', 'out2'\); allowed: one, or pass output, one of 'out', 'out2', 'n', 'm'",
    ):
        from_nir(graph(nodes, edges))
    assert from_nir(graph(nodes, edges), output="out2").structure.output == "m"
    assert from_nir(graph(nodes, edges), output="n").structure.output == "n"
    with pytest.raises(InputError, match="output = 'w'; allowed: 'out', 'out2', 'n', 'm'"):
        from_nir(graph(nodes, edges), output="w")


def test_a_shape_may_come_from_neurons_of_a_loop() -> None:
    nodes = {**ends(), "w": linear(2, 2), "n": cuba(1), "r": linear(2, 2)}
    net = from_nir(graph(nodes, [("in", "w"), ("w", "n"), ("n", "r"), ("r", "n"), ("n", "out")]))
    assert net.structure.nodes["n"].n == 2


# -- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (2,), (1, 2), (2, 1), (1, 1, 2)])
def test_parameters_of_any_shape_stand_for_all_neurons_or_for_each(shape: tuple[int, ...]) -> None:
    net = from_nir(row(linear(2, 3), cuba(shape, tau_mem=20e-3), n_out=2))
    assert net.blocks[0][1].n == 2
    assert net.blocks[0][1].tau_mem.tolist() == [20e-3, 20e-3]


@pytest.mark.parametrize("shape", [(2, 4, 4), (2,), (2, 1, 1), (1, 2, 4, 4), ()])
def test_parameters_of_maps_are_of_each_unit_or_of_each_channel(shape: tuple[int, ...]) -> None:
    values = (
        np.broadcast_to(np.array([1.0, 2.0])[:, None, None], (2, 4, 4)) if len(shape) > 2 and shape[-1] > 1 else None
    )
    threshold = values.reshape(shape) if values is not None else (np.array([1.0, 2.0]).reshape(shape) if shape else 1.0)
    node = integrate_and_fire(shape, v_threshold=threshold)
    net = from_nir(row(conv(2, 1, 3, 6), node, n_in=[1, 6, 6], n_out=[2, 4, 4]), reset="value")
    found = net.structure.nodes["n1"]
    assert found.shape == (2, 4, 4)
    assert found.v_th.reshape(2, -1)[:, 5].tolist() == ([1.0, 2.0] if shape else [1.0, 1.0])  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(
    ("sides", "expected"), [([5], (5,)), ([1, 5], (5,)), ([1, 1, 5], (5,)), (5, (5,)), ([1, 1, 1, 5], (5,))]
)
def test_a_batch_axis_of_one_is_taken_off_an_input(sides: Any, expected: tuple[int, ...]) -> None:
    nodes = {"in": nir.Input(np.array(sides)), "w": linear(2, 5), "n": cuba(), "out": nir.Output(np.array([1, 1, 2]))}
    net = from_nir(graph(nodes, list(pairwise(nodes))))
    assert net.structure.nodes["input"].shape == expected


@pytest.mark.parametrize("sides", [[1, 8, 8], [1, 1, 8, 8], [8, 8]])
def test_a_channel_of_one_is_none_of_a_batch(sides: Any) -> None:
    net = from_nir(row(conv(), integrate_and_fire((2, 6, 6)), n_in=sides), reset="value")
    assert net.structure.nodes["in"].shape == (1, 8, 8)


def test_maps_may_be_flattened_by_the_weights_themselves() -> None:
    net = from_nir(row(linear(2, 12), cuba(), n_in=[3, 2, 2]))
    assert net.n_in == 12


def test_the_graph_that_is_read_stays_as_it_is() -> None:
    made = row(
        nir.Affine(np.array([[2.0]]), np.array([0.5])), cuba(1, r=3.0), nir.Scale(np.array([2.0])), lif(1, r=4.0)
    )
    before = {
        (name, key): np.array(value)
        for name, node in made.nodes.items()
        for key, value in vars(node).items()
        if isinstance(value, np.ndarray)
    }
    net = from_nir(made, reset="value")
    with torch.no_grad():
        for value in net.state_dict().values():
            value.fill_(7.0)
    for (name, key), value in before.items():
        np.testing.assert_array_equal(getattr(made.nodes[name], key), value)


def test_neurons_of_another_number_are_no_maps() -> None:
    """Maps stay maps where the file lists a neuron a unit, or one a channel, and nowhere else."""
    assert settled((2, 3, 3), None) == (2, 3, 3)
    assert settled((2, 3, 3), (18,)) == settled((2, 3, 3), (2,)) == (2, 3, 3)
    assert settled((2, 3, 3), (5,)) == (5,)
    assert settled((18,), (18,)) == (18,)
    assert settled((18,), (2, 3, 3)) == (2, 3, 3)
