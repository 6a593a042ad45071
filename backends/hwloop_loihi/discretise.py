"""From exact neurons to steps of ``dt``: decays, weights, bias, delays in ticks; still real numbers.

Between two spikes the exact neuron is linear, so that stepping it by ``dt`` loses nothing:

    alpha = exp(-dt / tau_syn),  beta = exp(-dt / tau_mem),
    k = (alpha - beta) tau_syn / (tau_syn - tau_mem)        (limit dt/tau exp(-dt/tau) for equal taus)
    u[n] = alpha u[n-1] + k w s[n-1],  v[n] = beta v[n-1] + u[n]

puts ``v[n]`` at the exact membrane at ``n dt`` where the input spikes lie on the grid. What is lost is where they do not, and
where within a tick the threshold is crossed. Membranes are measured from ``v_reset`` in units of ``v_th - v_reset``: per-neuron
thresholds, leak and reset potentials go into the rows of the weight matrix and the bias.

Delta synapses: alpha = 0, k = 1, so that ``v[n]`` is the exact membrane at ``(n - 1) dt``, jumps included; without leak beta = 1.

A bias acts from tick 0 on, one tick before an input spike of tick 0 does. In a graph membranes start where the model's would have
been that much earlier (:mod:`.timing`), so that bias, leak and ``v_init`` are in time with the input; a filtered bias is the bias and
an input current of its negative at time 0, which is where the current starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from hwloop.errors import CompileError, InputError
from hwloop.mapping import LayerValues, network_values, rounded_down
from hwloop.network import Network
from hwloop_fixed_point.graph import Block, FloatGraph, FloatLayer
from hwloop_fixed_point.registers import Array

from .limits import check_features
from .remedy import Compilation, Refusal, mended, step_of, taus_of, time_constants
from .timing import Timing, delay_ticks, timings

#: Share of the threshold by which sums that are meant to reach it may fall short of it in floating point.
THRESHOLD_SLACK = 1e-9


@dataclass(frozen=True, eq=False)
class Discrete:
    """One layer at a step.

    Attributes
    ----------
    alpha, beta : decays of current and membrane in one tick
    step : membrane, one tick after an input spike of weight 1 (membrane units)
    swing : ``[n]`` ``v_th - v_reset`` (membrane units)
    lift : ``[n]`` what the leak adds to the membrane in one tick (membrane units)
    delay : ``[n_in]`` or ``[n_out, n_in]`` int (ticks), or None
    tau_mem, tau_syn : (s); infinite without leak, 0 with delta synapses
    late : ticks by which its spikes are seen late
    u_start, v_start : ``[n]`` current and membrane before tick 0 (membrane units, from ``v_reset``), or None: 0
    """

    alpha: float
    beta: float
    step: float
    swing: Array
    lift: Array
    delay: Array | None
    tau_mem: float
    tau_syn: float
    late: float
    u_start: Array | None = None
    v_start: Array | None = None


def discretise(layer: LayerValues, dt: float, timing: Timing) -> Discrete:
    """A population at steps of ``dt`` (s); parameters that must be shared by its neurons have been checked.

    Raises :class:`CompileError`: a tau shorter than a step; in a row of layers a leak potential that the membrane cannot start from.
    """
    shortest = min(time_constants(layer), default=dt)
    if dt > shortest:
        both = ", ".join(f"{name} = {float(layer.parameters[name][0]):g} s" for name in taus_of(layer))
        raise Refusal(
            limit=f"time constants of at least one step, dt = {dt:g} s",
            value=both,
            layer=layer.neurons_at,
            fix="choose time constants of one magnitude, all layers alike",
            suggestions=[step_of(rounded_down(shortest / 50, 1))],
        )
    parameters = {name: values.astype(np.float64) for name, values in layer.parameters.items()}
    tau_mem, tau_syn = float(parameters["tau_mem"][0]), float(parameters["tau_syn"][0])
    alpha, beta = math.exp(-dt / tau_syn), math.exp(-dt / tau_mem)
    x = dt / tau_mem - dt / tau_syn
    ratio = math.expm1(x) / x if x else 1.0
    step = beta * ratio * dt / tau_mem
    if layer.kind != "LIF":
        alpha, step, tau_syn = 0.0, 1.0, 0.0
    bias = np.zeros(len(layer.weight)) if layer.bias is None else layer.bias.astype(np.float64)
    if layer.kind == "IF":
        beta, tau_mem, lift = 1.0, math.inf, bias * dt
    else:
        lift = (parameters["v_leak"] + bias - parameters["v_reset"]) * -math.expm1(-dt / tau_mem)
    found = Discrete(
        alpha, beta, step, parameters["v_th"] - parameters["v_reset"], lift, delay_ticks(layer, dt, timing), tau_mem, tau_syn,
        timing.late,
    )  # fmt: skip
    if not layer.blocks:
        _check_start(layer, parameters)
        return found
    u_start, v_start = _starts(layer, parameters, bias, found, dt, timing)
    return replace(found, u_start=u_start, v_start=v_start)


def _starts(
    layer: LayerValues, parameters: dict[str, Array], bias: Array, found: Discrete, dt: float, timing: Timing
) -> tuple[Array | None, Array | None]:
    """Current and membrane of the model at the time for which the tick before the first stands, as if it had run before 0."""
    v_leak, v_th, v_reset = (parameters[name] for name in ("v_leak", "v_th", "v_reset"))
    v0 = np.where(v_leak < v_th, v_leak, v_reset) if layer.v_init is None else layer.v_init.astype(np.float64)
    before = dt * (1.0 + timing.arrives + (0.0 if layer.kind == "LIF" else 1.0))
    u_start = np.zeros_like(bias)
    if layer.kind == "IF":
        v_start = v0 - bias * before
    else:
        target = v_leak + bias
        v_start = target + (v0 - target) * math.exp(before / found.tau_mem)
    if layer.kind == "LIF" and layer.filtered:
        decay_syn, decay_mem = math.exp(before / found.tau_syn), math.exp(before / found.tau_mem)
        if found.tau_syn == found.tau_mem:
            response = -before / found.tau_mem * decay_mem
        else:
            response = (decay_syn - decay_mem) * found.tau_syn / (found.tau_syn - found.tau_mem)
        v_start = v_start - bias * response
        u_start = -bias * found.step * decay_syn / found.alpha
    # a membrane that comes down from just below the threshold does not start above it
    v_start = np.where(v0 < v_th, np.minimum(v_start, v_th), v_start) - v_reset
    return u_start if u_start.any() else None, v_start if v_start.any() else None


def float_graph(net: Network, dt: float) -> FloatGraph:
    """``net`` as floating-point layers at steps of ``dt`` (s): thresholds 1, no rounding but that of times.

    Refractory times become whole ticks. Raises :class:`CompileError` for what neither graph has: taus or refractory times that
    differ within a layer, reset by subtraction, a cap on spikes, delays beyond 63 ticks, and as :func:`discretise`.
    """
    if not (math.isfinite(dt) and dt > 0):
        raise InputError(f"dt = {dt} s; allowed: finite and > 0")
    asked = Compilation(tuple(network_values(net)), dt)
    try:
        graph = float_layers(asked)
    except CompileError as error:
        raise mended(error, asked, float_layers) from None
    return graph


def float_layers(asked: Compilation) -> FloatGraph:
    """As :func:`float_graph`; errors may be a :class:`~.remedy.Refusal`, whose suggestions have not been tried."""
    dt = asked.dt
    parts = []
    for index, (values, timing) in enumerate(zip(asked.layers, timings(asked.layers), strict=True)):
        check_features(index, values, dt, timing, refractory=True)
        parts.append(_float_layer(values, discretise(values, dt, timing), dt))
    return FloatGraph(tuple(parts), dt)


def _float_layer(values: LayerValues, discrete: Discrete, dt: float) -> FloatLayer:
    rows = discrete.step / discrete.swing
    delay = None if discrete.delay is None else np.broadcast_to(discrete.delay, values.weight.shape)
    starts = [None if start is None else start / discrete.swing for start in (discrete.u_start, discrete.v_start)]
    return FloatLayer(
        values.weight.astype(np.float64) * rows[:, None],
        du=1.0 - discrete.alpha,
        dv=1.0 - discrete.beta,
        # a membrane that jumps to the threshold has reached it; a crossing in continuous time is no matter of the last digit
        vth=1.0 if values.kind == "LIF" else 1.0 - THRESHOLD_SLACK,
        bias=discrete.lift / discrete.swing,
        delay=delay,
        refractory=int(np.rint(float(values.parameters["t_ref"][0]) / dt)),
        blocks=tuple(Block(block.source, block.start, block.size) for block in values.blocks),
        late=discrete.late if values.blocks else None,
        u_start=starts[0],
        v_start=starts[1],
    )


def _check_start(layer: LayerValues, parameters: dict[str, Array]) -> None:
    """A membrane starts at 0, that is at ``v_reset``: as the model's does where ``v_leak = v_reset`` or ``v_leak >= v_th``."""
    leak, reset, threshold = (parameters[name] for name in ("v_leak", "v_reset", "v_th"))
    bad = (leak != reset) & (leak < threshold)
    if not bad.any():
        return
    neuron = int(np.argmax(bad))
    raise CompileError(
        limit="membranes that start at v_reset: v_leak = v_reset, or v_leak >= v_th",
        value=f"v_leak = {leak[neuron]:g}, v_reset = {reset[neuron]:g}, v_th = {threshold[neuron]:g} ({int(bad.sum())} neurons, "
        f"first: neuron {neuron})",
        layer=layer.neurons_at,
        fix=f"build the layer with v_reset = v_leak = {leak[neuron]:g}; a constant drive can be a bias unit that spikes at 0",
    )
