"""Weight cells: written, counted, read back, and told by what they do; weights beyond their range."""

from __future__ import annotations

import math

import numpy as np
import torch

from ...device.registry import compile_quietly
from ...errors import CompileError
from ...mapping import Program
from ...record import Recording
from ...spikes import Spikes
from ..claim import claim, demand, skip
from ..subject import DEFECTS, STRONG, Array, Subject


def _patterns(subject: Subject) -> tuple[Array, Array]:
    """Two weight matrices ``[n_out, n_in]``: strong where the other is not, absent and inhibitory elsewhere."""
    n_in, n_out = subject.inputs(4), subject.neurons(8)
    place = np.arange(n_out)[:, None] + 3 * np.arange(n_in)[None, :]
    strong = (place % 4 < 2) ^ (np.arange(n_out)[:, None] % 3 == 0)
    return np.where(strong, STRONG, 0.0), np.where(strong, -STRONG, STRONG)


def one_by_one(subject: Subject, n_in: int) -> Spikes:
    """A sample for each input unit, with one spike of it."""
    return subject.spikes([([1.0], [unit]) for unit in range(n_in)], n_in)


def compare_effect(subject: Subject, acted: list[tuple[Array, Recording]], whose: str) -> None:
    """Break the claim unless in ``acted`` each neuron fires for the inputs whose synapse is strong, ``[n_out, n_in]``, alone."""
    fired = [(recording.output.unit_counts().T > 0).numpy() for _, recording in acted]
    alive = np.any([f.any(1) for f in fired], axis=0)
    for (strong, _), found in zip(acted, fired, strict=True):
        wrong = np.argwhere(found & ~strong)
        demand(
            not len(wrong),
            f"neuron {wrong[0][0] if len(wrong) else ''} fires at input {wrong[0][1] if len(wrong) else ''}, where {whose} "
            "has no excitatory synapse",
        )
        missing = np.argwhere(strong & ~found & (alive[:, None] if subject.error is None else True))
        allowed = 0 if subject.error is not None else DEFECTS * strong.sum()
        demand(
            len(missing) <= allowed,
            f"{len(missing)} of {strong.sum()} strong synapses of {whose} do nothing, such as that of "
            f"neuron, input {missing[0].tolist() if len(missing) else ''}",
        )
    demand(alive.mean() >= 0.5, f"{int((~alive).sum())} of {len(alive)} neurons never fire under strong drive")


@claim("weights")
def acts_by_the_weights_that_were_loaded(subject: Subject) -> None:
    """Input by input, the neurons fire that the program gives a strong synapse, and no others; for two programs in turn.

    What runs is what was written, cell by cell, whatever the device says about it.
    """
    acted = []
    with subject.device() as device:
        for weight in _patterns(subject):
            program = subject.compile(subject.layer(weight), device)
            device.load(program)
            acted.append((weight > 0, device.run(one_by_one(subject, weight.shape[1]))))
    compare_effect(subject, acted, "the program")


@claim("weights")
def reads_back_the_weights_that_act(subject: Subject) -> None:
    """Codes that are read back are those that were loaded, and by their spikes, a way of its own, those that act.

    A device that answers with what it was asked to hold hides every cell that did not take its code.
    """
    acted = []
    with subject.device() as device:
        reader = subject.code_reader(device)
        for weight in _patterns(subject):
            program = subject.compile(subject.layer(weight), device)
            device.load(program)
            read = [np.asarray(codes) for codes in reader.read_codes()]
            shapes, expected = [r.shape for r in read], [layer.codes.shape for layer in program.layers]
            demand(shapes == expected, f"codes of shapes {shapes} are read back; loaded were {expected}")
            acted.append((read[0] > 0, device.run(one_by_one(subject, weight.shape[1]))))
            wrong = np.argwhere(read[0] != program.layers[0].codes)
            demand(not len(wrong), f"{len(wrong)} codes read back are not those that were loaded")
    compare_effect(subject, acted, "what is read back")


@claim("weights")
def writes_nothing_where_nothing_changed(subject: Subject) -> None:
    """A first load writes every cell, a second one of the same program none; `device.writes` counts both.

    Loops load thousands of times, and cells take time and wear.
    """
    with subject.device() as device:
        program = subject.compile(subject.network(), device)
        cells = sum(layer.n_synapses for layer in program.layers)
        device.load(program)
        first = device.writes
        demand(
            (first.last, first.total) == (cells, cells), f"{first.last} cells written of the {cells} of a new program"
        )
        device.run(subject.usual)
        device.load(program)
        second = device.writes
    demand(second.last == 0, f"{second.last} cells written by a second load of the same program")
    demand((second.total, second.loads) == (cells, 2), f"{second.total} cells, {second.loads} loads counted in all")


@claim("weights")
def writes_the_one_weight_that_changed(subject: Subject) -> None:
    """Where one weight moved by a code, one cell is written.

    Fine-tuning moves few codes a step, and cells that land anew each time they are written would move all others.
    """
    with subject.device() as device:
        net = subject.network()
        program = subject.compile(net, device)
        device.load(program)
        with torch.no_grad():
            weight = net.blocks[0][0].weight
            step = 1.1 * float(np.max(program.layers[0].lsb()))
            weight[0, 0] -= math.copysign(step, weight[0, 0].item())
        device.load(program.with_weights(net))
        demand(device.writes.last == 1, f"{device.writes.last} cells written where one weight changed")


def _saturated(program: Program, weight: Array) -> tuple[int, int]:
    """Weights of the first layer that the program says are beyond its codes, and those that are."""
    return program.layers[0].saturated, int((np.abs(weight) > program.layers[0].largest_weight()).sum())


@claim("saturation")
def reports_weights_beyond_its_codes(subject: Subject) -> None:
    """Weights beyond the range of the codes are refused, or counted in the program and its report, and act as the largest code.

    They neither vanish in silence nor wrap around to the other sign.
    """
    if subject.limits.max_code is None:
        skip("weights are real numbers: none is beyond a code")
    strong, opposite = _patterns(subject)
    weight = np.where(strong > 0, STRONG, -STRONG / 4)
    net = subject.layer(weight)
    with subject.device() as device:
        try:
            tight = compile_quietly(net, device, weight_scale=STRONG / 2 / subject.limits.max_code)
        except CompileError:
            tight = None
        fitting = subject.compile(subject.layer(weight / 2), device)
        try:
            moved = fitting.with_weights(net)
        except CompileError:
            moved = None
        acted = []
        for program in filter(None, (tight, moved)):
            said, are = _saturated(program, weight)
            demand(are > 0, "weights of twice the range are within it")
            demand(said == are, f"{said} saturated weights are counted; {are} are beyond the codes")
            total = program.report().saturated
            demand(total == are, f"the report counts {total} saturated weights; {are} are beyond the codes")
            device.load(program)
            acted.append((weight > 0, device.run(one_by_one(subject, weight.shape[1]))))
        if not acted:
            return  # refused both ways
        other = subject.compile(subject.layer(opposite), device)
        device.load(other)
        acted.append((opposite > 0, device.run(one_by_one(subject, weight.shape[1]))))
    compare_effect(subject, acted, "the program")
