"""Network to :class:`LoihiProgram`: scales, decays, thresholds, exponents, with the range checks that Lava does not make.

Per layer (design note lava.md, section 3), with ``k`` of :mod:`.discretise` and ``w`` in units of the neuron's own threshold:

    W = 2 code,  code = round(w / scale),  vth = round(2^e 2 / (k scale)),  du = round(4096 (1 - alpha)) - 1,
    dv = round(4096 (1 - beta))

``scale``, the model weight of one code, follows the weights (``weight_scale``), but is at least what keeps ``vth`` within 17
bits. The exponent ``e`` scales weights and threshold together: it is as large as threshold and wrap of ``u`` allow, since
each tick's truncation of ``u`` and ``v`` then weighs least.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from hwloop.errors import CompileError
from hwloop.mapping import (
    Capabilities,
    LayerProgram,
    LayerValues,
    Program,
    ScaleRule,
    dense_name,
    layer_program,
    lif_name,
    network_values,
    rules_and_placement,
    scale_of,
)
from hwloop.network import Network

from .discretise import Discrete, discretise
from .graph import (
    BIAS_EXPONENT,
    BIAS_MANTISSA,
    DECAY_UNITY,
    EXPONENTS,
    MAX_STATE,
    MAX_THRESHOLD,
    STATE_SHIFT,
    Array,
    FixedGraph,
    FixedLayer,
    Synapses,
)
from .limits import capabilities, check_features
from .program import LayerFit, LoihiProgram

#: Largest sum of effective weights of one tick that cannot wrap ``u`` from rest.
MAX_VOLLEY = MAX_STATE // 2**STATE_SHIFT - 1
#: What still rounds to a threshold of 17 bits.
LARGEST_THRESHOLD = MAX_THRESHOLD + 0.49
#: The exponent that lava-dl's netx reads every bias with.
NETX_BIAS_EXPONENT = 6
#: The exponent leaves room for this many such volleys: neurons fire more than once, weights move in the loop.
VOLLEYS = 4


def compile_loihi(
    net: Network,
    dt: float,
    *,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
    like: Program | None = None,
    exponents: bool = True,
) -> LoihiProgram:
    """``net`` as fixed-point layers at steps of ``dt`` (s); options as for :func:`hwloop.mapping.compile_network`.

    Without ``exponents`` weights have none and biases that of lava-dl, 6: what netx files can say.

    Raises
    ------
    CompileError
        What the arithmetic cannot carry: neuron parameters that differ within a layer, reset by subtraction, refractory
        times, caps on spikes, delays beyond 63 ticks, a threshold beyond 17 bits, decays outside 12 bits, a bias outside its
        register, weights that are all zero, sums that wrap ``u``. Names limit, value, layer and fix.
    InputError
        A parameter, scale or mask is outside its bounds.
    """
    limits = capabilities(dt)
    layers = network_values(net)
    for index, layer in enumerate(layers):
        check_features(index, layer, dt, refractory=False)
    rules, placement = rules_and_placement(layers, limits, weight_scale, mask, like)
    parts = [
        _layer(index, layer, rule, neurons, dt, limits, exponents)
        for index, (layer, rule, neurons) in enumerate(zip(layers, rules, placement, strict=True))
    ]
    programs, fixed, fits = zip(*parts, strict=True)
    graph = FixedGraph(tuple(fixed), dt)
    return LoihiProgram(
        limits, tuple(programs), notes=_notes(programs), graph=graph, fits=tuple(fits), exponents=exponents
    )


def _layer(
    index: int,
    layer: LayerValues,
    rule: ScaleRule,
    neurons: Array,
    dt: float,
    limits: Capabilities,
    exponents: bool,
) -> tuple[LayerProgram, FixedLayer, LayerFit]:
    discrete = discretise(index, layer, dt)
    swing, gain = _folded(discrete.swing)
    scale = _scale(index, layer, rule, discrete, swing, gain, limits, dt)
    program = layer_program(layer, scale, neurons, limits.max_code, gain)
    if not program.codes.any():
        raise CompileError(
            limit="weights of which at least one is not zero after rounding: they set the scale of the layer",
            value="all zero" if not layer.weight.any() else f"all zero at {program.scale:g} a code",
            layer=dense_name(index),
            fix="remove the layer or train it; with a weight_scale of your own, choose a smaller one",
        )
    codes = program.codes.astype(np.int32)
    volley = _volley(codes)
    exact = 2.0 * swing / (discrete.step * program.scale)
    exponent = _exponent(index, exact, volley, program.scale, EXPONENTS[1] if exponents else 0)
    vth = round(exact * 2.0**exponent)
    delay = None if discrete.delay is None else np.tile(discrete.delay, (len(codes), 1))
    lift = discrete.lift / discrete.swing * exact * 2.0 ** (exponent + STATE_SHIFT)
    mantissa, shift = _bias(index, lift, None if exponents else NETX_BIAS_EXPONENT)
    fixed = FixedLayer(
        Synapses(2 * codes, exponent, "mixed", delay=delay),
        du=_decay(index, "tau_syn", discrete.tau_syn, dt, offset=1),
        dv=_decay(index, "tau_mem", discrete.tau_mem, dt, offset=0),
        vth=vth,
        bias_mant=mantissa,
        bias_exp=shift,
    )
    return program, fixed, _fit(index, fixed, discrete, dt, exact, volley)


def _folded(swing: Array) -> tuple[float, Array | None]:
    """Swing of the population, and the factor of each neuron's weights where thresholds differ."""
    reference = float(swing.max())
    if bool((swing == swing[0]).all()):
        return reference, None
    return reference, swing / reference


