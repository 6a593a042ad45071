"""SPIDE: feedback networks at equilibrium, whose gradient is an equilibrium of ternary spikes.

    forward    u_1 <- u_1 + F x + b + W_fb s_G ;  u_l <- u_l + W_l s_(l-1) + b_l ;  s = 1 at u >= R / 2 ;  u <- u - R s
    rates      a_l = mean of s_l over T_F steps, near the equilibrium a* = clip((W a* + F x + b) / R, 0, 1)
    readout    y = W_o a_G + b_o
    backward   beta = J^T beta + g,  J = diag(m) W / R,  m = 1 where 0 < a < 1,  g = K dL/da
    update     dL/dW = (1 / (K R)) (beta m) a^T

The threshold is half the reset quantum R in both passes, so that what is left in a potential is a rounding and not a floor.
``solver`` says how beta is found: "spikes", ternary integrate-and-fire neurons over T_B steps, or "implicit" (IDE), a
linear solver. The loss is scaled by K before and the gradient by 1/K after, which changes resolution and not scale.

The hidden populations are the network; the last one of a :class:`StepNetwork` is the readout, computed from rates. Without
feedback this is DSR (Meng et al., CVPR 2022, arXiv 2205.00459).

Sources: Xiao, Meng, Zhang, Wang, Lin, *SPIDE*, Neural Networks 161 (2023) (arXiv 2302.00232); IDE: Xiao, Meng, Zhang,
Wang, Lin, NeurIPS 2021 (arXiv 2109.14247).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from ...arguments import whole
from ...errors import InputError, OptionError
from ...record import Record
from ..base import Needs, Rule
from ..steps.input_values import Values
from ..steps.integrate_fire import IntegrateFire, binary, fire
from ..steps.network import StepNetwork
from ..steps.poisson import poisson_raster
from ..steps.stages import Stage
from ..steps.step_neurons import Neurons
from ..steps.step_record import StepRecord
from .adjoint import BackwardStatistics, Feedback, Loop, implicit_adjoint, resting_norm, spiking_adjoint

Solver: TypeAlias = Literal["spikes", "implicit"]

_log = logging.getLogger(__name__)

#: Share of saturated error neurons beyond which a backward pass warns.
MOST_SATURATED = 0.01
#: Iterations after which an equilibrium counts as not existing; at a loop gain of .97 the error is down to 1e-13.
MAX_ITERATIONS = 1000


class RateNeurons(Neurons):
    """Integrate-and-fire neurons that lose ``quantum`` at a spike and fire at half of it.

    Parameters
    ----------
    quantum : float, > 0
        R, what a spike takes off the potential.
    bias : bool

    Raises :class:`InputError` for a quantum out of range.
    """

    rule: ClassVar[str] = "spide"

    def __init__(self, quantum: float = 2.0, *, bias: bool = True) -> None:
        super().__init__(bias=bias)
        if not 0 < quantum < math.inf:
            raise InputError(f"RateNeurons: quantum = {quantum}; allowed: finite and > 0")
        self.quantum = float(quantum)

    @property
    def neuron(self) -> IntegrateFire:
        """Threshold and reset."""
        return binary(self.quantum / 2, self.quantum)

    def extra_repr(self) -> str:
        return f"quantum={self.quantum:g}"


@dataclass(frozen=True)
class Spide(Rule):
    """Equilibrium gradients, found by spikes.

    Parameters
    ----------
    solver : "spikes" | "implicit"
    steps_back : int, >= 1
        T_B, steps of the backward pass; looked at by "spikes" alone.
    loss_scale : float, > 0
        K: error neurons get the loss gradient, of the mean over the batch, times K (published: 100 and 400, at batches
        of about that size). Their rates cannot exceed 1: K is too large where :class:`BackwardStatistics` finds some
        saturated, too small where errors of interest are below ``1 / (2 T_B)``.
    feedback_norm : float, > 0
        Largest Frobenius norm of the feedback weights; they are scaled back where they exceed it.
    dropout : float, 0 <= p < 1
        Neurons left out of a training sample: one mask, drawn from the sample's key, for all steps of both passes.
    """

    name: ClassVar[str] = "spide"
    needs: ClassVar[Needs] = Needs(("step",), ("subtract",), "binary", "counts")

    solver: Solver = "spikes"
    steps_back: int = 100
    loss_scale: float = 100.0
    feedback_norm: float = 2.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.solver not in get_args(Solver):
            raise OptionError(f"solver = {self.solver!r}; allowed: {', '.join(map(repr, get_args(Solver)))}")
        object.__setattr__(self, "steps_back", whole("steps_back", self.steps_back))
        for name in ("loss_scale", "feedback_norm"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} = {getattr(self, name)}; allowed: finite and > 0")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout = {self.dropout}; allowed: 0 <= dropout < 1")

    def check(self, net: nn.Module) -> None:
        """Takes a :class:`StepNetwork` of :class:`RateNeurons` with a hidden population, with or without feedback."""
        if not isinstance(net, StepNetwork) or net.rule != self.name:
            found = f"one of rule {net.rule!r}" if isinstance(net, StepNetwork) else f"a {type(net).__name__}"
            raise InputError(f"rule 'spide' trains a StepNetwork of RateNeurons, not {found}; build it with them")
        if len(net.stages) < 2:
            raise InputError(
                "rule 'spide': a network without a hidden population; the last one is the readout, add one"
            )
        if len({rate_neurons(stage).quantum for stage in net.stages[:-1]}) != 1:
            raise InputError(
                "rule 'spide': hidden populations of several quanta; give all the same (rates share a scale)"
            )

    @torch.no_grad()
    def forward(self, net: StepNetwork, inputs: Values, measured: Record | None = None) -> StepRecord:
        """Spike counts of ``net.steps`` steps, hidden ones as measured where ``measured`` is given; the readout of rates.

        ``measured`` is a :class:`StepRecord` with spike counts of the hidden populations over ``net.steps`` steps.
        """
        return self._run(net, inputs, measured, None)

    @torch.no_grad()
    def training_forward(self, net: StepNetwork, inputs: Values, measured: Record | None = None) -> StepRecord:
        """:meth:`forward` with dropout; writes the feedback weights back within their norm."""
        if net.feedback is not None:
            net.feedback.weight.copy_(limited(net.feedback.weight, self.feedback_norm))
        masks = None if not self.dropout or measured is not None else self._masks(net, inputs)
        return self._run(net, inputs, measured, masks)

    @torch.no_grad()
    def gradients(self, net: StepNetwork, record: Record, grad: Tensor) -> dict[str, Tensor]:
        """Gradients of the readout exactly, of the hidden populations by the solver.

        ``record.traces["backward"]`` then holds the :class:`BackwardStatistics`.
        """
        if not isinstance(record, StepRecord):
            raise InputError(f"rule 'spide' needs a StepRecord, found {type(record).__name__}")
        loop, stages = self.loop(net, record), net.stages
        rates = record.traces["rates"]
        active = [_masked(a, d) for a, d in zip(rates, loop.masks, strict=True)]
        found = {net.parameter_name(stages[-1].connection.weight): stages[-1].weight_gradient(active[-1], grad)}
        if stages[-1].neurons.bias is not None:
            found[net.parameter_name(stages[-1].neurons.bias)] = stages[-1].neurons.bias_gradient(grad)
        source = _masked(stages[-1].adjoint(grad) * self.loss_scale, loop.masks[-1])
        if self.solver == "spikes":
            betas, statistics = spiking_adjoint(loop, source, self.steps_back)
        else:
            betas, statistics = implicit_adjoint(loop, source)
        record.traces["backward"] = statistics
        if statistics.saturated > MOST_SATURATED:
            _log.warning(
                "spide: %.2g of the error neurons are at their limit of one spike a step, and their gradients too small; lower "
                "loss_scale (now %g)", statistics.saturated, self.loss_scale,
            )  # fmt: skip
        inputs = [record.values.real(record.readout.dtype), *active[:-1]]
        for k, stage in enumerate(stages[:-1]):
            delta = betas[k] * loop.gates[k] / (loop.quantum * self.loss_scale)
            found[net.parameter_name(stage.connection.weight)] = stage.weight_gradient(inputs[k], delta)
            if stage.neurons.bias is not None:
                found[net.parameter_name(stage.neurons.bias)] = stage.neurons.bias_gradient(delta)
            if k == 0 and net.feedback is not None:
                found[net.parameter_name(net.feedback.weight)] = delta.t() @ active[-1]
        return found

    def loop(self, net: StepNetwork, record: StepRecord) -> Loop:
        """The linearised network at ``record``: what the backward pass runs in."""
        gates = [((a > 0) & (a < 1)).to(a.dtype) for a in record.traces["rates"]]
        return Loop(net.stages[:-1], self._feedback(net), gates, record.traces["masks"], quantum_of(net))

    def _feedback(self, net: StepNetwork) -> Feedback | None:
        return None if net.feedback is None else Feedback(limited(net.feedback.weight, self.feedback_norm))

    def _run(self, net: StepNetwork, inputs: Values, measured: Record | None, masks: list[Tensor] | None) -> StepRecord:
        stages = net.stages
        x = inputs.real(stages[0].connection.weight.dtype)
        kept: list[Tensor | None] = [None] * (len(stages) - 1) if masks is None else list(masks)
        if measured is None:
            current = stages[0].drive(x) + stages[0].neurons.bias_current()
            counts, _ = simulate(stages[:-1], self._feedback(net), current, net.steps, kept)
        else:
            counts = [_measured(measured, k, stage, x) for k, stage in enumerate(stages[:-1])]
        rates = [count / net.steps for count in counts]
        readout = stages[-1].drive(_masked(rates[-1], kept[-1])) + stages[-1].neurons.bias_current()
        traces: dict[str, Any] = {"rates": rates, "masks": kept}
        return StepRecord(None, readout, inputs, net.dt, counts=tuple(counts), traces=traces)

    def _masks(self, net: StepNetwork, inputs: Values) -> list[Tensor]:
        """One mask a sample and population, 0 or ``1 / (1 - p)``, a function of the sample's key alone."""
        dtype = net.stages[0].connection.weight.dtype
        sizes = [stage.n_out for stage in net.stages[:-1]]
        # a neuron is kept as a Poisson input spikes: a draw of key and unit number
        everyone = Values(torch.ones(len(inputs), sum(sizes)), inputs.keys)
        kept = poisson_raster(everyone, 1, 1 - self.dropout)[:, 0].to(dtype) / (1 - self.dropout)
        return list(torch.split(kept, sizes, dim=1))


