"""What a sample begins with, and what a second run gives."""

from __future__ import annotations

import numpy as np
import torch

from ...device.registry import Device
from ...errors import CompileError
from ...mapping import Program
from ...spikes import Spikes
from ..claim import claim, demand, skip
from ..subject import STRONG, Subject


def _charged(subject: Subject) -> tuple[Spikes, int]:
    """Samples that leave currents, and events on their way, at their end; each followed by one without any event."""
    n_in = subject.inputs(4)
    end = [12.0 - 0.03] * n_in
    loud = ([1.0, *end], [0, *range(n_in)])
    return subject.spikes([loud, ([], []), loud, ([], [])], n_in), n_in


def _loaded(subject: Subject, device: Device, n_in: int) -> Program:
    """A layer on ``device``, with axonal delays where it has such."""
    weight = np.full((subject.neurons(8), n_in), STRONG)
    delay = 0.5 * subject.unit
    longest = subject.limits.max_delay
    if subject.limits.delays and (longest is None or delay <= longest * subject.limits.speedup):
        try:
            program = device.target.compile(subject.layer(weight, delay=delay))
        except CompileError:
            program = subject.compile(subject.layer(weight), device)
    else:
        program = subject.compile(subject.layer(weight), device)
    device.load(program)
    return program


@claim("state")
def starts_every_sample_at_rest(subject: Subject) -> None:
    """No sample begins with what the one before left: neither membranes, currents, nor events on their way.

    Samples of a batch, repeats and runs are independent; a batch in another order gives the same answers.
    """
    spikes, n_in = _charged(subject)
    with subject.device() as device:
        _loaded(subject, device, n_in)
        first, second = device.run(spikes), device.run(spikes[[1, 0]], repeats=2)
    demand(int(first.output.counts[0]) > 0, "strongly driven neurons stay silent")
    for recording, silent in ((first, (1, 3)), (second, (0, 2))):
        for sample in silent:
            count = int(recording.output.counts[sample])
            demand(count == 0, f"{count} spikes in a sample without input, after one that ended under strong drive")
    if subject.promises.deterministic:
        one, two = first.output[0], first.output[2]
        same = torch.equal(one.times, two.times) and torch.equal(one.units, two.units)
        demand(same, "the same sample twice in a batch gives other spikes")


@claim("determinism")
def answers_alike_where_it_promises_to(subject: Subject) -> None:
    """A target that promises to be deterministic answers the same inputs with the same spikes, bit for bit: in a second run, in a
    second load and when it is opened again.

    Repeated measurements are then left out, and a difference means a fault.
    """
    if not subject.promises.deterministic:
        skip("the target does not promise to be deterministic (hwloop.device.abilities.Promises)")
    net, spikes, answers = subject.network(), subject.usual, []
    for runs in (2, 1):
        with subject.device() as device:
            program = subject.compile(net, device)
            device.load(program)
            answers += [device.run(spikes) for _ in range(runs)]
            device.load(program)
            answers.append(device.run(spikes))
    for number, answer in enumerate(answers[1:], 1):
        for k, (one, two) in enumerate(zip(answers[0].populations, answer.populations, strict=True)):
            same = all(torch.equal(getattr(one, name), getattr(two, name)) for name in ("times", "units", "counts"))
            demand(same, f"run {number} of the same inputs gives other spikes in population {k} than run 0")
