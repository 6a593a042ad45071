"""From exact neurons to steps of ``dt``: decays, weights, bias, delays in ticks; still real numbers.

Between two spikes the exact neuron is linear, so that stepping it by ``dt`` loses nothing:

    alpha = exp(-dt / tau_syn),  beta = exp(-dt / tau_mem),
    k = (alpha - beta) tau_syn / (tau_syn - tau_mem)        (limit dt/tau exp(-dt/tau) for equal taus)
    u[n] = alpha u[n-1] + k w s[n-1],  v[n] = beta v[n-1] + u[n]

puts ``v[n]`` at the exact membrane at ``n dt`` where the input spikes lie on the grid. What is lost is where they do not, and
where within a tick the threshold is crossed. Membranes are measured from ``v_reset`` in units of ``v_th - v_reset``: per-neuron
thresholds, leak and reset potentials go into the rows of the weight matrix and the bias. A bias acts from tick 0 on, one tick
before an input spike of tick 0 does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hwloop.errors import CompileError, InputError
from hwloop.mapping import LayerValues, lif_name, network_values, rounded_down
from hwloop.network import Network
from hwloop_fixed_point.graph import FloatGraph, FloatLayer
from hwloop_fixed_point.registers import Array

from .limits import check_features, delay_ticks
from .remedy import Compilation, Refusal, mended, step_of


@dataclass(frozen=True, eq=False)
class Discrete:
    """One layer at a step.

    Attributes
    ----------
    alpha, beta : decays of current and membrane in one tick
    step : membrane, one tick after an input spike of weight 1 (membrane units)
    swing : ``[n]`` ``v_th - v_reset`` (membrane units)
    lift : ``[n]`` what the leak adds to the membrane in one tick (membrane units)
    delay : ``[n_in]`` int (ticks), or None
    tau_mem, tau_syn : (s)
    """

    alpha: float
    beta: float
    step: float
    swing: Array
    lift: Array
    delay: Array | None
    tau_mem: float
    tau_syn: float


def discretise(index: int, layer: LayerValues, dt: float) -> Discrete:
    """Layer ``index`` at steps of ``dt`` (s); parameters that must be shared by its neurons have been checked.

    Raises :class:`CompileError`: a tau shorter than a step, a leak potential that the membrane cannot start from.
    """
    parameters = {name: values.astype(np.float64) for name, values in layer.parameters.items()}
    tau_mem, tau_syn = float(parameters["tau_mem"][0]), float(parameters["tau_syn"][0])
    shortest = min(tau_mem, tau_syn)
    if dt > shortest:
        raise Refusal(
            limit=f"time constants of at least one step, dt = {dt:g} s",
            value=f"tau_mem = {tau_mem:g} s, tau_syn = {tau_syn:g} s",
            layer=lif_name(index),
            fix="choose time constants of one magnitude, all layers alike",
            suggestions=[step_of(rounded_down(shortest / 50, 1))],
        )
    _check_start(index, parameters)
    alpha, beta = math.exp(-dt / tau_syn), math.exp(-dt / tau_mem)
    x = dt / tau_mem - dt / tau_syn
    ratio = math.expm1(x) / x if x else 1.0
    return Discrete(
        alpha=alpha,
        beta=beta,
        step=beta * ratio * dt / tau_mem,
        swing=parameters["v_th"] - parameters["v_reset"],
        lift=(parameters["v_leak"] - parameters["v_reset"]) * -math.expm1(-dt / tau_mem),
        delay=None if layer.delay is None else delay_ticks(index, layer.delay, dt),
        tau_mem=tau_mem,
        tau_syn=tau_syn,
    )


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
    layers, dt = [], asked.dt
    for index, values in enumerate(asked.layers):
        check_features(index, values, dt, refractory=True)
        discrete = discretise(index, values, dt)
        rows = discrete.step / discrete.swing
        delay = None if discrete.delay is None else np.tile(discrete.delay, (len(rows), 1))
        layers.append(
            FloatLayer(
                weight=values.weight.astype(np.float64) * rows[:, None],
                du=1.0 - discrete.alpha,
                dv=1.0 - discrete.beta,
                vth=1.0,
                bias=discrete.lift / discrete.swing,
                delay=delay,
                refractory=int(np.rint(float(values.parameters["t_ref"][0]) / dt)),
            )
        )
    return FloatGraph(tuple(layers), dt)


def _check_start(index: int, parameters: dict[str, Array]) -> None:
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
        layer=lif_name(index),
        fix=f"build the layer with v_reset = v_leak = {leak[neuron]:g}; a constant drive can be a bias unit that spikes at 0",
    )