@torch.no_grad()
def simulate(
    stages: Sequence[Stage], feedback: Feedback | None, current: Tensor, steps: int, masks: Sequence[Tensor | None]
) -> tuple[list[Tensor], list[Tensor]]:
    """Spike counts and last potentials of the hidden populations after ``steps`` steps.

    ``current [batch, n_1]`` is what the first population gets in every step, ``F x + b``.
    """
    drive = [current, *(_constant(stage, current) for stage in stages[1:])]
    potentials = [torch.zeros(len(current), stage.n_out, dtype=current.dtype) for stage in stages]
    counts = [torch.zeros_like(u) for u in potentials]
    spikes = [torch.zeros_like(u) for u in potentials]
    for _ in range(steps):
        for k, stage in enumerate(stages):
            received = None
            if k:
                received = stage.drive(_masked(spikes[k - 1], masks[k - 1]))
            elif feedback is not None:
                received = feedback.drive(_masked(spikes[-1], masks[-1]))
            _integrate(rate_neurons(stage).neuron, potentials[k], drive[k], received, counts[k], spikes[k])
    return counts, potentials


def _constant(stage: Stage, like: Tensor) -> Tensor:
    """What a population gets in every step beside spikes, ``[1, n]``."""
    return torch.zeros(1, stage.n_out, dtype=like.dtype) + stage.neurons.bias_current()


