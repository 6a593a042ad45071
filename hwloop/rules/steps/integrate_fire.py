"""Signed integrate-and-fire: one neuron for SpikeGrad and SPIDE, forward and backward.

    u <- u + input ;   s = +1 where u reaches the upper threshold, -1 where it reaches the lower one ;   u <- u - quantum s

No leak, no synaptic filter, no refractory time. Threshold and reset quantum are separate numbers, and a neuron may be
*rectified*: then a -1 only takes back an earlier +1, and the net count ``n = sum s`` stays >= 0. Whatever the order of
inputs and spikes, ``quantum n = (all input) - u``.

If the quiet interval ``[lower, upper)`` is exactly one quantum long, the potential that is left over, and with it ``n``,
is a function of the summed input alone; in a longer interval it depends on the order of the inputs as well.

Two operations, over whatever shape the potentials have: :func:`fire`, at most one spike a neuron (a time step), and
:func:`discharge`, all spikes that a potential is good for (a layer that integrates first and discharges then). Their
twins in plain NumPy, neuron by neuron, are the specification.

Sources: Thiele, Bichler, Dupret, ICLR 2020 (arXiv 1906.00851), eqs. 1-8; Xiao, Meng, Zhang, Wang, Lin, Neural Networks
161 (2023) (arXiv 2302.00232), sec. 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import InputError


@dataclass(frozen=True)
class IntegrateFire:
    """Thresholds and reset of a population.

    Parameters
    ----------
    quantum : float, > 0
        What a spike takes off the potential (a -1 puts it on).
    upper : float
        A +1 is fired at ``u >= upper``.
    lower : float
        A -1 is fired at ``u < lower``, with ``at_lower`` at ``u <= lower``; ``-inf``: never.
    rectified : bool
        A -1 is fired only while the net count is above 0.
    at_lower : bool
        Whether the lower threshold itself belongs to the firing side.

    Raises
    ------
    InputError
        A quantum that is not > 0, a threshold that is NaN, or ``upper - lower < quantum``: a spike would then cross the
        other threshold, and the neuron would never come to rest.
    """

    quantum: float = 1.0
    upper: float = 1.0
    lower: float = -math.inf
    rectified: bool = False
    at_lower: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.quantum < math.inf:
            raise InputError(f"quantum = {self.quantum}; allowed: finite and > 0")
        if not math.isfinite(self.upper) or math.isnan(self.lower) or self.lower == math.inf:
            raise InputError(f"upper = {self.upper}, lower = {self.lower}; allowed: finite, lower also -inf")
        if self.upper - self.lower < self.quantum:
            raise InputError(
                f"upper - lower = {self.upper - self.lower} with quantum = {self.quantum}; allowed: at least the quantum"
            )

    @property
    def order_free(self) -> bool:
        """Whether the net count is a function of the summed input alone: a quiet interval of one quantum."""
        return self.upper - self.lower == self.quantum and not self.at_lower


def retracting(theta: float = 1.0) -> IntegrateFire:
    """SpikeGrad forward, order-free: +1 at ``u >= theta``, an earlier +1 taken back at ``u < 0``.

    Comes to rest at ``n = max(0, floor(I / theta))`` after any order of inputs of sum ``I``.
    """
    return IntegrateFire(theta, theta, 0.0, rectified=True)


def retracting_symmetric(theta: float = 1.0) -> IntegrateFire:
    """SpikeGrad forward as published: an earlier +1 is taken back at ``u <= -theta`` only; the count depends on order."""
    return IntegrateFire(theta, theta, -theta, rectified=True, at_lower=True)


def ternary(theta: float = 1.0) -> IntegrateFire:
    """Order-free ternary neuron: +-1 at half the reset quantum ``theta``; ``n`` is ``I / theta`` rounded.

    SpikeGrad's backward neuron in its order-free form, and SPIDE's (``theta = 1``). The interval is half open: at
    ``u = theta / 2`` a +1 is fired, at ``-theta / 2`` nothing, so that ties do not depend on order either.
    """
    return IntegrateFire(theta, theta / 2, -theta / 2)


def ternary_symmetric(theta: float = 1.0) -> IntegrateFire:
    """SpikeGrad backward as published: +-1 at ``|u| >= theta``; discharged from rest, ``n`` is ``I / theta`` truncated."""
    return IntegrateFire(theta, theta, -theta, at_lower=True)


def binary(threshold: float = 1.0, quantum: float = 2.0) -> IntegrateFire:
    """SPIDE forward: +1 at ``u >= threshold``, reset by subtraction of ``quantum``; no negative spikes."""
    return IntegrateFire(quantum, threshold)


def fire(potential: Tensor, neuron: IntegrateFire, count: Tensor | None = None) -> Tensor:
    """At most one spike a neuron: reset ``potential`` and move ``count`` in place.

    Parameters
    ----------
    potential : Tensor, floating, any shape
        After the input of this step; changed in place.
    neuron : IntegrateFire
    count : Tensor, same shape and dtype, optional
        Net count ``sum s``; changed in place. A rectified neuron needs it.

    Returns
    -------
    Tensor of -1, 0, 1, same shape and dtype.

    Raises :class:`InputError` where a rectified neuron is given no count.
    """
    # comparisons straight into the floating type: a tensor of bools in between costs several passes
    spikes = torch.ge(potential, neuron.upper, out=torch.empty_like(potential))
    if neuron.lower > -math.inf:
        below = torch.le if neuron.at_lower else torch.lt
        down = below(potential, neuron.lower, out=torch.empty_like(potential))
        if neuron.rectified:
            down *= _needed(count) > 0
        spikes -= down
    potential.sub_(spikes, alpha=neuron.quantum)
    if count is not None:
        count += spikes
    return spikes


def discharge(potential: Tensor, neuron: IntegrateFire, count: Tensor | None = None) -> Tensor:
    """All spikes a neuron until it is quiet: reset ``potential`` and move ``count`` in place.

    Arguments and errors as for :func:`fire`. Equal to firing until nothing fires; exactly so where ``potential`` and
    ``quantum`` are multiples of one power of two that the dtype resolves.

    Returns
    -------
    Tensor of whole numbers, the net spikes of this discharge; same shape and dtype.
    """
    q = neuron.quantum
    spikes = torch.clamp(torch.floor((potential - neuron.upper) / q) + 1, min=0)
    # the division may have been rounded across a threshold: one spike more or less
    spikes += (potential - q * spikes >= neuron.upper).to(spikes.dtype)
    spikes -= ((spikes > 0) & (potential - q * (spikes - 1) < neuron.upper)).to(spikes.dtype)
    if neuron.lower > -math.inf:
        spikes -= _downwards(potential, neuron, count)
    potential -= q * spikes
    if count is not None:
        count += spikes
    return spikes


def _downwards(potential: Tensor, neuron: IntegrateFire, count: Tensor | None) -> Tensor:
    """Spikes of -1 that bring ``potential`` back to the lower threshold."""
    lack = (neuron.lower - potential) / neuron.quantum
    if neuron.at_lower:
        down = torch.clamp(torch.floor(lack) + 1, min=0)
        down += (potential + neuron.quantum * down <= neuron.lower).to(down.dtype)
        down -= ((down > 0) & (potential + neuron.quantum * (down - 1) > neuron.lower)).to(down.dtype)
    else:
        down = torch.clamp(torch.ceil(lack), min=0)
        down += (potential + neuron.quantum * down < neuron.lower).to(down.dtype)
        down -= ((down > 0) & (potential + neuron.quantum * (down - 1) >= neuron.lower)).to(down.dtype)
    return torch.minimum(down, _needed(count)) if neuron.rectified else down


def _needed(count: Tensor | None) -> Tensor:
    if count is None:
        raise InputError("a rectified neuron takes back its own spikes: give count, the net spikes so far")
    return count


# -- the specification: one neuron at a time, plain NumPy ----------------------------------------------------------


def fire_reference(
    potential: NDArray[Any], neuron: IntegrateFire, count: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Twin of :func:`fire`: ``(spikes, potential after)`` of the same shape; nothing is changed in place."""
    spikes, after = np.zeros_like(potential), potential.copy()
    for index in np.ndindex(potential.shape):
        n = 0 if count is None else count[index]
        spikes[index] = _decision(float(potential[index]), neuron, float(n))
        after[index] = potential[index] - neuron.quantum * spikes[index]
    return spikes, after


def discharge_reference(
    potential: NDArray[Any], neuron: IntegrateFire, count: NDArray[Any] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Twin of :func:`discharge`, spike by spike: ``(net spikes, potential after)``."""
    spikes, after = np.zeros_like(potential), potential.copy()
    for index in np.ndindex(potential.shape):
        n = 0.0 if count is None else float(count[index])
        u, total = float(potential[index]), 0
        while (s := _decision(u, neuron, n + total)) != 0:
            u -= neuron.quantum * s
            total += s
        spikes[index], after[index] = total, u
    return spikes, after


def _decision(u: float, neuron: IntegrateFire, count: float) -> int:
    if u >= neuron.upper:
        return 1
    below = u <= neuron.lower if neuron.at_lower else u < neuron.lower
    return -1 if below and (count > 0 or not neuron.rectified) else 0
