"""The adjoint equation of an equilibrium, ``beta = J^T beta + g``: by ternary spikes, and by linear iteration.

With hidden populations 1..G in a ring, ``beta_l = (1/R) W_(l+1)^T (m_(l+1) beta_(l+1))`` and
``beta_G = (1/R) W_fb^T (m_1 beta_1) + g``. In spikes, every population integrates what the next one sends,

    u_l <- u_l + (1/R) W_(l+1)^T (m_(l+1) s_(l+1)) [+ g] ;   s = +1 at u >= 1/2, -1 at u < -1/2 ;   u <- u - s

and beta is the mean of s over T_B steps. Its error is at most about half a spike: ``T_B |beta - beta*| < .75`` is measured.
A neuron fires at most once a step, so the method can only find ``|beta| <= 1``; :class:`BackwardStatistics` says how many
neurons are at that limit.

Source: Xiao et al., *SPIDE*, Neural Networks 161 (2023) (arXiv 2302.00232), sec. 4.2-4.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import GradientError
from ..steps.integrate_fire import IntegrateFire, fire, ternary
from ..steps.stages import Stage
from .ring import Ring

#: Share of its steps that an error neuron fires at which it counts as saturated.
SATURATION = 0.99
#: Last change of the linear solver, in roundings of the largest beta, and iterations after which it gives up.
ROUNDINGS, MAX_ITERATIONS = 16, 1000
#: Power iterations for a spectral norm that is good to a few per cent, which a gain of .9 leaves room for.
STRETCH_ITERATIONS = 100


@dataclass(frozen=True)
class Feedback:
    """Feedback weights ``[n_1, n_G]`` as they act."""

    weight: Tensor

    def drive(self, x: Tensor) -> Tensor:
        """``W_fb x``, ``[batch, n_1]`` from ``[batch, n_G]``."""
        return x @ self.weight.t()

    def adjoint(self, y: Tensor) -> Tensor:
        """``W_fb^T y``, ``[batch, n_G]`` from ``[batch, n_1]``."""
        return y @ self.weight


@dataclass(frozen=True)
class Loop:
    """A network at an equilibrium, linearised: hidden stages, feedback, gates ``m`` and dropout masks, and R."""

    stages: Sequence[Stage]
    feedback: Feedback | None
    gates: Sequence[Tensor]
    masks: Sequence[Tensor | None]
    quantum: float

    def back(self, k: int, following: Tensor) -> Tensor | None:
        """What population ``k`` gets from the one that it drives, whose values are ``following``; None: nothing."""
        last = k == len(self.stages) - 1
        if last and self.feedback is None:
            return None
        gated = following * self.gates[0 if last else k + 1]
        sent = self.feedback.adjoint(gated) if last and self.feedback else self.stages[k + 1].adjoint(gated)
        mask = self.masks[k]
        return (sent if mask is None else sent * mask) / self.quantum


@dataclass(frozen=True)
class BackwardStatistics:
    """How a backward pass went.

    Attributes
    ----------
    largest : float
        Largest ``|beta|``.
    saturated : float
        Share of error neurons that fired in (nearly) every step: their beta lies at or beyond the limit of 1, where spikes
        never converge. Lower ``loss_scale`` where it is not 0.
    firing : float
        Spikes a neuron and step, 0..1; NaN for the linear solver.
    steps : int
        Steps or iterations.
    """

    largest: float
    saturated: float
    firing: float
    steps: int


@torch.no_grad()
def spiking_adjoint(
    loop: Loop, source: Tensor, steps: int, neuron: IntegrateFire | None = None
) -> tuple[list[Tensor], BackwardStatistics]:
    """``beta`` of every hidden population by ``steps`` steps of ternary spikes.

    Parameters
    ----------
    loop : Loop
    source : Tensor, ``[batch, n_G]``
        g, the scaled loss gradient of the last hidden population's rates.
    steps : int
        T_B.
    neuron : IntegrateFire, optional
        The error neuron; default threshold 1/2, reset quantum 1.
    """
    neuron = ternary(1.0) if neuron is None else neuron
    if source.device.type != "cpu":
        return step_by_step(loop, source, steps, neuron)
    return _one_by_one(loop, source, steps, neuron)


@torch.no_grad()
def step_by_step(
    loop: Loop, source: Tensor, steps: int, neuron: IntegrateFire
) -> tuple[list[Tensor], BackwardStatistics]:
    """:func:`spiking_adjoint` for any ring, step by step in matrix products."""
    last = len(loop.stages) - 1
    potentials = [torch.zeros(len(source), stage.n_out, dtype=source.dtype) for stage in loop.stages]
    counts = [torch.zeros_like(u) for u in potentials]
    spikes = [torch.zeros_like(u) for u in potentials]
    fired = 0.0
    for _ in range(steps):
        for k in range(last, -1, -1):
            received = loop.back(k, spikes[0 if k == last else k + 1])
            if k == last:
                potentials[k] += source
            if received is not None:
                potentials[k] += received
            spikes[k] = fire(potentials[k], neuron, counts[k])
            fired += float(spikes[k].abs().sum())
    betas = [count * (neuron.quantum / steps) for count in counts]
    return betas, _statistics(betas, neuron.quantum, fired / steps, steps)


def _one_by_one(
    loop: Loop, source: Tensor, steps: int, neuron: IntegrateFire
) -> tuple[list[Tensor], BackwardStatistics]:
    """The same: error spikes are rare, and following them one by one is several times faster than products."""
    from .kernels import adjoint_spikes

    ring = Ring.of(loop.stages, None if loop.feedback is None else loop.feedback.weight, loop.quantum)
    sizes = [stage.n_out for stage in loop.stages]
    counts = source.new_zeros(len(source), sum(sizes))
    masks = [mask for mask in loop.masks if mask is not None]
    mask = torch.cat(masks, 1) if masks else counts[:0]
    arrays = (source.contiguous(), torch.cat(list(loop.gates), 1), mask)
    fired = adjoint_spikes(
        ring,
        *(array.numpy() for array in arrays),
        torch.tensor([neuron.upper, neuron.lower, neuron.quantum], dtype=source.dtype).numpy(),
        neuron.at_lower,
        steps,
        counts.numpy(),
    )
    betas = [part.contiguous() for part in torch.split(counts * (neuron.quantum / steps), sizes, dim=1)]
    return betas, _statistics(betas, neuron.quantum, fired / steps, steps)


@torch.no_grad()
def implicit_adjoint(loop: Loop, source: Tensor) -> tuple[list[Tensor], BackwardStatistics]:
    """``beta`` of every hidden population by iteration of the adjoint equation until it stands (IDE).

    Raises :class:`GradientError` where it does not: the loop gain is not below 1.
    """
    last = len(loop.stages) - 1
    betas = [torch.zeros(len(source), stage.n_out, dtype=source.dtype) for stage in loop.stages]
    given = bool(torch.isfinite(source).all())
    for iteration in range(1, MAX_ITERATIONS + 1):
        change, largest = 0.0, 0.0
        for k in range(last, -1, -1):
            received = loop.back(k, betas[0 if k == last else k + 1])
            new = source if received is None else received + source if k == last else received
            change = max(change, float((new - betas[k]).abs().max()))
            largest = max(largest, float(new.abs().max()))
            betas[k] = new
        limit = ROUNDINGS * torch.finfo(source.dtype).eps * largest
        if given and not math.isfinite(largest):  # a beta that has overflowed changes no more
            break
        if change <= limit:
            return betas, _statistics(betas, math.inf, math.nan, iteration)
    raise GradientError(
        f"the adjoint equation does not converge: after {iteration} iterations beta still changes by {change:.3g} "
        f"(allowed {limit:.3g}); build the rule with feedback_norm={resting_norm(loop):.3g} or less"
    )


@torch.no_grad()
def resting_norm(loop: Loop) -> float:
    """A Frobenius norm of the feedback for which ``loop`` comes to rest whatever its gates: a loop gain of .9 at most."""
    if loop.feedback is None:
        return math.inf
    gain = float(torch.linalg.matrix_norm(loop.feedback.weight, 2)) / loop.quantum
    for stage in loop.stages[1:]:
        gain *= _largest_stretch(stage, loop.feedback.weight.dtype) / loop.quantum
    for mask in loop.masks:
        gain *= 1.0 if mask is None else float(mask.max())
    return 0.9 * float(loop.feedback.weight.norm()) / gain if gain else math.inf


def _largest_stretch(stage: Stage, dtype: torch.dtype) -> float:
    """Spectral norm of a stage's linear map, by power iteration."""
    x = torch.ones(1, stage.n_in, dtype=dtype)
    x[:, ::2] += 0.5  # no start is orthogonal to what it looks for by a symmetry of the weights
    stretch = 0.0
    for _ in range(STRETCH_ITERATIONS):
        stretch = float(stage.drive(x / x.norm()).norm())
        x = stage.adjoint(stage.drive(x / x.norm()))
        if not float(x.norm()):
            break
    return stretch


def _statistics(betas: list[Tensor], limit: float, fired_a_step: float, steps: int) -> BackwardStatistics:
    neurons = sum(beta.numel() for beta in betas)
    saturated = sum(int((beta.abs() >= SATURATION * limit).sum()) for beta in betas)
    largest = max(float(beta.abs().max()) for beta in betas)
    return BackwardStatistics(largest, saturated / neurons, fired_a_step / neurons, steps)