def _integrate(
    neuron: IntegrateFire, potential: Tensor, constant: Tensor, received: Tensor | None, count: Tensor, spikes: Tensor
) -> None:
    """One step of a population, all ``[batch, n]``: ``potential``, ``count`` and ``spikes`` change in place."""
    if potential.device.type != "cpu":
        potential += constant if received is None else constant + received
        spikes.copy_(fire(potential, neuron, count))
        return
    from .kernels import integrate

    limits = torch.tensor([neuron.upper, neuron.quantum], dtype=potential.dtype)
    came = potential[:0] if received is None else received.contiguous()
    integrate(*(x.numpy() for x in (potential, constant.contiguous(), came, limits, count, spikes)))


@torch.no_grad()
def equilibrium(
    net: StepNetwork, inputs: Values, *, feedback_norm: float = 2.0, tolerance: float = 1e-12
) -> list[Tensor]:
    """Rates ``a*`` of the hidden populations by fixed-point iteration of ``a = clip((W a + F x + b) / R, 0, 1)``.

    Raises :class:`InputError` where the iteration does not come to rest: the feedback is too strong.
    """
    stages, quantum = net.stages[:-1], quantum_of(net)
    x = inputs.real(stages[0].connection.weight.dtype)
    feedback = None if net.feedback is None else Feedback(limited(net.feedback.weight, feedback_norm))
    rates = [torch.zeros(len(x), stage.n_out, dtype=x.dtype) for stage in stages]
    constant = stages[0].drive(x)
    for _ in range(MAX_ITERATIONS):
        change = 0.0
        for k, stage in enumerate(stages):
            current = stage.drive(rates[k - 1]) if k else constant
            if not k and feedback is not None:
                current = current + feedback.drive(rates[-1])
            new = torch.clamp((current + stage.neurons.bias_current()) / quantum, 0, 1)
            change = max(change, float((new - rates[k]).abs().max()))
            rates[k] = new
        if change <= tolerance:
            return rates
    loop = Loop(stages, feedback, rates, [None] * len(stages), quantum)
    raise InputError(
        f"no equilibrium after {MAX_ITERATIONS} iterations (last change {change:.3g}); allowed: feedback whose loop gain is "
        f"below 1, such as feedback_norm={resting_norm(loop):.3g} or less"
    )


