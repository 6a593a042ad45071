"""Networks larger than a chip: cut into pieces, equal to an unlimited chip with the same circuits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError, OptionError, TargetError
from hwloop.mapping.partition import PartitionedProgram
from hwloop_emulator import EmulatorTarget, Preset
from hwloop_emulator.many.device import Population

TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def dense(n_in: int, n_out: int, mean: float, seed: int = 0) -> hl.Dense:
    return hl.Dense(n_in, n_out).double().init_normal_(mean, abs(mean) / 2, torch.Generator().manual_seed(seed))


def lif(n: int, **options: Any) -> hl.LIF:
    return hl.LIF(n, **TAUS, **options).double()


def chain() -> hl.Network:
    return hl.Network([dense(20, 30, 0.6), lif(30), dense(30, 6, 0.5, 1), lif(6)])


def graph() -> hl.Network:
    """A skip connection and a loop."""
    return hl.Network.graph(
        {"in": hl.Input(20), "a": lif(14), "b": lif(5), "c": lif(4), "out": lif(3)},
        [
            hl.Projection("in", "a", dense(20, 14, 0.6)), hl.Projection("a", "b", dense(14, 5, 0.4, 1)),
            hl.Projection("b", "c", dense(5, 4, 0.8, 2)), hl.Projection("c", "b", dense(4, 5, -0.3, 3)),
            hl.Projection("a", "out", dense(14, 3, 0.3, 4)), hl.Projection("b", "out", dense(5, 3, 0.6, 5)),
        ],
    )  # fmt: skip


def inputs(seed: int = 0) -> hl.Spikes:
    first = torch.rand(5, 20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2e-2
    return hl.Spikes.from_first_times(first, 5e-2)


def chip(neurons: int, fan_in: int, joined: int = 1, base: str = "ideal", bits: int | None = 6) -> EmulatorTarget:
    data = Preset.load(base).model_dump(exclude_unset=True)
    limits = {"n_neurons": neurons, "fan_in": fan_in, "joined": joined, "weight_bits": bits}
    data["limits"].update({name: {"value": value, "source": "test"} for name, value in limits.items() if value})
    return EmulatorTarget("7", preset=Preset.model_validate(data), session=0)


def assert_equal(found: hl.Record, wanted: hl.Record) -> None:
    for ours, theirs in zip(found.populations, wanted.populations, strict=True):
        assert int(theirs.counts.sum()) > 0
        assert torch.equal(ours.counts, theirs.counts)
        assert torch.equal(ours.units, theirs.units)
        torch.testing.assert_close(ours.times, theirs.times, rtol=1e-12, atol=0)


@pytest.mark.parametrize("net", [chain(), graph()], ids=["chain", "graph"])
def test_pieces_one_after_the_other_equal_an_unlimited_chip(net: hl.Network) -> None:
    small, large = chip(24, 8, joined=4), chip(1000, 1000)
    program = hl.compile(net, small, partition=True)
    assert isinstance(program, PartitionedProgram)
    assert len(program.pieces) >= 3
    assert f"runs in {len(program.pieces)} pieces" in str(program.report())
    with small.open() as device, large.open() as whole:
        device.load(program)
        whole.load(hl.compile(net, whole))
        assert_equal(device.run(inputs()), whole.run(inputs()))
        assert device.run(inputs(), repeats=2).output.times.shape[0] == 10


def test_no_piece_has_more_than_the_chip_and_every_neuron_stands_once() -> None:
    program = hl.compile(graph(), chip(24, 8, joined=4), partition=True)
    assert isinstance(program, PartitionedProgram)
    for piece in program.pieces:
        circuits = sum(layer.n_out * -(-layer.fan_in // 8) for layer in piece.program.layers)
        assert circuits <= 24
        used = np.concatenate([layer.neurons for layer in piece.program.layers])
        assert len(np.unique(used)) == len(used)
    for layer, size in enumerate((14, 5, 4, 3)):
        parts = [part for piece in program.pieces for part in piece.parts if part.layer == layer]
        assert [part.start for part in parts] == np.cumsum([0, *(part.size for part in parts)])[:-1].tolist()
        assert sum(part.size for part in parts) == size


def test_populations_of_a_loop_stand_in_one_piece() -> None:
    program = hl.compile(graph(), chip(24, 8, joined=4), partition=True)
    assert isinstance(program, PartitionedProgram)
    (holding,) = [piece for piece in program.pieces if any(part.layer == 1 for part in piece.parts)]
    assert any(part.layer == 2 for part in holding.parts)


def test_the_circuits_of_a_cut_network_have_the_mismatch_of_those_of_an_unlimited_chip() -> None:
    small = chip(16, 1000, base="bss2").preset.without_trial_noise()
    target = EmulatorTarget("7", preset=small, session=0)
    net = hl.Network([dense(20, 30, 0.6), lif(30)])
    program = hl.compile(net, target, partition=True)
    assert isinstance(program, PartitionedProgram)
    assert [part.size for piece in program.pieces for part in piece.parts] == [16, 14]
    first = hl.Network([dense(20, 16, 1.0), lif(16)])
    with torch.no_grad():
        first.blocks[0][0].weight.copy_(net.blocks[0][0].weight[:16])
    with target.open() as device, target.open() as alone:
        device.load(program)
        alone.load(hl.compile(first, alone, weight_scale=list(program.scales)))
        ours, theirs = device.run(inputs()).output, alone.run(inputs()).output
        assert torch.equal(ours.unit_counts()[:, :16], theirs.unit_counts())
        assert torch.equal(ours.first_times()[:, :16], theirs.first_times())


def test_a_network_that_fits_is_not_cut() -> None:
    program = hl.compile(chain(), chip(100, 100), partition=True)
    assert program.digest == hl.compile(chain(), chip(100, 100)).digest


def test_changed_weights_keep_pieces_and_scales() -> None:
    net, target = chain(), chip(16, 8, joined=4)
    program = hl.compile(net, target, partition=True)
    with torch.no_grad():
        net.blocks[0][0].weight[0] += 0.3
    moved = program.with_weights(net)
    assert moved.scales == program.scales
    assert moved.digest != program.digest
    assert [piece.parts for piece in moved.pieces] == [piece.parts for piece in program.pieces]  # type: ignore[attr-defined]


def test_a_loop_larger_than_the_chip_is_refused_with_what_is_too_much() -> None:
    with pytest.raises(CompileError, match="a loop is never cut"):
        hl.compile(graph(), chip(8, 100), partition=True)


def test_more_synapses_than_circuits_can_be_joined_for_are_refused() -> None:
    with pytest.raises(CompileError, match="fan-in of 16"):
        hl.compile(chain(), chip(16, 8, joined=2), partition=True)


def test_what_cannot_run_in_pieces_says_so() -> None:
    with pytest.raises(OptionError, match="no networks in pieces"):
        hl.compile(chain(), hl.device.registry.find("loihi"), partition=True)  # type: ignore[attr-defined]
    target = chip(16, 8, joined=4)
    program = hl.compile(chain(), target, partition=True)
    with target.open() as device:
        device.load(program)
        with pytest.raises(TargetError, match="in 5 pieces|pieces"):
            device.read_membrane(inputs(), 0, np.arange(1), np.zeros(1))
    with pytest.raises(TargetError, match="pieces"):
        next(Population([1], preset=target.preset).run(program, inputs()))


@pytest.mark.parametrize(("circuits", "pieces"), [(14 + 9, 2), (14 + 8, 3)])
def test_a_loop_that_just_fits_behind_others_stays_with_them(circuits: int, pieces: int) -> None:
    """14 neurons, a loop of 9, and an output of 3."""
    program = hl.compile(graph(), chip(circuits, 100), partition=True)
    assert isinstance(program, PartitionedProgram)
    assert len(program.pieces) == pieces - (circuits == 22)
    together = [piece for piece in program.pieces if {part.layer for part in piece.parts} >= {0, 1, 2}]
    assert len(together) == (circuits == 23)


def test_whether_a_network_fits_is_counted_in_neurons_not_in_inputs() -> None:
    """Two layers of 8 neurons; 40 inputs."""
    net = hl.Network([dense(40, 8, 0.6), lif(8), dense(8, 8, 0.5, 1), lif(8)])
    assert not isinstance(hl.compile(net, chip(16, 100), partition=True), PartitionedProgram)
    assert isinstance(hl.compile(net, chip(15, 100), partition=True), PartitionedProgram)


def test_masked_circuits_are_kept_in_order_and_not_used() -> None:
    mask = [300, 5, 130, 5, 65, 1]
    program = hl.compile(chain(), chip(400, 8, joined=4), partition=True, mask=mask)
    assert program.mask == (1, 5, 65, 130, 300)
    assert not set(mask) & set(np.concatenate([layer.neurons for layer in program.layers]).tolist())
