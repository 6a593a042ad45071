"""Neurons as registers: decays, biases, and states before tick 0; refused where they have no room."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hwloop.mapping import LayerValues, rounded_down, rounded_up
from hwloop_fixed_point.registers import BIAS_EXPONENT, BIAS_MANTISSA, DECAY_UNITY, STATE_SHIFT, Array

from .discretise import Discrete
from .remedy import Refusal, parameter_of, step_of


def decays(layer: LayerValues, dt: float) -> tuple[int, int]:
    """``du`` and ``dv``: a current that lasts one tick where the membrane jumps, a membrane that keeps all without leak."""
    du = _decay(layer, "tau_syn", dt, offset=1) if layer.kind == "LIF" else DECAY_UNITY - 1
    return du, 0 if layer.kind == "IF" else _decay(layer, "tau_mem", dt, offset=0)


class Held(NamedTuple):
    """Largest magnitudes, in units of the state without exponent: of a state before tick 0, of what a tick adds in a graph."""

    start: float
    lift: float

    @classmethod
    def of(cls, layer: LayerValues, discrete: Discrete, exact: float) -> Held:
        unit = exact * 2.0**STATE_SHIFT / discrete.swing
        starts = [float(np.abs(start * unit).max()) for start in _given(discrete)]
        return cls(max(starts, default=0.0), float(np.abs(discrete.lift * unit).max()) if layer.blocks else 0.0)


def _given(discrete: Discrete) -> list[Array]:
    return [start for start in (discrete.u_start, discrete.v_start) if start is not None]


def start_registers(discrete: Discrete, unit: Array) -> list[Array | None]:
    """Current and membrane before tick 0, ``unit [n]`` of the state a membrane unit; None: 0."""
    return [
        None if start is None else np.rint(start * unit).astype(np.int32)
        for start in (discrete.u_start, discrete.v_start)
    ]


def _decay(layer: LayerValues, name: str, dt: float, offset: int) -> int:
    """Decay register for a layer's time constant: ``round(4096 (1 - exp(-dt/tau))) - offset``."""
    tau = float(layer.parameters[name][0])
    value = round(DECAY_UNITY * -math.expm1(-dt / tau)) - offset
    if not 0 <= value < DECAY_UNITY or value + offset == 0:
        longest = rounded_down(dt / -math.log1p(-0.51 / DECAY_UNITY), 3)
        changed = np.full_like(layer.parameters[name], longest)
        text = f"build the layer with {name}={longest:g} (s), the longest at this step"
        raise Refusal(
            limit="decays of 1..4095 / 4096 a tick",
            value=f"{name} = {tau:g} s, {DECAY_UNITY * -math.expm1(-dt / tau):.2f} / 4096 a tick of {dt:g} s",
            layer=layer.neurons_at,
            fix=f"choose time constants of one magnitude: from one step to {longest / dt:.0f} steps, all layers alike",
            suggestions=[step_of(rounded_up(tau / 400, 2)), parameter_of(layer.index, name, changed, text)],
        )
    return value


def bias_registers(index: int, layer: LayerValues, lift: Array, fixed: int | None, dt: float) -> tuple[Array, Array]:
    """Mantissas and exponents ``[n]`` for what the leak adds each tick, in units of the state; ``fixed``: this exponent."""
    exponent = np.full(len(lift), fixed or 0, np.int32)
    for power in range(1, BIAS_EXPONENT[1] + 1 if fixed is None else 0):
        exponent[np.abs(lift) / 2.0 ** (power - 1) > BIAS_MANTISSA[1]] = power
    mantissa = np.rint(lift / 2.0**exponent)
    if np.abs(mantissa).max() > BIAS_MANTISSA[1]:
        neuron = int(np.abs(mantissa).argmax())
        top = BIAS_EXPONENT[1] if fixed is None else fixed
        largest = BIAS_MANTISSA[1] * 2**top
        leak, reset = (layer.parameters[name].astype(np.float64) for name in ("v_leak", "v_reset"))
        share = largest / float(np.abs(lift[neuron]))
        nearest = rounded_down(float(reset[neuron] + share * (leak[neuron] - reset[neuron])), 3)
        raise Refusal(
            limit=f"a bias of up to {largest} a tick (13 bits, exponent {top})",
            value=f"{lift[neuron]:.0f} for the leak potential {leak[neuron]:g}{_and_bias(layer, neuron)} of neuron {neuron}",
            layer=layer.neurons_at,
            fix="build the layer with v_leak = v_reset; a constant drive can be a bias unit that spikes at 0",
            suggestions=[
                step_of(*(rounded_down(dt * part, 2) for part in (share, share / 2, share / 5))),
                parameter_of(
                    index, "v_leak", np.minimum(leak, nearest), f"build the layer with v_leak up to {nearest:g}"
                ),
                parameter_of(index, "v_leak", reset, "build the layer with v_leak = v_reset"),
            ],
        )
    return mantissa.astype(np.int32), exponent


def _and_bias(layer: LayerValues, neuron: int) -> str:
    return "" if layer.bias is None else f" and the bias {layer.bias[neuron]:g}"
