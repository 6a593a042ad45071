"""The constant latency of a read-out: stated, and subtracted once."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..claim import claim, demand, skip
from ..subject import Subject, deviation, rounded_model
from .spike_times import driven

#: From the median absolute deviation to the standard error of a median of n: 1.4826 sqrt(pi / 2) / sqrt(n).
_OF_MEDIAN = 1.4826 * math.sqrt(math.pi / 2)
#: Standard errors of the median that half a latency has to exceed, to be told from chance.
SURE, RUNS = 4.0, 4
#: Neurons that the median is taken over: what they differ by weighs as one over the root of their number.
MANY = 512


@claim("latency")
def states_the_latency_that_was_subtracted(subject: Subject) -> None:
    """`recording.latency` is the latency that the capabilities state, in model seconds.

    `time + latency` is the stamp that the device sent.
    """
    _, recording = subject.measure(subject.network(), subject.usual)
    stated = subject.limits.model_latency
    same = math.isclose(recording.latency, stated, rel_tol=1e-9)
    demand(same, f"the recording says {recording.latency:g} s, the capabilities {stated:g} s")


@claim("latency")
def subtracts_the_latency_once(subject: Subject) -> None:
    """Recorded times are corrected for the latency, once: the median distance from the model's is below half of it.

    What uses a recording compares its times with a model's as they are.
    """
    latency = subject.limits.model_latency
    if latency == 0:
        skip("the capabilities state no latency")
    net, spikes = driven(subject, MANY)
    program, recording = subject.measure(net, spikes, repeats=RUNS)
    with torch.no_grad():
        model = rounded_model(net, program)(spikes).output.first_times()
    off = deviation(recording.output.first_times().double(), model.repeat(RUNS, 1))
    demand(len(off) > 0, "strongly driven neurons stay silent")
    middle = float(np.median(off))
    neurons = recording.output.n_units
    chance = SURE * _OF_MEDIAN * float(np.median(np.abs(off - middle))) / math.sqrt(neurons)
    if chance >= abs(latency) / 2:
        skip(f"a latency of {latency:.3g} s cannot be told from what neurons differ by: {chance:.3g} s")
    demand(
        abs(middle) < abs(latency) / 2,
        f"times are off by {middle:.3g} s in the median, at a latency of {latency:.3g} s: subtracted not once",
    )
