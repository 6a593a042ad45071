"""SpikeGrad: signed spikes without leak forward, ternary error spikes backward; here, its equivalent quantised network.

    forward    I^l = W^l a^(l-1) + b^l     n^l = max(0, int(I^l / theta))     a^l = theta n^l      (soft reset: V = I - a)
    backward   U^L = alpha dL/dI^L         Z^l = int(U^l / theta_bp)          z^l = theta_bp Z^l S'^l
               U^l = W^(l+1)T z^(l+1)      S'^l = 1 where V^l > 0 or n^l > 0
    update     dL/dW^l = (1/alpha) sum over samples z^l a^(l-1)T

A spike of a population is worth its ``theta``, so that thresholds change resolution and not scale: with ``theta = 1``
this is the published form. Input values are counts of spikes worth ``1 / levels``. The output population integrates and
does not fire; its potential is the readout. Every sample is quantised on its own, before the average over the batch.

``discharge`` says when error neurons fire: "layerwise", a layer integrates all of its input and then discharges
(published; ``int`` truncates), or "asynchronous", at every event, with the order-free neurons of
:mod:`hwloop.rules.steps.integrate_fire` (``int`` rounds). The forward count is the same for both. The event-driven twin, which
needs additions and comparisons alone, is :mod:`hwloop.rules.spikegrad.events`.

Source: Thiele, Bichler, Dupret, *SpikeGrad*, ICLR 2020 (arXiv 1906.00851).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from ...arguments import whole
from ...errors import InputError, OptionError
from ...record import Record
from ..base import Needs, Rule
from ..steps.input_values import Values
from ..steps.integrate_fire import (
    IntegrateFire,
    discharge,
    retracting,
    retracting_symmetric,
    ternary,
    ternary_symmetric,
)
from ..steps.network import StepNetwork
from ..steps.step_neurons import Neurons
from ..steps.step_record import StepRecord

Discharge: TypeAlias = Literal["layerwise", "asynchronous"]

#: Loss gradient, in error spikes, that :func:`choose_alpha` gives to the mean output error.
ERROR_SPIKES = 8.0


class SignedNeurons(Neurons):
    """Integrate-and-fire neurons with soft reset, whose earlier spikes negative ones take back.

    Parameters
    ----------
    theta : float, > 0
        Threshold, reset quantum, and worth of a spike to the next population.
    theta_bp : float, > 0
        The same for the error spikes of the backward pass.
    levels : int, >= 1
        Spikes that stand for an input value of 1; looked at in the first population alone.
    bias : bool

    Raises :class:`InputError` for a threshold or a number of levels out of range.
    """

    rule: ClassVar[str] = "spikegrad"

    def __init__(self, theta: float = 1.0, *, theta_bp: float = 1.0, levels: int = 16, bias: bool = True) -> None:
        super().__init__(bias=bias)
        for name, value in (("theta", theta), ("theta_bp", theta_bp)):
            if not 0 < value < math.inf:
                raise InputError(f"SignedNeurons: {name} = {value}; allowed: finite and > 0")
        self.theta, self.theta_bp = float(theta), float(theta_bp)
        self.levels = whole("SignedNeurons: levels", levels)

    def extra_repr(self) -> str:
        return f"theta={self.theta:g}, theta_bp={self.theta_bp:g}, levels={self.levels}"


def forward_neuron(theta: float, how: Discharge) -> IntegrateFire:
    """The forward neuron: symmetric thresholds as published where layers discharge in turn, else the order-free one."""
    return retracting_symmetric(theta) if how == "layerwise" else retracting(theta)


def backward_neuron(theta_bp: float, how: Discharge) -> IntegrateFire:
    """The error neuron: symmetric thresholds as published where layers discharge in turn, else the order-free one."""
    return ternary_symmetric(theta_bp) if how == "layerwise" else ternary(theta_bp)


def input_counts(values: Values, levels: int, dtype: torch.dtype) -> Tensor:
    """Input spikes ``[batch, n]``: ``floor(levels x + 1/2)``; bytes are rounded as integers. Values have to be >= 0."""
    if values.values.dtype == torch.uint8:
        return ((2 * levels * values.values.to(torch.int64) + 255) // 510).to(dtype)
    if bool((values.values < 0).any()):
        raise InputError(f"an input of {float(values.values.min()):g}; SpikeGrad's inputs are counts: allowed >= 0")
    return torch.floor(levels * values.values.to(dtype) + 0.5)


@dataclass(frozen=True)
class SpikeGrad(Rule):
    """Gradients that are themselves spikes.

    Parameters
    ----------
    alpha : float, > 0
        Scale of the loss gradient of one sample before it becomes error spikes: output errors should be several
        thresholds, see :func:`choose_alpha`. A power of two is a shift on a chip.
    discharge : "layerwise" (published) or "asynchronous" (order-free)
    samples : int, optional
        Over how many samples the loss is a mean, since ``alpha`` acts on each sample's own loss. Default: the batch; 1: the
        loss is a sum.
    """

    name: ClassVar[str] = "spikegrad"
    needs: ClassVar[Needs] = Needs(("step", "event"), ("subtract",), "ternary", "counts")

    alpha: float = 256.0
    discharge: Discharge = "layerwise"
    samples: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.alpha < math.inf:
            raise InputError(f"alpha = {self.alpha}; allowed: finite and > 0")
        if self.discharge not in get_args(Discharge):
            allowed = ", ".join(map(repr, get_args(Discharge)))
            raise OptionError(f"discharge = {self.discharge!r}; allowed: {allowed}")
        if self.samples is not None:
            object.__setattr__(self, "samples", whole("samples", self.samples))

    def check(self, net: nn.Module) -> None:
        """Takes a feed-forward :class:`StepNetwork` of :class:`SignedNeurons`."""
        if not isinstance(net, StepNetwork) or net.rule != self.name:
            raise InputError(
                f"rule 'spikegrad' trains a StepNetwork of SignedNeurons, not {_described(net)}; build it with them"
            )
        if net.feedback is not None:
            raise InputError(
                "rule 'spikegrad' and a network with feedback; leave the feedback out, or build it of RateNeurons and use rule 'spide'"
            )

    @torch.no_grad()
    def forward(self, net: StepNetwork, inputs: Values, measured: Record | None = None) -> StepRecord:
        """Net counts of the hidden populations, as measured where ``measured`` is given; potentials as traces.

        ``measured`` is a :class:`StepRecord` with net spike counts of the hidden populations. The output's potential is then computed from the counts of the last hidden one.
        """
        stages = net.stages
        dtype = stages[0].connection.weight.dtype
        x = input_counts(inputs, neurons_of(stages[0]).levels, dtype) / neurons_of(stages[0]).levels
        counts, potentials = [], []
        for k, stage in enumerate(stages):
            neurons = neurons_of(stage)
            potential = stage.drive(x) + neurons.bias_current()
            if k < len(stages) - 1:
                count = torch.zeros_like(potential)
                if measured is None:
                    discharge(potential, forward_neuron(neurons.theta, self.discharge), count)
                else:
                    count = measured_counts(measured, k, potential)
                    potential = potential - neurons.theta * count
                x = neurons.theta * count
                counts.append(count)
            potentials.append(potential)
        return StepRecord(
            None, potentials[-1], inputs, net.dt, counts=tuple(counts), traces={"potential": tuple(potentials)}
        )

    @torch.no_grad()
    def gradients(self, net: StepNetwork, record: Record, grad: Tensor) -> dict[str, Tensor]:
        """Error spikes of every population, times the activity before it, over ``alpha``."""
        if not isinstance(record, StepRecord):
            raise InputError(f"rule 'spikegrad' needs a StepRecord, found {type(record).__name__}")
        errors = self.error_spikes(net, record, grad)
        activity = activities(net, record)
        scale = self.scale(record)
        found: dict[str, Tensor] = {}
        for k, stage in enumerate(net.stages):
            z = errors[k] * (neurons_of(stage).theta_bp / scale)
            found[net.parameter_name(stage.connection.weight)] = stage.weight_gradient(activity[k], z)
            if stage.neurons.bias is not None:
                found[net.parameter_name(stage.neurons.bias)] = stage.neurons.bias_gradient(z)
        return found

    @torch.no_grad()
    def error_spikes(self, net: StepNetwork, record: StepRecord, grad: Tensor) -> list[Tensor]:
        """Net error spikes ``Z [batch, n]`` of every population, whole numbers, from ``grad = dL/dreadout``."""
        stages, potentials = net.stages, record.traces["potential"]
        error = self.injected(record, grad)
        errors: list[Tensor] = []
        for k in range(len(stages) - 1, -1, -1):
            theta_bp = neurons_of(stages[k]).theta_bp
            spikes = discharge(error, backward_neuron(theta_bp, self.discharge))
            if k < len(stages) - 1:
                spikes *= (potentials[k] > 0) | (record.counts[k] > 0)
            errors.append(spikes)
            if k:
                error = stages[k].adjoint(spikes * theta_bp)
        return errors[::-1]

    def injected(self, record: StepRecord, grad: Tensor) -> Tensor:
        """``alpha dL/dI`` of each sample's own loss, ``[batch, n_out]``: what is put into the output's error neurons."""
        return grad * self.scale(record)

    def scale(self, record: StepRecord) -> float:
        """From ``dL/dreadout``, a mean over samples, to what is injected."""
        return self.alpha * (len(record.readout) if self.samples is None else self.samples)


def choose_alpha(grad: Tensor, theta_bp: float = 1.0, spikes: float = ERROR_SPIKES) -> float:
    """The power of two for which the largest output error of a sample is ``spikes`` error spikes, on average.

    Parameters
    ----------
    grad : Tensor, ``[batch, n_out]``
        ``dL/dreadout`` of each sample's own loss (for a mean over the batch, times the batch).
    theta_bp : float
        Of the output population.

    Raises :class:`InputError` where all gradients are 0: nothing can be scaled to a threshold.
    """
    largest = float(grad.abs().amax(1).mean())
    if not 0 < largest < math.inf:
        raise InputError(
            f"a mean largest loss gradient of {largest}; allowed: finite and > 0, take an untrained network"
        )
    return 2.0 ** round(math.log2(spikes * theta_bp / largest))


def activities(net: StepNetwork, record: StepRecord) -> list[Tensor]:
    """What drives each population, ``[batch, n]``: input spikes, then the counts of the populations, times their worth."""
    stages = net.stages
    levels, dtype = neurons_of(stages[0]).levels, record.readout.dtype
    inputs = input_counts(record.values, levels, dtype) / levels
    return [inputs, *(neurons_of(s).theta * n for s, n in zip(stages[:-1], record.counts, strict=True))]


def measured_counts(measured: Record, k: int, like: Tensor) -> Tensor:
    """Counts of population ``k`` of a measurement in the dtype of ``like``; refused where their shape differs."""
    if not isinstance(measured, StepRecord) or len(measured.counts) <= k:
        raise InputError(f"the measurement has no net spike counts of population {k}; measure every hidden population")
    counts = measured.counts[k]
    if counts.shape != like.shape:
        raise InputError(f"counts of population {k} are {tuple(counts.shape)}; the network has {tuple(like.shape)}")
    return counts.to(like.dtype)


def neurons_of(stage: Any) -> SignedNeurons:
    """The stage's neurons, known to be SpikeGrad's once :meth:`SpikeGrad.check` has passed."""
    neurons = stage.neurons
    if not isinstance(neurons, SignedNeurons):
        raise InputError(f"{stage.name}: {type(neurons).__name__} in a SpikeGrad network; use SignedNeurons")
    return neurons


def _described(net: nn.Module) -> str:
    return f"one of rule {net.rule!r}" if isinstance(net, StepNetwork) else f"a {type(net).__name__}"