def _scale(
    index: int,
    layer: LayerValues,
    rule: ScaleRule,
    discrete: Discrete,
    swing: float,
    gain: Array | None,
    limits: Capabilities,
    dt: float,
) -> float:
    """Model weight of one code: by ``rule``, at least what a threshold of 17 bits allows; a number is taken or refused."""
    least = 2.0 * swing / (discrete.step * LARGEST_THRESHOLD)
    weight = layer.weight if gain is None else layer.weight / gain[:, None]
    scale = scale_of(weight, rule, limits.max_code or 1)
    if isinstance(rule, str):
        return max(scale, least)
    if scale < least:
        raise CompileError(
            limit=f"thresholds of 17 bits, vth up to {MAX_THRESHOLD}",
            value=f"vth = {2.0 * swing / (discrete.step * scale):.0f} at {scale:g} a code and dt = {dt:g} s",
            layer=lif_name(index),
            fix=f"weight_scale of {least:.3g} or more for this layer, or 'max', or dt of {dt * least / scale:.2g} s or more",
        )
    return scale


def _volley(codes: Array) -> int:
    """Largest magnitude of the sum of a tick in which the worst choice of inputs spikes, before the exponent."""
    return int(2 * max(np.maximum(codes, 0).sum(1).max(), np.maximum(-codes, 0).sum(1).max()))


def _exponent(index: int, exact: float, volley: int, scale: float, largest: int) -> int:
    if volley > MAX_VOLLEY:
        raise CompileError(
            limit=f"sums of weights up to {MAX_VOLLEY}: beyond it u wraps and changes its sign",
            value=f"a neuron whose inputs together bring {volley}",
            layer=dense_name(index),
            fix=f"weight_scale of {scale * volley / MAX_VOLLEY * 1.05:.3g} or more for this layer (now {scale:.3g}), or fewer inputs",
        )
    room = min(LARGEST_THRESHOLD / exact, MAX_VOLLEY / (VOLLEYS * volley))
    # a threshold that rounding puts on the limit counts as within it
    exponent = max(0, min(largest, math.floor(math.log2(room) + 1e-9)))
    if round(exact * 2.0**exponent) < 1:
        raise CompileError(
            limit="thresholds of at least 1, the weight of half a code",
            value=f"vth = {exact * 2.0**exponent:.2g} at {scale:g} a code",
            layer=lif_name(index),
            fix="lower the weights or raise v_th: a single spike of the smallest weight makes a neuron fire",
        )
    return exponent


def _decay(index: int, name: str, tau: float, dt: float, offset: int) -> int:
    """Decay register for ``tau``: ``round(4096 (1 - exp(-dt/tau))) - offset``."""
    value = round(DECAY_UNITY * -math.expm1(-dt / tau)) - offset
    if not 0 <= value < DECAY_UNITY or value + offset == 0:
        raise CompileError(
            limit="decays of 1..4095 / 4096 a tick",
            value=f"{name} = {tau:g} s, {DECAY_UNITY * -math.expm1(-dt / tau):.2f} / 4096 a tick of {dt:g} s",
            layer=lif_name(index),
            fix=f"open the target with dt={tau / 400:.1g}, or choose taus of one magnitude: dt between {tau / DECAY_UNITY:.1g} and {tau:.1g}",
        )
    return value


def _bias(index: int, lift: Array, fixed: int | None) -> tuple[Array, Array]:
    """Mantissas and exponents ``[n]`` for what the leak adds each tick, in units of the state; ``fixed``: this exponent."""
    exponent = np.full(len(lift), fixed or 0, np.int32)
    for power in range(1, BIAS_EXPONENT[1] + 1 if fixed is None else 0):
        exponent[np.abs(lift) / 2.0 ** (power - 1) > BIAS_MANTISSA[1]] = power
    mantissa = np.rint(lift / 2.0**exponent)
    if np.abs(mantissa).max() > BIAS_MANTISSA[1]:
        neuron = int(np.abs(mantissa).argmax())
        top = BIAS_EXPONENT[1] if fixed is None else fixed
        raise CompileError(
            limit=f"a bias of up to {BIAS_MANTISSA[1] * 2**top} a tick (13 bits, exponent {top})",
            value=f"{lift[neuron]:.0f} for the leak potential of neuron {neuron}",
            layer=lif_name(index),
            fix="bring v_leak closer to v_reset, or choose a smaller dt",
        )
    return mantissa.astype(np.int32), exponent


def _fit(index: int, fixed: FixedLayer, discrete: Discrete, dt: float, exact: float, volley: int) -> LayerFit:
    def error(factor: int, tau: float) -> float:
        return -dt / math.log(factor / DECAY_UNITY) / tau - 1.0 if factor > 0 else -1.0

    ideal = exact * 2.0**fixed.synapses.exponent
    return LayerFit(
        population=index,
        du=fixed.du,
        dv=fixed.dv,
        vth=fixed.vth,
        weight_exp=fixed.synapses.exponent,
        tau_syn_error=error(DECAY_UNITY - fixed.du - 1, discrete.tau_syn),
        tau_mem_error=error(DECAY_UNITY - fixed.dv, discrete.tau_mem),
        threshold_error=fixed.vth / ideal - 1.0,
        headroom=MAX_VOLLEY / (volley * 2.0**fixed.synapses.exponent),
    )


def _notes(programs: Sequence[LayerProgram]) -> tuple[str, ...]:
    """Layers whose weights had to give resolution away for the threshold."""
    few = [
        f"{dense_name(index)}: the threshold takes 17 bits, weights use codes up to {int(np.abs(program.codes).max())} of "
        f"{program.max_code}; a larger dt leaves them more"
        for index, program in enumerate(programs)
        if program.max_code is not None and int(np.abs(program.codes).max()) <= program.max_code // 2
    ]
    return tuple(few)