def limited(weight: Tensor, norm: float) -> Tensor:
    """``weight`` scaled down to Frobenius norm ``norm`` where it is larger."""
    found = float(weight.detach().norm())
    return weight if found <= norm else weight * (norm / found)


def quantum_of(net: StepNetwork) -> float:
    """R of the hidden populations."""
    return rate_neurons(net.stages[0]).quantum


def rate_neurons(stage: Stage) -> RateNeurons:
    """The stage's neurons, known to be SPIDE's once :meth:`Spide.check` has passed."""
    neurons = stage.neurons
    if not isinstance(neurons, RateNeurons):
        raise InputError(f"{stage.name}: {type(neurons).__name__} in a SPIDE network; use RateNeurons")
    return neurons


def firing(record: StepRecord, steps: int) -> float:
    """Spikes a neuron and step of the hidden populations, 0..1: the forward firing rate."""
    neurons = sum(count.shape[1] for count in record.counts)
    return sum(float(count.sum()) for count in record.counts) / (neurons * steps * len(record.readout))


def _measured(measured: Record, k: int, stage: Stage, x: Tensor) -> Tensor:
    if not isinstance(measured, StepRecord) or len(measured.counts) <= k:
        raise InputError(f"the measurement has no spike counts of population {k}; measure every hidden population")
    counts = measured.counts[k]
    if counts.shape != (len(x), stage.n_out):
        raise InputError(f"counts of population {k} are {tuple(counts.shape)}; expected {(len(x), stage.n_out)}")
    return counts.to(x.dtype)


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values * mask


__all__ = [
    "BackwardStatistics",
    "RateNeurons",
    "Solver",
    "Spide",
    "equilibrium",
    "firing",
    "limited",
    "quantum_of",
    "rate_neurons",
    "simulate",
]
