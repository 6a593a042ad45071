"""Pieces of a network that is larger than its chip, part by part: what stands where, and what drives it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError
from hwloop.mapping import Program
from hwloop.mapping.constraints import Block
from hwloop.mapping.partition import Part, PartitionedProgram, partition_network

from .small_chip import limits

TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def dense(n_in: int, n_out: int, seed: int = 0) -> hl.Dense:
    return hl.Dense(n_in, n_out).init_normal_(0.0, 1.0, torch.Generator().manual_seed(seed))


def chain() -> hl.Network:
    """Three inputs, five neurons, two neurons."""
    return hl.Network([dense(3, 5), hl.LIF(5, **TAUS), dense(5, 2, 1), hl.LIF(2, **TAUS)])


def cut(net: hl.Network, neurons: int, fan_in: int = 8, joined: int = 1, **options: Any) -> PartitionedProgram:
    chip = limits(n_neurons=neurons, fan_in=fan_in, joined=joined, recurrent=True)
    program = partition_network(net, chip, **options)
    assert isinstance(program, PartitionedProgram)
    return program


def test_a_piece_holds_as_many_neurons_as_there_are_and_takes_the_rest_from_the_pieces_before() -> None:
    program = cut(chain(), 4)
    first, second = program.pieces
    assert first.parts == (Part(0, 0, 4),)
    assert first.inputs == (Part(-1, 0, 3),)
    assert [layer.blocks for layer in first.program.layers] == [(Block(-1, 0, 3),)]
    assert second.parts == (Part(0, 4, 1), Part(1, 0, 2))
    # the second layer gets four of its units from the piece before, after the three inputs, and one from beside it
    assert second.inputs == (Part(-1, 0, 3), Part(0, 0, 4))
    assert [layer.blocks for layer in second.program.layers] == [(Block(-1, 0, 3),), (Block(-1, 3, 4), Block(0, 0, 1))]
    assert [layer.neurons.tolist() for layer in program.layers] == [[0, 1, 2, 3, 0], [1, 2]]
    assert program.notes == ("runs in 2 pieces, one after the other, each with the recorded spikes of those before it",)
    assert (program.mask, program.inputs, program.warnings) == ((), (), ())


def test_a_part_has_the_rows_of_its_neurons() -> None:
    net = hl.Network.graph(
        {
            "in": hl.Input(3),
            "n": hl.LIF(5, v_th=torch.arange(1.0, 6.0), v_init=torch.linspace(0.1, 0.5, 5), **TAUS),
            "out": hl.LIF(2, **TAUS),
        },
        [hl.Projection("in", "n", hl.Dense(3, 5, bias=True)), hl.Projection("n", "out", dense(5, 2, 1))],
    )
    chip = limits(n_neurons=4, fan_in=8, recurrent=True, bias=True, initial_membrane=True)
    program = partition_network(net, chip)
    assert isinstance(program, PartitionedProgram)
    whole, last = program.layers[0], program.pieces[1].program.layers[0]
    assert program.pieces[1].parts[0] == Part(0, 4, 1)
    assert last.codes.tolist() == whole.codes[4:].tolist()
    assert last.parameters["v_th"].tolist() == [5.0]
    for name in ("bias", "v_init", "synapses"):
        assert getattr(last, name).tolist() == getattr(whole, name)[4:].tolist()
    assert (last.neurons.tolist(), last.gain, last.delay, last.scale) == ([0], None, None, whole.scale)
    assert program.inputs == (("in", 3),)


def test_delays_of_synapses_are_cut_with_their_rows_and_axonal_ones_are_not() -> None:
    late = torch.tensor([1e-3, 2e-3, 3e-3])
    axonal = hl.Network([hl.Dense(3, 5, delay=late), hl.LIF(5, **TAUS)])
    chip = limits(n_neurons=4, fan_in=8, recurrent=True, delays=True, synaptic_delays=True)
    for net, shape in (
        (axonal, (3,)),
        (
            hl.Network.graph(
                {"in": hl.Input(3), "n": hl.LIF(5, **TAUS)},
                [hl.Projection("in", "n", [dense(3, 5), hl.Delay(5, torch.linspace(1e-3, 5e-3, 5))])],
            ),
            (1, 3),
        ),
    ):
        program = partition_network(net, chip)
        assert isinstance(program, PartitionedProgram)
        last = program.pieces[1].program.layers[0]
        assert last.delay is not None
        assert last.delay.shape == shape
        assert last.delay.ravel().tolist() == pytest.approx([1e-3, 2e-3, 3e-3] if shape == (3,) else [5e-3] * 3)


def test_circuits_are_joined_to_neurons_that_have_more_synapses_than_one() -> None:
    # three inputs take two circuits of two synapses, five take three: 3 of 7 / 2 and then 1 / 1
    program = cut(chain(), 7, fan_in=2, joined=3)
    assert [piece.parts for piece in program.pieces] == [
        (Part(0, 0, 3),), (Part(0, 3, 2), Part(1, 0, 1)), (Part(1, 1, 1),),
    ]  # fmt: skip
    assert [layer.neurons.tolist() for layer in program.layers] == [[0, 2, 4, 0, 2], [4, 0]]
    assert program.notes[1:] == ("3 circuits are joined to a neuron where it has more than 2 synapses",)
    with pytest.raises(CompileError, match="a fan-in of 4"):
        cut(chain(), 7, fan_in=2, joined=2)


def test_a_neuron_without_synapses_takes_one_circuit() -> None:
    nodes = {"in": hl.Input(2), "n": hl.LIF(5, **TAUS), "out": hl.LIF(2, **TAUS)}
    none = hl.Sparse(2, 5, [], [], torch.zeros(0))
    program = cut(hl.Network.graph(nodes, [hl.Projection("in", "n", none), hl.Projection("n", "out", dense(5, 2))]), 6)
    assert [piece.parts for piece in program.pieces] == [(Part(0, 0, 5), Part(1, 0, 1)), (Part(1, 1, 1),)]
    assert program.layers[0].neurons.tolist() == [0, 1, 2, 3, 4]


def test_masked_circuits_are_left_out() -> None:
    program = cut(chain(), 6, mask=[3, 0, 3])
    assert [piece.parts for piece in program.pieces] == [(Part(0, 0, 4),), (Part(0, 4, 1), Part(1, 0, 2))]
    assert [layer.neurons.tolist() for layer in program.layers] == [[1, 2, 4, 5, 1], [2, 4]]
    assert program.mask == (0, 3)


@pytest.mark.parametrize(("neurons", "fan_in", "mask", "whole"), [(7, 5, [], True), (6, 5, [], False), (8, 5, [0], True), (8, 5, [0, 1], False), (7, 4, [], False)])  # fmt: skip
def test_a_network_is_cut_only_where_it_does_not_fit(neurons: int, fan_in: int, mask: list[int], whole: bool) -> None:
    program = partition_network(chain(), limits(n_neurons=neurons, fan_in=fan_in, joined=2), mask=mask)
    assert type(program) is (Program if whole else PartitionedProgram)


def test_the_digest_tells_how_a_network_was_cut() -> None:
    a, b = cut(chain(), 4), cut(chain(), 4)
    assert a.digest == b.digest
    object.__setattr__(b, "pieces", (*b.pieces[:1], *b.pieces[:1]))
    del b.__dict__["digest"]
    assert a.digest != b.digest


def test_what_was_lost_is_told_once_and_not_where_weights_move() -> None:
    net = chain()
    with torch.no_grad():
        net.blocks[0][0].weight.fill_(1.0)[0, 0] = 1000.0
    program = cut(net, 4)
    assert len(program.warnings) == 1
    assert program.warnings[0].startswith("layer 0 (Dense): 14 of 15 weights became 0")
    moved = program.with_weights(net)
    assert isinstance(moved, PartitionedProgram)
    assert (moved.warnings, moved.scales, moved.mask) == ((), program.scales, program.mask)
    assert partition_network(net, limits(n_neurons=4, fan_in=8, weight_bits=None)).warnings == ()


def looping(loop: int) -> hl.Network:
    """Two neurons before a loop of ``loop`` neurons, half of them in each of two populations."""
    n = loop // 2
    return hl.Network.graph(
        {"in": hl.Input(2), "a": hl.LIF(2, **TAUS), "b": hl.LIF(n, **TAUS), "c": hl.LIF(n, **TAUS)},
        [
            hl.Projection("in", "a", dense(2, 2)), hl.Projection("a", "b", dense(2, n)), hl.Projection("b", "c", dense(n, n)),
            hl.Projection("c", "b", dense(n, n)),
        ],
        output="c",
    )  # fmt: skip


def test_a_loop_begins_a_piece_where_it_does_not_fit_behind_others_and_is_never_cut() -> None:
    assert [[part.layer for part in piece.parts] for piece in cut(looping(4), 5).pieces] == [[0], [1, 2]]
    assert isinstance(partition_network(looping(4), limits(n_neurons=6, fan_in=8, recurrent=True)), Program)
    assert [[part.layer for part in piece.parts] for piece in cut(looping(4), 4).pieces] == [[0], [1, 2]]
    with pytest.raises(CompileError) as caught:
        cut(looping(6), 5)
    error = caught.value
    assert error.limit == "loops of at most 5 circuits: a loop is never cut"
    assert error.value == "6 circuits in a loop of 2 populations"
    assert error.layer in ("population 'b' (LIF)", "population 'c' (LIF)")
    assert error.fix == "build the loop of populations that need 1 circuits less, or mask fewer neurons"


def test_blocks_within_a_loop_name_the_rows_of_the_piece() -> None:
    last = cut(looping(4), 5).pieces[1]
    order = [part.layer for part in last.parts]
    by_layer = dict(zip(order, last.program.layers, strict=True))
    assert last.inputs == (Part(0, 0, 2),)
    assert by_layer[1].blocks == (Block(-1, 0, 2), Block(order.index(2), 0, 2))
    assert by_layer[2].blocks == (Block(order.index(1), 0, 2),)
    assert np.unique(np.concatenate([layer.neurons for layer in last.program.layers])).tolist() == [0, 1, 2, 3]
