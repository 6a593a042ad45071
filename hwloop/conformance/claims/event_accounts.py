"""Events that did not arrive: each is reported."""

from __future__ import annotations

import numpy as np
import torch

from ...device.registry import Device, compile_quietly, repetitions
from ...errors import CompileError
from ...record import Recording
from ..claim import claim, demand, skip
from ..subject import STRONG, Array, Subject, rounded_model

#: Neurons that are driven together, and runs of each stimulus.
FLOOD, RUNS = 256, 3
#: Share of the spikes of a noisy device that may be missing for its noise.
BY_NOISE = 0.1


def _load_flood(subject: Subject, device: Device) -> None:
    """Neurons of which input 0 drives the even ones and input 1 the odd ones; each fires once where it can be refractory."""
    even = np.arange(subject.neurons(FLOOD)) % 2 == 0
    weight = STRONG * np.stack([even, ~even], 1)
    try:
        device.load(compile_quietly(subject.layer(weight, t_ref=20 * subject.unit), device))
    except CompileError:
        device.load(subject.compile(subject.layer(weight), device))


def _counts(recording: Recording) -> Array:
    """Spikes ``[run, sample, neuron]``."""
    return np.stack([part.output.unit_counts().numpy() for part in repetitions(recording, RUNS)])


@claim("events")
def reports_spikes_that_did_not_arrive(subject: Subject) -> None:
    """Neurons that fire when half of them are driven, and are missing when all are, stand in `lost_events` or `late_events`.

    A link that overflows takes spikes away where the network is busiest; who is not told takes them for silence.
    """
    if subject.limits.fan_in < 2:
        skip("neurons have one input")
    with subject.device() as device:
        _load_flood(subject, device)
        halves = device.run(subject.spikes([([1.0], [0]), ([1.0], [1])], 2), repeats=RUNS)
        both = device.run(subject.spikes([([1.0, 1.0], [0, 1])], 2), repeats=RUNS)
    apart, together = _counts(halves), _counts(both)[:, 0]
    if (
        not subject.promises.deterministic
    ):  # how often a noisy neuron fires differs from run to run, not whether it does
        apart, together = np.minimum(apart, 1), np.minimum(together, 1)
    expected = apart.sum(1).min(0)  # spikes that came in every run
    missing = int(np.maximum(expected - together, 0).sum())
    reported = both.lost_events + both.late_events
    by_noise = 0.0 if subject.promises.deterministic else BY_NOISE * RUNS * expected.sum()
    demand(expected.any(), "strongly driven neurons stay silent")
    demand(
        missing <= reported + by_noise,
        f"{missing} spikes are missing where all {len(expected)} neurons are driven together; reported: {reported}",
    )


@claim("events")
def reports_no_loss_where_there_is_none(subject: Subject) -> None:
    """Counts of lost and late events are whole numbers, 0 in a run of a few events that all arrived.

    Zero means that the device counted and found none.
    """
    net, spikes = subject.network(), subject.usual
    program, recording = subject.measure(net, spikes)
    for name in ("lost_events", "late_events"):
        count = getattr(recording, name)
        demand(isinstance(count, int) and count >= 0, f"{name} = {count!r}; allowed: a whole number >= 0")
    if subject.error is None:
        return
    with torch.no_grad():
        model = rounded_model(net, program)(spikes)
    pairs = zip(model.populations, recording.populations, strict=True)
    if all(torch.equal(m.unit_counts(), r.unit_counts()) for m, r in pairs):
        lost = recording.lost_events + recording.late_events
        demand(lost == 0, f"{lost} events are reported lost or late; every spike of the model arrived")


@claim("events")
def reports_inputs_that_fell_together(subject: Subject) -> None:
    """Two spikes of one input unit in one step act as two, or are reported as lost.

    A clocked device that counts them once changes the network's input.
    """
    if subject.step == 0:
        skip("times have no step")
    if subject.error is None:
        skip("the target promises no exactness: one spike cannot be told from two")
    weight = np.full((subject.neurons(4), 1), 0.7 * 4.0)  # one spike reaches .7 of the threshold
    rows = [([1.0], [0]), ([1.0, 1.0], [0, 0])]
    _, recording = subject.measure(subject.layer(weight), subject.spikes(rows, 1))
    single, twice = (int(n) for n in recording.output.counts)
    demand(single == 0, f"{single} spikes of an input that reaches .7 of the threshold")
    demand(
        twice > 0 or recording.lost_events > 0,
        "two input spikes at one time act as one, and lost_events is 0",
    )
