"""Networks in steps of HM2-BP and NA as fixed-point layers: decays exact, weights rounded to even codes.

A unit of weight is S codes, shifted up by the layer's exponent; S is such that the threshold is a whole number. A filter's
gain that Loihi's neuron lacks is folded into the threshold:

    HM2-BP   v += e/tau_s   Loihi adds u itself       vth = tau_s S' v_th       input spikes from a source, lateral inhibition
    NA       a += s/tau_s   Loihi adds W s itself     vth = tau_s S' v_th       first population: bias currents

(S' = S 2^exponent.) A decay ``1 - 1/tau`` is exact where ``4096 / tau`` is a whole number (tau = 64, 8, 4, 2); others are refused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hwloop.errors import CompileError
from hwloop.rules import LeakyNeurons, Stage, TracedNeurons
from hwloop_fixed_point.graph import FixedLayer, Synapses
from hwloop_fixed_point.registers import (
    BIAS_EXPONENT,
    BIAS_MANTISSA,
    DECAY_UNITY,
    EXPONENTS,
    MAX_THRESHOLD,
    STATE_SHIFT,
    Array,
)

#: HM2-BP: how far the current may rise above the threshold's worth of it before it leaves its 24 bits. Inputs that all spike
#: at once would need far more; a run counts what leaves.
HEADROOM = 16.0
#: Largest code of mixed sign that is even on both sides, and largest dense form of a convolution (weights).
LARGEST_CODE, MOST_WEIGHTS = 254, 50_000_000
#: Largest bias: mantissa shifted by its largest exponent (state units).
LARGEST_BIAS = BIAS_MANTISSA[1] << BIAS_EXPONENT[1]


@dataclass(frozen=True)
class StepLayer:
    """One population.

    Attributes
    ----------
    layer : FixedLayer
    weight, exact : ``[n_out, n_in]``, what its codes stand for, and the weights themselves
    lateral : float, the same of its lateral inhibition
    """

    layer: FixedLayer
    weight: Array
    exact: Array
    lateral: float = 0.0


def hm2bp_layer(stage: Stage) -> StepLayer:
    """A population of the published HM2-BP neuron; :class:`CompileError` where fixed point cannot carry it."""
    n = stage.neurons
    if not isinstance(n, LeakyNeurons):
        raise _other(stage)
    if n.t_ref:
        raise CompileError(
            limit="no refractory time (LIFRefractory is floating point only)",
            value=f"t_ref = {n.t_ref} steps",
            layer=stage.name,
            fix="build LeakyNeurons with t_ref=0 and train it so",
        )
    weight = dense_weight(stage)
    scale, exponent, vth = scaled(max(float(np.abs(weight).max()), -n.lateral), n.tau_s * n.v_th, HEADROOM)
    lateral = even(n.lateral * scale)
    layer = FixedLayer(
        Synapses(even(weight * scale), exponent, sign_mode="mixed"),
        du=decay(stage, "tau_s", n.tau_s) - 1,
        dv=decay(stage, "tau_m", n.tau_m),
        vth=vth,
        recurrent=Synapses(lateral * (1 - np.eye(stage.n_out, dtype=np.int32)), exponent, sign_mode="mixed")
        if n.lateral
        else None,
    )
    return StepLayer(layer, even(weight * scale) / scale, weight, float(lateral / scale))


def na_layer(stage: Stage, driving: TracedNeurons) -> StepLayer:
    """A population of the NA neuron behind another one, whose trace's time constant its current takes."""
    n = _traced(stage)
    weight = dense_weight(stage)
    # a trace is at most 1: no current exceeds the sum of a row's weights of one sign
    most = max(float(np.maximum(weight, 0).sum(1).max()), float(np.maximum(-weight, 0).sum(1).max()))
    scale, exponent, vth = scaled(float(np.abs(weight).max()), driving.tau_s * n.v_th, max(1.0, 1.01 * most / n.v_th))
    layer = FixedLayer(
        Synapses(even(weight * scale), exponent, sign_mode="mixed"),
        du=decay(stage, "tau_s", driving.tau_s) - 1,
        dv=decay(stage, "tau_m", n.tau_m),
        vth=vth,
    )
    return StepLayer(layer, even(weight * scale) / scale, weight)


