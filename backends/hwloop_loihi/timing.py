"""When spikes of a population act and are seen, in ticks; delays in whole ticks.

A spike of tick n of a source acts on the membrane as if it had come at n dt (a Dense takes a tick, and its weights are those of
one tick later). A threshold that is crossed within a tick is seen at its end, half a tick late on average; where the membrane
jumps (delta synapses) it is crossed at the input spike itself, seen one tick later. So with ``late`` of a source and ``arrives`` of
a target, the ticks by which its input acts after the time that it stands for,

    delay (ticks) = delay / dt + arrives - late of the source,   late = arrives + 1/2, of jumping membranes arrives + 1

``arrives`` is the largest ``late`` among the sources that come before: skip connections wait for the way around. An edge that
closes a loop cannot wait: it takes what is left of its delay, at least 0, so that a spike of tick n acts at n + 1 at the earliest.
All edges of a loop together take max(1, delay / dt) ticks each, on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwloop.mapping import LayerValues, rounded_up
from hwloop_fixed_point.registers import MAX_DELAY, Array

from .remedy import Refusal, delays_up_to, step_of

#: What a delay may be above a half tick and still be rounded down (ticks): delays are float32.
SLACK = 1e-4


@dataclass(frozen=True, eq=False)
class Timing:
    """Of one population, in ticks: when its input acts, when its spikes are seen, and ``[n_in]`` what its delays are given.

    ``shift`` is None in a row of layers, where no delay is given anything.
    """

    arrives: float
    late: float
    shift: Array | None = None


def timings(layers: Sequence[LayerValues]) -> list[Timing]:
    """One a population."""
    if not any(layer.blocks for layer in layers):
        return [Timing(0.5 * k, 0.5 * (k + 1)) for k in range(len(layers))]
    arrives: dict[int, float] = {}
    late: dict[int, float] = {-1: 0.0}
    while len(arrives) < len(layers):
        waiting = [k for k in range(len(layers)) if k not in arrives]
        known = {k: [late[block.source] for block in layers[k].blocks if block.source in late] for k in waiting}
        # the first that anything reaches; of those that nothing does, the first
        chosen = next((k for k in waiting if known[k]), waiting[0])
        arrives[chosen] = max(known[chosen], default=0.0)
        late[chosen] = arrives[chosen] + (0.5 if layers[chosen].kind == "LIF" else 1.0)
    found = []
    for k, layer in enumerate(layers):
        shift = np.concatenate([np.full(block.size, arrives[k] - late[block.source]) for block in layer.blocks])
        found.append(Timing(arrives[k], late[k], shift))
    return found


def delay_ticks(layer: LayerValues, dt: float, timing: Timing) -> Array | None:
    """Delays in whole ticks, ``[n_in]`` or ``[n_out, n_in]``; None where there are none. :class:`CompileError` beyond 63."""
    wanted = wanted_ticks(layer, dt, timing)
    if wanted is None:
        return None
    ticks = np.rint(wanted) if timing.shift is None else np.ceil(wanted - 0.5 - SLACK)
    ticks = np.maximum(ticks, 0.0).astype(np.int64)
    if int(ticks.max()) > MAX_DELAY:
        place = np.unravel_index(ticks.argmax(), ticks.shape)
        longest = 0.0 if layer.delay is None else float(layer.delay[place])
        raise Refusal(
            limit=f"delays up to {MAX_DELAY} ticks, {MAX_DELAY * dt:g} s at dt = {dt:g} s",
            value=f"a delay of {longest:g} s, {int(ticks[place])} ticks (input unit {int(place[-1])})",
            layer=layer.weights_at,
            fix=f"shorten the delays to {MAX_DELAY * dt:g} s; a larger dt does not fit the time constants",
            suggestions=[step_of(rounded_up(longest / MAX_DELAY, 6)), delays_up_to(layer.index, MAX_DELAY * dt)],
        )
    return ticks if ticks.any() or layer.delay is not None else None


def wanted_ticks(layer: LayerValues, dt: float, timing: Timing) -> Array | None:
    """Delays that are not rounded (ticks), those of an edge that closes a loop possibly below 0; None where there are none."""
    if layer.delay is None and (timing.shift is None or not timing.shift.any()):
        return None
    delay = np.zeros(layer.weight.shape[1]) if layer.delay is None else layer.delay.astype(np.float64) / dt
    wanted = delay if timing.shift is None else delay + timing.shift
    if wanted.ndim == 2 and layer.synapses is not None:
        wanted = np.where(layer.synapses, wanted, 0.0)
    return wanted
