"""What a Loihi-style target can carry at a step ``dt``."""

from __future__ import annotations

from hwloop.errors import CompileError
from hwloop.mapping import Capabilities, LayerValues, check_layer
from hwloop_fixed_point.registers import MAX_DELAY

from .timing import Timing, delay_ticks

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
        populations=("LIF", "DeltaLIF", "IF"),
        graphs=True,
        recurrent=True,
        synaptic_delays=True,
        bias=True,
        initial_membrane=True,
    )


def check_features(index: int, layer: LayerValues, dt: float, timing: Timing, *, refractory: bool) -> None:
    """Raise :class:`CompileError` for what population ``index`` asks and neither Lava process nor emulator has.

    ``refractory``: whether refractory times exist (in floating point they do).
    """
    delay_ticks(layer, dt, timing)
    check_layer(index, layer, capabilities(dt))
    longest = float(layer.parameters["t_ref"].max())
    if longest > 0 and not refractory:
        raise CompileError(
            limit="t_ref = 0: in fixed point there is no refractory neuron (LIFRefractory is floating point only)",
            value=f"t_ref = {longest:g} s",
            layer=layer.neurons_at,
            fix='build the layer with t_ref=0 and fine-tune on the target, or open "lava" with arithmetic="float"',
        )
