"""Network to :class:`LoihiProgram`: scales, decays, thresholds, exponents, with the range checks that Lava does not make.

Per layer, with ``k`` of :mod:`.discretise` and ``w`` in units of the neuron's own threshold:

    W = 2 code,  code = round(w / scale),  vth = round(2^e 2 / (k scale)),  du = round(4096 (1 - alpha)) - 1,
    dv = round(4096 (1 - beta))

``scale``, the model weight of one code, follows the weights (``weight_scale``), but is at least what keeps ``vth`` within 17
bits. The exponent ``e`` scales weights and threshold together: it is as large as threshold and wrap of ``u`` allow, since
each tick's truncation of ``u`` and ``v`` then weighs least.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from hwloop.errors import CompileError
from hwloop.mapping import (
    LayerProgram,
    LayerValues,
    Program,
    ScaleRule,
    layer_program,
    network_values,
    rounded_down,
    rounded_up,
    rules_and_placement,
    scale_of,
)
from hwloop.mapping.loss import weight_losses
from hwloop.network import Network
from hwloop_fixed_point.graph import Block, FixedGraph, FixedLayer, Synapses
from hwloop_fixed_point.registers import (
    BIAS_EXPONENT,
    BIAS_MANTISSA,
    DECAY_UNITY,
    EXPONENTS,
    MAX_STATE,
    MAX_THRESHOLD,
    STATE_SHIFT,
    Array,
)

from .delays import delay_losses
from .discretise import Discrete, discretise
from .limits import CODE_BITS, capabilities, check_features
from .neuron_registers import Held, bias_registers, decays, start_registers
from .program import LayerFit, LoihiProgram
from .remedy import (
    Compilation,
    Headroom,
    Refusal,
    mended,
    scale_of_layer,
    step_of,
    swing_times,
    weights_times,
)
from .timing import Timing, timings

#: Largest sum of effective weights of one tick that cannot wrap ``u`` from rest.
MAX_VOLLEY = MAX_STATE // 2**STATE_SHIFT - 1
#: Largest code of a weight.
MAX_CODE = 2 ** (CODE_BITS - 1) - 1
#: What still rounds to a threshold of 17 bits.
LARGEST_THRESHOLD = MAX_THRESHOLD + 0.49
#: The exponent that lava-dl's netx reads every bias with.
NETX_BIAS_EXPONENT = 6
#: Largest bias: a mantissa shifted by the largest exponent (units of the state).
LARGEST_BIAS = BIAS_MANTISSA[1] << BIAS_EXPONENT[1]
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
    headroom: Headroom = None,
) -> LoihiProgram:
    """``net`` as fixed-point layers at steps of ``dt`` (s); options as for :func:`hwloop.mapping.compile_network`.

    Without ``exponents`` weights have none and biases that of lava-dl, 6: what netx files can say. ``headroom`` is the number of
    worst volleys (every input of a neuron spikes in one tick) that a current has room for: exponents are chosen by it, by
    default :data:`VOLLEYS`. Where it is given, for all layers or one each, a scale that a rule chooses gives resolution away for
    it too.

    Raises
    ------
    CompileError
        What the arithmetic cannot carry: a readout that does not spike, neuron parameters that differ within a layer, reset by subtraction, refractory
        times, caps on spikes, delays beyond 63 ticks, a threshold beyond 17 bits, decays outside 12 bits, a bias outside its
        register, weights that are all zero, sums that wrap ``u``. Names limit, value, layer and fix; a fix with figures has
        been tried.
    InputError
        A parameter, scale or mask is outside its bounds.

    What rounding lost stands in the program's ``warnings``.
    """
    asked = Compilation(tuple(network_values(net)), dt, weight_scale, tuple(mask), like, exponents, headroom)
    try:
        program = compile_values(asked)
    except CompileError as error:
        raise mended(error, asked, compile_values) from None
    return program if like is not None else replace(program, warnings=tuple(_losses(asked, program)))


def compile_values(asked: Compilation) -> LoihiProgram:
    """As :func:`compile_loihi`; errors may be a :class:`~.remedy.Refusal`, whose suggestions have not been tried."""
    dt, limits = asked.dt, capabilities(asked.dt)
    layers, times = list(asked.layers), timings(asked.layers)
    for index, (layer, timing) in enumerate(zip(layers, times, strict=True)):
        check_features(index, layer, dt, timing, refractory=False)
    rules, placement = rules_and_placement(layers, limits, asked.weight_scale, asked.mask, asked.like)
    parts = [
        _layer(layer, rule, neurons, asked, timing)
        for layer, rule, neurons, timing in zip(layers, rules, placement, times, strict=True)
    ]
    programs, fixed, fits = zip(*parts, strict=True)
    graph = FixedGraph(tuple(fixed), dt)
    return LoihiProgram(
        limits, tuple(programs), notes=_notes(layers, programs), graph=graph, fits=tuple(fits), source=asked.alone()
    )


def _layer(
    layer: LayerValues, rule: ScaleRule, neurons: Array, asked: Compilation, timing: Timing
) -> tuple[LayerProgram, FixedLayer, LayerFit]:
    dt, index = asked.dt, layer.index
    discrete = discretise(layer, dt, timing)
    du, dv = decays(layer, dt)
    swing, gain = _folded(discrete.swing)
    scale = _scale(index, layer, rule, discrete, swing, gain, dt)
    program = layer_program(layer, scale, neurons, MAX_CODE, gain)
    headroom = asked.headrooms()[index]
    if isinstance(rule, str) and headroom is not None:
        program = _with_headroom(layer, program, headroom)
    if not program.codes.any():
        raise _all_zero(index, layer, program, rule, dt)
    codes = program.codes.astype(np.int32)
    volley = _volley(codes)
    exact = 2.0 * swing / (discrete.step * program.scale)
    exponent = _exponent(index, layer, program, exact, volley, Held.of(layer, discrete, exact), asked)
    vth = round(exact * 2.0**exponent)
    if layer.kind != "LIF":
        vth = max(vth - 1, 0)  # a membrane that jumps to the threshold has reached it
    delay = None if discrete.delay is None else np.broadcast_to(discrete.delay, codes.shape)
    # one membrane unit of each neuron in units of the state
    unit = exact * 2.0 ** (exponent + STATE_SHIFT) / discrete.swing
    mantissa, shift = bias_registers(
        index, layer, discrete.lift * unit, None if asked.exponents else NETX_BIAS_EXPONENT, dt
    )
    # what netx files can say: no starts
    starts = [None, None] if not asked.exponents else start_registers(discrete, unit)
    fixed = FixedLayer(
        Synapses(2 * codes, exponent, "mixed", delay=delay),
        du=du,
        dv=dv,
        vth=vth,
        bias_mant=mantissa,
        bias_exp=shift,
        blocks=tuple(Block(block.source, block.start, block.size) for block in layer.blocks),
        late=discrete.late if layer.blocks else None,
        u_start=starts[0],
        v_start=starts[1],
    )
    return program, fixed, _fit(index, fixed, discrete, dt, exact, volley)


def _losses(asked: Compilation, program: LoihiProgram) -> list[str]:
    """What rounding of weights and delays lost, with remedies that were tried."""

    times = timings(asked.layers)

    def requantised(index: int, rule: ScaleRule) -> LayerProgram | None:
        try:
            return _layer(asked.layers[index], rule, program.layers[index].neurons, asked, times[index])[0]
        except CompileError:
            return None

    return [
        *weight_losses(asked.layers, program.layers, asked.rules(), requantised),
        *delay_losses(asked, compile_values),
    ]


def _with_headroom(layer: LayerValues, program: LayerProgram, headroom: float) -> LayerProgram:
    """``program`` at a scale so coarse that ``headroom`` volleys fit, or at codes of -1, 0 and 1 where none is coarse enough.

    The largest weight stays on a whole code.
    """
    top = int(np.abs(program.codes).max(initial=0))
    full, volley = program.scale * top, _volley(program.codes)
    while top > 1 and volley * headroom > MAX_VOLLEY:
        # rounding may take the share that is wanted and more: one code at least each time
        top = max(1, min(top - 1, math.floor(top * MAX_VOLLEY / (volley * headroom))))
        program = layer_program(layer, full / top, program.neurons, MAX_CODE, program.gain)
        volley = _volley(program.codes)
    return program


def _all_zero(index: int, layer: LayerValues, program: LayerProgram, rule: ScaleRule, dt: float) -> CompileError:
    largest = float(np.abs(layer.weight if program.gain is None else layer.weight / program.gain[:, None]).max())
    limit = "weights of which at least one is not zero after rounding: they set the scale of the layer"
    if largest == 0.0:
        return CompileError(
            limit, "all zero", layer.weights_at, "remove the layer, or train it until a weight is not zero"
        )
    # a factor that puts the largest weight on the scale of one code
    factor = rounded_up(program.scale / largest, 2)
    suggestions = [weights_times(index, factor), swing_times(index, rounded_down(1 / factor, 2))]
    suggestions.insert(
        0, step_of(rounded_up(dt * factor, 2)) if isinstance(rule, str) else scale_of_layer(index, "max")
    )
    value = f"all zero at {program.scale:g} a code (the largest is {largest:g})"
    return Refusal(limit, value, layer.weights_at, f"train with weights {factor:g} times as large", suggestions)


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
    dt: float,
) -> float:
    """Model weight of one code: by ``rule``, at least what a threshold of 17 bits allows; a number is taken or refused."""
    least = 2.0 * swing / (discrete.step * LARGEST_THRESHOLD)
    weight = layer.weight if gain is None else layer.weight / gain[:, None]
    scale = scale_of(weight, rule, MAX_CODE)
    if isinstance(rule, str):
        return max(scale, least)
    if scale < least:
        raise Refusal(
            limit=f"thresholds of 17 bits, vth up to {MAX_THRESHOLD}",
            value=f"vth = {2.0 * swing / (discrete.step * scale):.0f} at {scale:g} a code and dt = {dt:g} s",
            layer=layer.neurons_at,
            fix=f"a weight_scale of {least:g} or more for this layer",
            suggestions=[scale_of_layer(index, rounded_up(least, 3)), scale_of_layer(index, "max")],
        )
    return scale


def _volley(codes: Array) -> int:
    """Largest magnitude of the sum of a tick in which the worst choice of inputs spikes, before the exponent."""
    return int(2 * max(np.maximum(codes, 0).sum(1).max(), np.maximum(-codes, 0).sum(1).max()))


def _exponent(
    index: int, layer: LayerValues, program: LayerProgram, exact: float, volley: int, held: Held, asked: Compilation
) -> int:
    scale = program.scale
    if volley > MAX_VOLLEY:
        coarser = scale * volley / MAX_VOLLEY
        raise Refusal(
            limit=f"sums of weights up to {MAX_VOLLEY}: beyond it u wraps and changes its sign",
            value=f"a neuron whose inputs together bring {volley} at {scale:.3g} a code",
            layer=layer.weights_at,
            fix="fewer inputs of each neuron",
            suggestions=[
                scale_of_layer(index, *(rounded_up(coarser * share, 3) for share in (1.0, 1.1, 1.3, 1.6, 2.0)))
            ],
        )
    if (start := held.start) > MAX_STATE - 1:
        coarser = scale * start / (MAX_STATE - 1)
        raise Refusal(
            limit="currents and membranes of 24 bits at time 0",
            value=f"one of {start:.3g} at {scale:.3g} a code, of 2^23",
            layer=layer.neurons_at,
            fix="build the layer with v_init closer to v_reset, and a smaller bias",
            suggestions=[scale_of_layer(index, *(rounded_up(coarser * share, 3) for share in (1.0, 1.1, 1.5, 2.0)))],
        )
    headroom = asked.headrooms()[index] or VOLLEYS
    room = min(
        LARGEST_THRESHOLD / exact,
        MAX_VOLLEY / (headroom * volley),
        (MAX_STATE - 1) / max(start, 1.0),
        LARGEST_BIAS / max(held.lift, 1.0),
    )
    # a threshold that rounding puts on the limit counts as within it
    exponent = max(0, min(EXPONENTS[1] if asked.exponents else 0, math.floor(math.log2(room) + 1e-9)))
    found = exact * 2.0**exponent
    if round(found) < 1:
        factor = rounded_down(found, 2)
        raise Refusal(
            limit="thresholds of at least 1, the weight of half a code",
            value=f"vth = {found:.2g} at {scale:g} a code",
            layer=layer.neurons_at,
            fix=f"train with weights {factor:g} times as large: a single spike of the smallest weight makes a neuron fire",
            suggestions=[
                scale_of_layer(index, "max"),
                weights_times(index, factor),
                swing_times(index, rounded_up(1 / factor, 2)),
                step_of(rounded_down(asked.dt * factor, 2)),
            ],
        )
    return exponent


def _fit(index: int, fixed: FixedLayer, discrete: Discrete, dt: float, exact: float, volley: int) -> LayerFit:
    def error(factor: int, tau: float) -> float:
        if tau in (0.0, math.inf):  # no current, no leak: exact
            return 0.0
        return -dt / math.log(factor / DECAY_UNITY) / tau - 1.0

    ideal = exact * 2.0**fixed.synapses.exponent
    return LayerFit(
        population=index,
        du=fixed.du,
        dv=fixed.dv,
        vth=fixed.vth,
        weight_exp=fixed.synapses.exponent,
        tau_syn_error=error(DECAY_UNITY - fixed.du - 1, discrete.tau_syn),
        tau_mem_error=error(DECAY_UNITY - fixed.dv, discrete.tau_mem),
        threshold_error=(fixed.vth + (discrete.tau_syn == 0.0)) / ideal - 1.0,
        headroom=MAX_VOLLEY / (volley * 2.0**fixed.synapses.exponent),
    )


def _notes(layers: Sequence[LayerValues], programs: Sequence[LayerProgram]) -> tuple[str, ...]:
    """Layers whose weights had to give resolution away for the threshold; when spikes act that come round a loop."""
    few = [
        f"{layer.weights_at}: the threshold takes 17 bits, weights use codes up to {int(np.abs(program.codes).max())} of "
        f"{program.max_code}; a larger dt leaves them more"
        for layer, program in zip(layers, programs, strict=True)
        if program.max_code is not None and int(np.abs(program.codes).max()) <= program.max_code // 2
    ]
    loops = [layer.weights_at for layer in layers if any(block.source >= layer.index for block in layer.blocks)]
    if loops:
        few.append(
            f"{', '.join(loops)}: a spike of tick t acts on the way back at tick t + 1 at the earliest: a delay takes "
            "max(1, delay / dt) ticks, rounded"
        )
    return tuple(few)
