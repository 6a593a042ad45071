"""A slip in the RTL is noticed: each of these faults, planted in a copy of the core, makes the comparison fail."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from . import test_core
from .built import CORE, built
from .networks_compared import compare

#: Module, what stands there once, what is put there instead.
FAULTS = {
    "2^23 itself wraps": ("population_updater", "|| sum[22:0] != 0);  // > 2^23", "|| 1'b1);"),
    "-2^23 does not wrap": ("population_updater", "!(&sum[30:23] && sum[22:0] != 0)", "!(&sum[30:23])"),
    "wraps until it is inside": ("population_updater", "&& !has_wrapped;", ";"),
    "spikes at the threshold": ("population_updater", "> {field[22:6], 1'b0}", ">= {field[22:6], 1'b0}"),
    "clips one too low": ("population_updater", "32'hFF80_0001", "32'hFF80_0000"),
    "forgets that the FIFO is full": ("population_updater", "membrane && spike_full", "membrane && spike_full && 1'b0"),
    "what arrived stays in the ring": ("population_updater", "mem_rdata != 0 ? CLEAR_ROW : KEEP_U", "KEEP_U"),
    "decays toward minus infinity": ("multiplier", "keeping ? ADDR_BITS'({12{x[31]}})", "keeping ? '0"),
    "keeps all, where all is kept, of the low end": ("multiplier", "whole[43:12]", "{1'b0, whole[42:12]}"),
    "shifts sums to the right as unsigned": ("synapse_walker", "{value[31], value[31:1]", "{1'b0, value[31:1]"),
    "shifts one time too often": ("synapse_walker", "right == 4'd1", "right == 4'd0"),
    "signed weights are not": ("synapse_walker", "{{8{of_four[7]}}, of_four, 1'b0}", "{8'b0, of_four, 1'b0}"),
    "delays go once too far around": ("synapse_walker", "around[6] ? beyond : around", "around == 0 ? beyond : around"),
    "takes the wrong half": ("synapse_walker", "synapse[0] ? word[31:16]", "!synapse[0] ? word[31:16]"),
    "one unit too many": ("synapse_walker", "place < size", "place <= size"),
    "a ring of one row too many": ("tick_sequencer", "row + 7'd1 >= depth", "row + 7'd1 > depth"),
    "only the last depth counts": ("tick_sequencer", "own_depth > depth", "own_depth != depth"),
    "skips a word of an entry": ("tick_sequencer", "Places'(10)", "Places'(11)"),
    "subtracts one too many": ("accumulator", "+ 32'(subtract)", ""),
    "lets a request go": ("memory_arbiter", "!rst && mem_valid && !mem_ready", "1'b0"),
    "writes an event too many": ("output_writer", "(!wide && room[1:0] == 2'd3)", "(room[1:0] == 2'd3)"),
    "a later event is taken now": ("spike_source", "low_equal && half_equal ? UNIT_LOW", "half_equal ? UNIT_LOW"),
}


def everything(program: Path) -> None:
    compare(program, [seed for seed in range(200) if seed % 8 in (0, 3)])
    test_core.test_the_ends_of_currents_and_membranes_are_those_of_the_specification(program)
    test_core.test_an_output_without_room_is_said_and_what_is_lost_is_counted(program)
    test_core.test_events_stand_at_any_halfword(program)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_core_is_found(tmp_path: Path, fault: str) -> None:
    module, right, wrong = FAULTS[fault]
    copy = shutil.copytree(CORE, tmp_path / "core")
    source = (copy / f"{module}.sv").read_text()
    assert source.count(right) == 1
    (copy / f"{module}.sv").write_text(source.replace(right, wrong))
    program = built(core=copy, fifo_bits=1, level="-O1")
    with pytest.raises((AssertionError, RuntimeError)):
        everything(program)
