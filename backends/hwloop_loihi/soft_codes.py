"""Networks of SPIDE and SpikeGrad as fixed-point populations that reset by subtraction.

Weights become even codes -254..254 at a scale S that is a power of two, so that what the codes stand for is exact in floating
point, and the rule's own simulation of the rounded network can be compared spike by spike.

SPIDE: one hidden population, with or without feedback. ``F x + b`` is a bias of each sample, the feedback its recurrent synapses,
``vth = S R / 2``. SpikeGrad: hidden populations in a row; input values arrive as events; a bias is a start of the membrane.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch

from hwloop.errors import CompileError
from hwloop.mapping import rounded_up
from hwloop.network import Sparse
from hwloop.rules import Stage, StepNetwork, Values
from hwloop.rules.spide.rule import limited, rate_neurons
from hwloop.rules.spikegrad.rule import input_counts, neurons_of
from hwloop.rules.steps.synapse_lists import synapses
from hwloop_fixed_point.registers import BIAS_EXPONENT, BIAS_MANTISSA, MAX_STATE, MAX_THRESHOLD, STATE_SHIFT, Array
from hwloop_fixed_point.soft_reset import SoftPopulation

from .step_codes import dense_weight

#: Largest even code of mixed sign that is also the negative of a code.
TOP_CODE = 254
#: Bias currents are represented up to this many quanta a tick; beyond, a neuron fires always or never in any case.
BIAS_QUANTA = 2.0
#: Frobenius norm of SPIDE's feedback, as its rule holds it.
FEEDBACK_NORM = 2.0


@dataclass(frozen=True)
class SoftCodes:
    """A network as the arithmetic holds it.

    Attributes
    ----------
    populations : the hidden populations
    net : StepNetwork, float64, whose parameters are exactly what the codes stand for
    scales : codes of one unit of weight, one a population
    """

    populations: tuple[SoftPopulation, ...]
    net: StepNetwork
    scales: tuple[float, ...]


def spide_codes(net: StepNetwork) -> SoftCodes:
    """A SPIDE network with one hidden population.

    Raises :class:`CompileError` for more hidden populations, or a quantum that has no room in threshold and bias registers.
    """
    if len(net.stages) != 2:
        raise CompileError(
            limit="one hidden population: every connection takes a tick, and a ring of several would not keep SPIDE's steps",
            value=f"{len(net.stages) - 1} hidden populations",
            layer="the network",
            fix="build the network with one hidden population, wide enough",
        )
    stage = net.stages[0]
    quantum = rate_neurons(stage).quantum
    top = (BIAS_MANTISSA[1] << BIAS_EXPONENT[1]) / (BIAS_QUANTA * quantum * 2**STATE_SHIFT)
    room = min(top, MAX_THRESHOLD / (quantum / 2))
    held = copy.deepcopy(net).double()
    recurrent = None
    scale = power_of_two(room)
    if net.feedback is not None:
        weight = limited(net.feedback.weight.detach().double(), FEEDBACK_NORM).numpy()
        scale = min(scale, _scale(weight))
        recurrent = _codes(weight, scale)
        if held.feedback is not None:
            held.feedback.weight.data.copy_(torch.from_numpy(recurrent / scale))
    vth = round(quantum / 2 * scale)
    if vth < 1:
        raise CompileError(
            limit="thresholds of at least one code",
            value=f"a feedback weight of {TOP_CODE / scale:.3g} and a quantum of {quantum:g}",
            layer=stage.name,
            fix=f"build its RateNeurons with a quantum of {rounded_up(2 / scale, 3):g} or more",
        )
    rate_neurons(held.stages[0]).quantum = 2 * vth / scale
    n = stage.n_out
    population = SoftPopulation(
        np.zeros((n, 0), np.int32), recurrent, vth, 2 * vth << STATE_SHIFT, np.ones(n, np.int32)
    )
    return SoftCodes((population,), held, (scale,))


def bias_currents(codes: SoftCodes, current: torch.Tensor) -> Array:
    """Registers for ``current [batch, n]`` (F x + b): mantissas of 13 bits and a common power of two, in membrane units."""
    wanted = current.double().numpy() * codes.scales[0] * 2**STATE_SHIFT
    shift = np.clip(np.ceil(np.log2(np.maximum(np.abs(wanted), 1.0) / BIAS_MANTISSA[1])), *BIAS_EXPONENT)
    # a value just below a power of two may round up to a mantissa that has no room at that shift
    unit = 2.0 ** np.where(np.rint(np.abs(wanted) / 2.0**shift) > BIAS_MANTISSA[1], shift + 1, shift)
    unit = np.minimum(unit, 2.0 ** BIAS_EXPONENT[1])
    mantissa = np.clip(np.rint(wanted / unit), -BIAS_MANTISSA[1], BIAS_MANTISSA[1])
    return (mantissa * unit).astype(np.int32)


def spikegrad_codes(net: StepNetwork, *, signed: bool) -> SoftCodes:
    """A SpikeGrad network, its hidden populations in a row; ``signed`` ones take spikes back.

    Raises :class:`CompileError` where a threshold has no room in its register.
    """
    held = copy.deepcopy(net).double()
    worth, populations, scales = 1.0 / neurons_of(net.stages[0]).levels, [], []
    for k, stage in enumerate(net.stages[:-1]):
        neurons = neurons_of(held.stages[k])
        weight = _asked(held.stages[k])
        relative = neurons.theta / worth
        scale = min(_scale(weight), power_of_two(MAX_THRESHOLD / relative))
        codes, vth = _codes(weight, scale), round(relative * scale)
        if vth < 1:
            raise CompileError(
                limit="thresholds of at least one code",
                value=f"weights up to {np.abs(weight).max():.3g} and a threshold of {relative:g} input spikes",
                layer=stage.name,
                fix=f"raise theta to {rounded_up(worth / scale, 3):g} or more",
            )
        dense = _hold(held, k, codes, scale)
        unit = scale / worth * 2**STATE_SHIFT
        start = np.zeros(stage.n_out)
        if neurons.bias is not None:
            rounded = torch.round(neurons.bias.detach() * unit).clamp(1 - MAX_STATE // 2, MAX_STATE // 2 - 1)
            neurons.bias.data.copy_(rounded / unit)
            start = torch.as_tensor(neurons.bias_current()).detach().numpy() * unit
        neurons.theta = vth / scale * worth
        populations.append(
            SoftPopulation(dense, None, vth, vth << STATE_SHIFT, (np.rint(start) + 1).astype(np.int32), signed)
        )
        scales.append(scale)
        worth = neurons.theta
    return SoftCodes(tuple(populations), held, tuple(scales))


def _written_out(stage: Stage) -> bool:
    """Whether the synapses of ``stage`` have a code each: factors make those of one weight differ, and two may meet."""
    return stage.scaled or isinstance(stage.connection, Sparse)


def _asked(stage: Stage) -> Array:
    """The weights that become codes: those of the connection, over pooling windows, or all synapses ``[n_out, n_in]``."""
    if _written_out(stage):
        return dense_weight(stage)
    weight: Array = stage.connection.weight.detach().numpy() * synapses(stage).share
    return weight


def _hold(held: StepNetwork, k: int, codes: Array, scale: float) -> Array:
    """Give stage ``k`` of ``held`` what its ``codes`` stand for; the codes of all synapses ``[n_out, n_in]``."""
    stage = held.stages[k]
    if _written_out(stage):
        held.hold_matrix(k, torch.from_numpy(codes / scale))
        return codes
    listed = synapses(stage)
    stage.connection.weight.data.copy_(torch.from_numpy(codes / (scale * listed.share)))
    dense = np.zeros((stage.n_out, stage.n_in), np.int32)
    dense[listed.targets, np.repeat(np.arange(stage.n_in), np.diff(listed.starts))] = codes.reshape(-1)[
        listed.parameters
    ]
    return dense


def spread_events(values: Values, levels: int, ticks: int) -> Array:
    """Input spikes ``[batch, ticks, n]`` int32: those of a unit evenly over the ticks, where need be several in one."""
    counts = input_counts(values, levels, torch.float64).numpy().astype(np.int64)
    edges = np.arange(ticks + 1)
    # spikes up to the end of tick t: the whole part of what has come evenly
    sent = (counts[:, None, :] * edges[None, :, None] + ticks // 2) // ticks
    result: Array = np.diff(sent, axis=1).astype(np.int32)
    return result


def _scale(weight: Array) -> float:
    largest = float(np.abs(weight).max())
    return power_of_two(TOP_CODE / largest) if largest > 0 else 1.0


def power_of_two(limit: float) -> float:
    """The largest power of two up to ``limit``."""
    return 2.0 ** math.floor(math.log2(limit))


def _codes(weight: Array, scale: float) -> Array:
    """Even codes, which mixed-sign synapses have."""
    result: Array = np.clip(2 * np.rint(weight * scale / 2), -TOP_CODE, TOP_CODE).astype(np.int32)
    return result
