"""What a Loihi-style target can carry at a step ``dt``."""

from __future__ import annotations

import numpy as np

from hwloop.errors import CompileError
from hwloop.mapping import Capabilities, LayerValues, check_layer, dense_name, lif_name, rounded_up
from hwloop_fixed_point.registers import MAX_DELAY, Array

from .remedy import Refusal, delays_up_to, step_of

#: Neurons of one Loihi 2 chip: 128 cores of 8192 (Intel, Loihi 2 technology brief, 2021).
NEURONS = 128 * 8192
#: Inputs of a neuron: with more, a volley of the smallest weight (code 1, an even mantissa 2) could wrap u.
FAN_IN = (2**23 // 64 - 1) // 2
#: Signed codes -127..127; the mantissa declared to Dense is twice the code, since mixed weights are even.
CODE_BITS = 8
#: What all neurons of a population share: Lava's LIF has one du, one dv.
UNIFORM = ("tau_mem", "tau_syn", "t_ref")


def capabilities(dt: float) -> Capabilities:
    """Limits at a step of ``dt`` (s)."""
    return Capabilities(
        name=f"loihi/{dt * 1e6:g}us",
        n_neurons=NEURONS,
        fan_in=FAN_IN,
        weight_bits=CODE_BITS,
        delays=True,
        # half a tick more is rounded down to the longest
        max_delay=(MAX_DELAY + 0.5) * dt,
        uniform=UNIFORM,
        time_step=dt,
    )


def check_features(index: int, layer: LayerValues, dt: float, *, refractory: bool) -> None:
    """Raise :class:`CompileError` for what population ``index`` asks and neither Lava process nor emulator has.

    ``refractory``: whether refractory times exist (in floating point they do).
    """
    if layer.delay is not None:
        delay_ticks(index, layer.delay, dt)
    check_layer(index, layer, capabilities(dt))
    longest = float(layer.parameters["t_ref"].max())
    if longest > 0 and not refractory:
        raise CompileError(
            limit="t_ref = 0: in fixed point there is no refractory neuron (LIFRefractory is floating point only)",
            value=f"t_ref = {longest:g} s",
            layer=lif_name(index),
            fix='build the layer with t_ref=0 and fine-tune on the target, or open "lava" with arithmetic="float"',
        )


def delay_ticks(index: int, delay: Array, dt: float) -> Array:
    """Axonal delays ``[n_in]`` (s) in whole ticks; :class:`CompileError` beyond 63."""
    ticks = np.rint(delay.astype(np.float64) / dt).astype(np.int64)
    if int(ticks.max()) > MAX_DELAY:
        unit = int(ticks.argmax())
        longest = float(delay[unit])
        raise Refusal(
            limit=f"delays up to {MAX_DELAY} ticks, {MAX_DELAY * dt:g} s at dt = {dt:g} s",
            value=f"a delay of {longest:g} s, {int(ticks[unit])} ticks (input unit {unit})",
            layer=dense_name(index),
            fix=f"shorten the delays to {MAX_DELAY * dt:g} s; a larger dt does not fit the time constants",
            suggestions=[step_of(rounded_up(longest / MAX_DELAY, 6)), delays_up_to(index, MAX_DELAY * dt)],
        )
    return ticks
