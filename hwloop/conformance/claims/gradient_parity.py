"""Gradients through measured spikes."""

from __future__ import annotations

import torch
from torch import Tensor

from ...network import Network
from ...record import Recording
from ...spikes import Spikes
from ..claim import claim, demand
from ..subject import Subject, rounded_model

#: Least cosine of the angle to the model's gradient on a device that promises no exactness.
LEAST_COSINE = 0.5
#: Relative distance from it that a promised error of times may cost, in units of that error over tau_syn; and of rounding.
PER_ERROR, ROUNDING = 20.0, 1e-6


@claim("gradients")
def serves_as_measured_spikes(subject: Subject) -> None:
    """A recording takes the place of the simulated spikes: `net(spikes, measured=recording)` has finite gradients of all weights.

    The times carry no gradient of the device's own: they are values.
    """
    net, spikes = subject.network(), subject.usual
    _, recording = subject.measure(net, spikes)
    for k, population in enumerate(recording.populations):
        demand(not population.times.requires_grad, f"population {k}: recorded times have a gradient of their own")
    for gradient in _gradients(net, spikes, recording, None):
        demand(bool(torch.isfinite(gradient).all()), "a gradient that is not finite")


@claim("gradients")
def gives_the_models_gradient(subject: Subject) -> None:
    """The gradient taken at the measured spikes is that of the model with the program's weights, for the weights of every layer.

    As close as the target's promise about times allows; where it promises nothing, within 60 degrees. Spikes that are told of
    another neuron, layer or sample than their own give another gradient, even where the output is right.
    """
    net, spikes = subject.network(), subject.usual
    program, recording = subject.measure(net, spikes)
    model = rounded_model(net, program)
    with torch.no_grad():
        own = model(spikes).output.first_times()
    both = torch.isfinite(own) & torch.isfinite(recording.output.first_times())
    demand(bool(both.any()), "the output of a strongly driven network stays silent")
    pairs = zip(_gradients(model, spikes, None, both), _gradients(model, spikes, recording, both), strict=True)
    for layer, (expected, found) in enumerate(pairs):
        if subject.error is None:
            cosine = float(torch.nn.functional.cosine_similarity(expected.flatten(), found.flatten(), 0))
            demand(
                cosine >= LEAST_COSINE,
                f"layer {layer}: cosine {cosine:.2f} to the model's gradient; expected {LEAST_COSINE}",
            )
            continue
        off = float((found - expected).norm() / expected.norm())
        allowed = PER_ERROR * subject.error / subject.unit + ROUNDING
        demand(
            off <= allowed,
            f"layer {layer}: the gradient is {off:.2g} of its size off the model's; allowed: {allowed:.2g}",
        )


def _gradients(net: Network, spikes: Spikes, measured: Recording | None, which: Tensor | None) -> list[Tensor]:
    """Of the sum of first output spikes, those in ``which [batch, n_out]``, to the weights of each layer."""
    first = net(spikes, measured=measured).output.first_times()
    which = torch.isfinite(first.detach()) if which is None else which
    weights = [dense.weight for dense, _ in net.blocks]
    return list(torch.autograd.grad(first[which].sum(), weights))
