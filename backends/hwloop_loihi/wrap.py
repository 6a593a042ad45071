"""A current that goes beyond its 24 bits: refused, with a remedy that was tried on the spikes that did it.

A coarser scale alone does not help: the exponent follows it, so that weights and threshold together fill their registers again.
What helps is room for more volleys than the default (``headroom``), where scale and exponent give way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hwloop.errors import CompileError, TargetError
from hwloop.mapping import ScaleRule, rounded_up
from hwloop.spikes import Spikes
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.runs import Emulator
from hwloop_fixed_point.ticks import encode

from .compiler import MAX_CODE, VOLLEYS, compile_values
from .program import LoihiProgram
from .remedy import Compilation, shown

#: Samples on which a remedy is looked for before it is tried on all.
FEW = 4
#: Largest headroom that is tried: with more, no weight but the largest would be left.
MOST_HEADROOM = 2.0**20
#: Larger steps that are tried, and factors by which weights are lowered.
STEPS, FACTORS = (2, 5, 10, 20), (2, 8, 32, 128, 512, 4096, 65536)


def check_wraps(wraps: Sequence[Array], program: LoihiProgram, spikes: Spikes) -> None:
    """Raise :class:`TargetError` where a ``u`` wrapped: ``wraps`` as in :class:`hwloop_fixed_point.runs.Ran`, of ``spikes``."""
    for layer, found in enumerate(wraps):
        if found.any():
            raise TargetError(
                f"{program.source.layers[layer].weights_at}, sample {int(np.argmax(found > 0))}: a current went beyond 2^23 and changed its sign, as "
                "it would on the chip; what follows is not the network's answer. "
                + remedy(program.source, spikes, np.flatnonzero(sum(wraps)))
            )


def remedy(source: Compilation, spikes: Spikes, samples: Array) -> str:
    """What to change so that no current wraps on ``spikes``; ``samples``: those in which one did."""
    layers, few = range(len(source.layers)), spikes[samples[:FEW].tolist()]
    rules: list[ScaleRule] = [rule if isinstance(rule, str) else "max" for rule in source.rules()]
    asked = replace(source, weight_scale=rules)
    said = "" if rules == list(source.rules()) else f", and compile with weight_scale={shown(rules)}"

    def found(changed: Compilation) -> str | None:
        program = _fitting(_fitting(changed, few), spikes)
        if program is None:
            return None
        tops = [int(np.abs(layer.codes).max()) for layer in program.layers]
        coarse = [
            f"{source.layers[k].weights_at} uses codes up to {tops[k]} of {MAX_CODE}"
            for k in layers
            if tops[k] < MAX_CODE // 4
        ]
        tried = "tried on these spikes" + (f"; {', '.join(coarse)}" if coarse else "")
        return f"headroom={_shown(program.source.headrooms())}{said} ({tried})"

    if (text := found(asked)) is not None:
        return f"Open the target with {text}"
    for share in STEPS:
        dt = rounded_up(share * source.dt, 2)
        if dt <= min(source.taus, default=dt) and (text := found(replace(asked, dt=dt))) is not None:
            return f"Open the target with dt={dt:g}, {text}"
    for factor in FACTORS:
        lower = tuple(replace(layer, weight=layer.weight / factor) for layer in source.layers)
        if (text := found(replace(asked, layers=lower))) is not None:
            return f"The network does not fit as it is. Divide all weights by {factor}, or train it so, and open the target with {text}"
    return "The network does not fit: neither more headroom, nor larger steps, nor lower weights helped. Send fewer spikes at once"


def _fitting(asked: Compilation | LoihiProgram | None, spikes: Spikes) -> LoihiProgram | None:
    """``asked`` compiled with headroom doubled where a current wraps on ``spikes``, until none does; None: never."""
    if asked is None:
        return None
    source = asked.source if isinstance(asked, LoihiProgram) else asked
    headroom = list(source.headrooms())
    while max(value or 0.0 for value in headroom) <= MOST_HEADROOM:
        try:
            program = compile_values(replace(source, headroom=tuple(headroom)))
        except CompileError:
            return None
        wrapping = [k for k, found in enumerate(_wraps(program, spikes)) if found.any()]
        if not wrapping:
            return program
        for k in wrapping:
            headroom[k] = 2.0 * (headroom[k] or VOLLEYS)
    return None


def _wraps(program: LoihiProgram, spikes: Spikes) -> tuple[Array, ...]:
    ticks, _ = encode(spikes, program.dt)
    return Emulator(program.graph).run(ticks, program.graph.n_ticks(spikes.t_stop)).wraps


def _shown(headroom: Sequence[float | None]) -> str:
    texts = ["None" if value is None else f"{value:g}" for value in headroom]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