def scaled(largest: float, threshold: float, headroom: float) -> tuple[float, int, int]:
    """Codes of a unit of weight, exponent and threshold, for weights up to ``largest`` and a threshold in their units.

    ``headroom``: how many thresholds a current is worth at most. The codes use their whole range, the exponent what headroom there is: the truncation of a step then weighs least.
    """
    most = MAX_THRESHOLD / headroom
    scale = min(LARGEST_CODE / max(largest, 1e-12), most / threshold)
    exponent = int(np.clip(np.floor(np.log2(most / (scale * threshold))), 0, EXPONENTS[1]))
    vth = max(1, int(scale * threshold * 2**exponent))
    return vth / (threshold * 2**exponent), exponent, vth


def bias_scale(stage: Stage, largest: float) -> float:
    """State units of one unit of membrane in NA's first population, whose bias currents reach ``largest``."""
    v_th = _traced(stage).v_th
    scale = min(LARGEST_BIAS / max(largest, 1e-12), (MAX_THRESHOLD << STATE_SHIFT) / v_th)
    return max(1, int(scale * v_th) >> STATE_SHIFT << STATE_SHIFT) / v_th  # the threshold is a whole number of 64 units


def bias_codes(currents: Array, scale: float) -> Array:
    """``currents [batch, n]`` as the nearest bias that a mantissa and an exponent a neuron make, int32 (state units)."""
    wanted = np.rint(currents * scale).astype(np.int64)
    size = np.maximum(np.abs(wanted), 1)
    exponent = np.clip(np.ceil(np.log2(size / BIAS_MANTISSA[1])), *BIAS_EXPONENT).astype(np.int64)
    mantissa = np.clip(np.rint(wanted / (1 << exponent)), *BIAS_MANTISSA).astype(np.int64)
    result: Array = (mantissa << exponent).astype(np.int32)
    return result


def decay(stage: Stage, name: str, tau: float) -> int:
    """``4096 / tau``; :class:`CompileError` where it is no whole number, so that the decay would be another one."""
    whole = round(DECAY_UNITY / tau)
    if abs(whole * tau - DECAY_UNITY) > 1e-9 * DECAY_UNITY or whole >= DECAY_UNITY:
        raise CompileError(
            limit="decays in whole 4096ths a step",
            value=f"{name} = {tau:g} steps ({DECAY_UNITY / tau:g} of them)",
            layer=stage.name,
            fix=f"build its neurons with {name} a power of two, e.g. {2 ** min(max(1, round(np.log2(tau))), 12)}",
        )
    return whole


def dense_weight(stage: Stage) -> Array:
    """The stage's map as ``[n_out, n_in]`` float64, whatever it is made of."""
    if stage.n_in * stage.n_out > MOST_WEIGHTS:
        raise CompileError(
            limit=f"{MOST_WEIGHTS} weights in one dense connection",
            value=f"{stage.n_in} x {stage.n_out}, written out",
            layer=stage.name,
            fix=f"make its maps smaller: inputs times neurons up to {MOST_WEIGHTS}",
        )
    with torch.no_grad():
        unit = torch.eye(stage.n_in, dtype=stage.connection.weight.dtype)
        return np.ascontiguousarray(stage.drive(unit).t().double().numpy())


def even(values: Array | float) -> Array:
    """The nearest even codes, int32."""
    return (2 * np.rint(np.asarray(values) / 2)).astype(np.int32)


def _traced(stage: Stage) -> TracedNeurons:
    if not isinstance(stage.neurons, TracedNeurons):
        raise _other(stage)
    return stage.neurons


def _other(stage: Stage) -> CompileError:
    return CompileError(
        limit="LeakyNeurons or TracedNeurons",
        value=type(stage.neurons).__name__,
        layer=stage.name,
        fix="build the network of the neurons of one rule",
    )
