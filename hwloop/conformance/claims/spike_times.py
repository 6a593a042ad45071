"""When spikes are."""

from __future__ import annotations

import numpy as np
import torch

from ...network import Network
from ...spikes import Spikes
from ..claim import claim, demand
from ..subject import DEFECTS, NOISY, ROUNDING, STRONG, Subject, deviation, rounded_model

#: Input of each sample (tau_syn); neurons over which the median of a noisy device is taken.
AT, NEURONS = (1.0, 1.37, 2.74, 4.11), 64
#: How long before the end of the window an input comes that has no effect before it (tau_syn).
TOO_LATE = 0.03


def driven(subject: Subject, neurons: int = NEURONS) -> tuple[Network, Spikes]:
    """Neurons of several strengths, and samples in which one input spike drives all of them."""
    n_in, n_out = subject.inputs(len(AT)), subject.neurons(neurons)
    place = np.arange(n_out * n_in).reshape(n_out, n_in)
    net = subject.layer(STRONG * (0.75 + 0.5 * (place % 5) / 4))
    return net, subject.spikes([([AT[k]], [k]) for k in range(n_in)], n_in)


@claim("timing")
def spikes_when_the_model_does(subject: Subject) -> None:
    """A strongly driven neuron first spikes when the model with the program's weights does, in model seconds.

    Every spike within what the target promises; where it promises nothing, the median over neurons within the clock's step
    and a third of the time to the threshold, since a device whose neurons differ has no common offset beyond the latency that
    it states.
    """
    net, spikes = driven(subject)
    program, recording = subject.measure(net, spikes)
    with torch.no_grad():
        model = rounded_model(net, program)(spikes).output.first_times()
    found = recording.output.first_times()
    off = deviation(found, model)
    missing = int(torch.isinf(found).sum())
    if subject.error is None:
        demand(2 * missing <= found.numel(), f"{missing} of {found.numel()} strongly driven neurons stay silent")
        allowed, worst = subject.step + NOISY * subject.unit, float(np.median(off))
        what = "in the median"
    else:
        lost = recording.lost_events + recording.late_events
        demand(
            missing <= lost,
            f"{missing} of {found.numel()} strongly driven neurons stay silent; {lost} events are reported lost",
        )
        allowed = subject.error + ROUNDING * subject.unit
        worst, what = float(off[np.abs(off).argmax()]), "at worst"
    demand(abs(worst) <= allowed, f"first spikes are off by {worst:.3g} s {what}; allowed: {allowed:.3g} s")


@claim("timing")
def follows_its_input_in_time(subject: Subject) -> None:
    """Inputs that come later by some time make all spikes later by as much, and no spike comes before its cause.

    Otherwise the device reads another clock than it is driven by, or scales time.
    """
    n_out, later = subject.neurons(NEURONS), 3.3
    spikes = subject.spikes([([1.0], [0]), ([1.0 + later], [0])], 1)
    _, recording = subject.measure(subject.layer(np.full((n_out, 1), STRONG)), spikes)
    first = recording.output.first_times()
    exact = subject.error is not None
    off = deviation(first[1] - later * subject.unit, first[0])
    demand(len(off) > 0, "strongly driven neurons stay silent")
    allowed = 2 * (subject.error or 0.0) + subject.step + (ROUNDING if exact else NOISY) * subject.unit
    worst = float(np.abs(off).max() if exact else abs(np.median(off)))
    demand(worst <= allowed, f"spikes moved by {worst:.3g} s more or less than the input; allowed: {allowed:.3g} s")
    slack = (subject.error or 0.0) + subject.step + (ROUNDING if exact else 2 * NOISY) * subject.unit
    before = (spikes.times[:, :1] - first).max(0).values
    early, neurons = float(before.max()), int((before > slack).sum())
    demand(
        neurons <= (0 if exact else DEFECTS * n_out),
        f"{neurons} neurons spike up to {early:.3g} s before the input that causes it; allowed: {slack:.3g} s",
    )


@claim("events")
def reports_nothing_that_comes_after_the_window(subject: Subject) -> None:
    """A spike that arises after the end of the window is no event of the sample, and is not put at its end.

    Nothing before the end of a window can depend on it, and a loss would learn from a spike that is not there.
    """
    n_in = subject.inputs(4)
    net = subject.layer(np.full((subject.neurons(8), n_in), STRONG / n_in))
    rows = [([12.0 - TOO_LATE] * n_in, list(range(n_in)))]
    _, recording = subject.measure(net, subject.spikes(rows, n_in))
    found = recording.output
    demand(
        int(found.counts.sum()) == 0,
        f"{int(found.counts.sum())} spikes in the window, of an input that takes effect after its end",
    )
