"""Loss that compiling causes, told: weights that became zero, delays far from their ticks.

A weight counts by what it brings to its neuron, not by its number: many tiny weights may go without a loss, while one outlier
that sets the scale of a layer silences all neurons but its own. The share lost to zero is

    mean over neurons of  sum |w| of their weights that became code 0  /  sum |w| of all their weights

and that lost to saturation the same of what is cut off. A remedy is named only where it was tried and halves the loss at least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .constraints import LayerValues, dense_name
from .program import LayerProgram
from .quantise import Array, ScaleRule

#: Share of an average neuron's input whose loss is told. Gaussian weights whose largest is four deviations lose 4 % at 4 bits
#: and .2 % at 6; a tenth takes an outlier of 28 deviations at 6 bits, of 117 at 8.
LARGE_SHARE = 0.1
#: Distance of a delay from its tick (ticks) that is told.
FAR_FROM_TICK = 0.1
#: Scale rules that are tried as a remedy, the nearest to the maximum first.
SCALE_RULES = ("max", "quantile:0.999", "quantile:0.99", "quantile:0.95", "quantile:0.9", "quantile:0.5")

#: One layer compiled by another scale rule; None where the target refuses it.
Requantise = Callable[[int, ScaleRule], LayerProgram | None]


@dataclass(frozen=True)
class Lost:
    """Shares of an average neuron's input, 0..1, that rounding to zero and saturation took."""

    zeroed: float
    saturated: float


def lost(weight: Array, program: LayerProgram) -> Lost:
    """What the codes of ``program`` lost of ``weight [n_out, n_in]``; neurons without weights lose nothing."""
    size = np.abs(np.asarray(weight, np.float64))
    return Lost(
        _share(size, np.where(program.codes == 0, size, 0.0)),
        _share(size, np.maximum(size - program.largest_weight(), 0.0)),
    )


def zeroed_share(weight: Array, held: Array) -> float:
    """Share of an average neuron's input that is lost where ``held [n_out, ...]`` is 0 and ``weight`` is not."""
    size = np.abs(np.asarray(weight, np.float64)).reshape(len(weight), -1)
    return _share(size, np.where(held.reshape(size.shape) == 0, size, 0.0))


def _share(size: Array, gone: Array) -> float:
    total = size.sum(1)
    return float(np.mean(gone.sum(1) / np.where(total > 0, total, 1.0)))


def weight_losses(
    layers: Sequence[LayerValues], programs: Sequence[LayerProgram], rules: Sequence[ScaleRule], requantise: Requantise
) -> list[str]:
    """One sentence a layer that lost a large share of its weights to zero, with the scale rule that keeps them, as tried."""
    found: dict[int, str] = {}
    better = list(rules)
    for index, (layer, program) in enumerate(zip(layers, programs, strict=True)):
        share = lost(layer.weight, program).zeroed
        if share <= LARGE_SHARE:
            continue
        found[index] = (
            f"{layer.weights_at}: {program.zeroed} of {np.count_nonzero(layer.weight)} weights became 0 at {program.scale:.3g} a "
            f"code; they bring {share:.0%} of an average neuron's input"
        )
        kept = _keeping(index, layer.weight, share, rules[index], requantise)
        if kept is None:
            found[index] += ". No scale rule keeps them: clip the largest weights, or split the layer"
            continue
        better[index], other = kept
        found[index] += f". With {better[index]!r} {other.zeroed} become 0 and {other.saturated} saturate"
    advice = f" (tried): compile with weight_scale={_written(better)}"
    return [text if better[index] == rules[index] else text + advice for index, text in found.items()]


def far_delays(index: int, delay: Array, dt: float) -> str | None:
    """A sentence on delays ``[n_in]`` (s) that are more than a tenth of a tick of ``dt`` (s) off it, or None."""
    off = ticks_off(delay, dt)
    many = int(np.count_nonzero(off > FAR_FROM_TICK))
    if many == 0:
        return None
    unit = int(off.argmax())
    return (
        f"{dense_name(index)}: {many} of {off.size} delays are rounded by more than a tenth of a tick of {dt:g} s, that of input "
        f"unit {unit}, {float(delay[unit]):g} s, by {off[unit]:.2f}"
    )


def ticks_off(delay: Array, dt: float) -> Array:
    """Distance ``[n_in]`` of delays (s) from the nearest tick (ticks); 1e-6 less, so that a tenth itself is no more than that."""
    ticks = delay.astype(np.float64) / dt
    return np.asarray(np.abs(ticks - np.rint(ticks)) - 1e-6)


def _keeping(
    index: int, weight: Array, share: float, rule: ScaleRule, requantise: Requantise
) -> tuple[ScaleRule, LayerProgram] | None:
    """The scale rule, and its layer, that loses least to zero and saturation together; None where none halves the loss."""
    best, most = None, share / 2
    for other in SCALE_RULES:
        program = None if other == rule else requantise(index, other)
        if program is None:
            continue
        found = lost(weight, program)
        if found.zeroed <= LARGE_SHARE and found.zeroed + found.saturated < most:
            best, most = (other, program), found.zeroed + found.saturated
    return best


def _written(rules: Sequence[ScaleRule]) -> str:
    return repr(rules[0]) if len(set(rules)) == 1 else repr(list(rules))
