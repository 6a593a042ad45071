"""Remedies that are tried before they are printed.

A :class:`Refusal` carries suggestions: functions of the :class:`Compilation` that was refused, which propose changed ones, the
best first. :func:`mended` compiles what they propose, and the error then names what worked, or says that nothing did.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from hwloop.errors import CompileError, InputError
from hwloop.mapping import LayerValues, Program, ScaleRule, rounded, scale_rules
from hwloop_fixed_point.registers import DECAY_UNITY, MAX_DELAY, Array

#: Bounds of a step (s).
SMALLEST_DT, LARGEST_DT = 1e-9, 10.0
#: Steps that are tried between the smallest and the largest that time constants and delays allow.
STEPS = 9
#: Share of the shortest time constant below which a step gains little: rounding is the floor.
FINE = 200
#: Remedies that are named, where several work.
NAMED = 2


#: Worst volleys that a current has room for, for all layers or one each; None: what costs no resolution.
Headroom: TypeAlias = "float | Sequence[float | None] | None"


@dataclass(frozen=True, eq=False)
class Compilation:
    """What is asked of the compiler; options as of :func:`hwloop_loihi.compile_loihi`."""

    layers: tuple[LayerValues, ...]
    dt: float
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max"
    mask: tuple[int, ...] = ()
    like: Program | None = None
    exponents: bool = True
    headroom: Headroom = None

    def alone(self) -> Compilation:
        """The same without another program: its scales are then asked for, its placement is not."""
        return self if self.like is None else replace(self, weight_scale=self.like.scales, mask=(), like=None)

    def rules(self) -> tuple[ScaleRule, ...]:
        """One scale rule a layer."""
        return scale_rules(self.alone().weight_scale, len(self.layers))

    def with_rule(self, index: int, rule: ScaleRule) -> Compilation:
        """The same with another scale rule of layer ``index``."""
        rules = list(self.rules())
        rules[index] = rule
        return replace(self.alone(), weight_scale=tuple(rules))

    def with_layer(self, index: int, layer: LayerValues) -> Compilation:
        """The same with other values of layer ``index``."""
        layers = list(self.layers)
        layers[index] = layer
        return replace(self.alone(), layers=tuple(layers))

    def headrooms(self) -> tuple[float | None, ...]:
        """One headroom a layer; :class:`InputError` where another number of them is given."""
        n = len(self.layers)
        if self.headroom is None or isinstance(self.headroom, (int, float)):
            return (self.headroom,) * n
        if len(self.headroom) != n:
            raise InputError(
                f"headroom has {len(self.headroom)} entries; the network has {n} layers: give one for each, or one for all"
            )
        return tuple(self.headroom)

    @property
    def taus(self) -> list[float]:
        """Time constants of all layers (s), ascending."""
        return sorted({tau for layer in self.layers for tau in time_constants(layer)})


def time_constants(layer: LayerValues) -> set[float]:
    """Time constants that a population has (s): a jumping membrane has no tau_syn, one without leak no tau_mem."""
    return {float(tau) for name in taus_of(layer) for tau in layer.parameters[name]}


def taus_of(layer: LayerValues) -> tuple[str, ...]:
    """Their names."""
    return {"LIF": ("tau_mem", "tau_syn"), "DeltaLIF": ("tau_mem",)}.get(layer.kind, ())


#: Proposes changed compilations and what the user has to write for each.
Suggestion: TypeAlias = Callable[[Compilation], Iterator[tuple[str, Compilation]]]


class Refusal(CompileError):
    """A :class:`~hwloop.errors.CompileError` whose ``fix`` is the last resort, after its suggestions."""

    def __init__(self, limit: str, value: str, layer: str, fix: str, suggestions: Sequence[Suggestion]) -> None:
        super().__init__(limit, value, layer, fix)
        self.suggestions = tuple(suggestions)


def mended(
    refusal: CompileError, asked: Compilation, compiling: Callable[[Compilation], Any]
) -> CompileError:  # fmt: skip
    """``refusal`` with a fix that was tried: ``compiling(changed)`` did not raise. One without suggestions stays as it is.

    Where nothing makes the whole network fit, a change of the refused layer alone counts that leaves only later layers to be
    refused: following one message after the other then comes to an end.
    """
    if not isinstance(refusal, Refusal):
        return refusal
    whole: list[str] = []
    partly: list[str] = []
    for suggestion in refusal.suggestions:
        for text, changed in suggestion(asked):
            error = _refused(changed, compiling)
            if error is None:
                whole.append(text)
                break
            if changed.dt == asked.dt and _place(error.layer, asked) > _place(refusal.layer, asked):
                partly.append(f"{text} (then {error.layer} is left: {error.limit})")
                break
        if len(whole) == NAMED:
            break
    fix = ", or ".join(whole) or ", or ".join(partly[:1])
    fix = fix or f"no single change that was tried makes the network fit: {refusal.fix}"
    return CompileError(refusal.limit, refusal.value, refusal.layer, fix)


def _refused(changed: Compilation, compiling: Callable[[Compilation], Any]) -> CompileError | None:
    try:
        compiling(changed)
    except CompileError as error:
        return error
    return None


def _place(layer: str, asked: Compilation) -> int:
    """Which population ``layer`` names; -1 where the whole network is meant."""
    named = (k for k, values in enumerate(asked.layers) if layer in (values.weights_at, values.neurons_at))
    return next(named, -1)


# -- suggestions ----------------------------------------------------------------------------------


def step_of(*preferred: float) -> Suggestion:
    """Another step: ``preferred`` ones (s) first, then what time constants and delays allow, the most precise first."""

    def suggest(asked: Compilation) -> Iterator[tuple[str, Compilation]]:
        for dt in [*preferred, *_steps(asked)]:
            if SMALLEST_DT <= dt <= LARGEST_DT:
                yield f"open the target with dt={dt:g}", replace(asked.alone(), dt=dt)

    return suggest


def scale_of_layer(index: int, *rules: ScaleRule) -> Suggestion:
    """Another scale rule of layer ``index``: the first of ``rules`` that compiles."""

    def suggest(asked: Compilation) -> Iterator[tuple[str, Compilation]]:
        for rule in rules:
            changed = asked.with_rule(index, rule)
            yield f"compile with weight_scale={shown(changed.rules())}", changed

    return suggest


def weights_times(index: int, factor: float) -> Suggestion:
    """Weights of layer ``index`` multiplied by ``factor``."""

    def suggest(asked: Compilation) -> Iterator[tuple[str, Compilation]]:
        layer = asked.layers[index]
        text = f"multiply the weights of {layer.weights_at} by {factor:g}"
        yield text, asked.with_layer(index, replace(layer, weight=layer.weight * factor))

    return suggest


def swing_times(index: int, factor: float) -> Suggestion:
    """``v_th - v_reset`` of layer ``index`` multiplied by ``factor``."""

    def suggest(asked: Compilation) -> Iterator[tuple[str, Compilation]]:
        v_th, v_reset = (asked.layers[index].parameters[name] for name in ("v_th", "v_reset"))
        text = f"multiply v_th - v_reset of {asked.layers[index].neurons_at} by {factor:g}"
        yield from parameter_of(index, "v_th", v_reset + factor * (v_th - v_reset), text)(asked)

    return suggest


def parameter_of(index: int, name: str, values: Array, text: str) -> Suggestion:
    """Neuron parameter ``name`` of layer ``index`` changed to ``values [n]``."""

    def suggest(asked: Compilation) -> Iterator[tuple[str, Compilation]]:
        layer = asked.layers[index]
        changed = replace(layer, parameters={**layer.parameters, name: values.astype(layer.weight.dtype)})
        yield text, asked.with_layer(index, changed)

    return suggest


def delays_up_to(index: int, longest: float) -> Suggestion:
    """Delays of layer ``index`` no longer than ``longest`` (s)."""

    def suggest(asked: Compilation) -> Iterator[tuple[str, Compilation]]:
        layer = asked.layers[index]
        if layer.delay is not None:
            shorter = replace(layer, delay=np.minimum(layer.delay, longest))
            yield f"shorten the delays of {layer.weights_at} to {longest:g} s", asked.with_layer(index, shorter)

    return suggest


def _steps(asked: Compilation) -> list[float]:
    """Steps (s) between the least whose decays and delays fit into their registers and the shortest time constant.

    Those first that are farthest from both, or near 1/:data:`FINE` of the shortest time constant where it has room.
    """
    taus = asked.taus or [LARGEST_DT]
    delays = [float(layer.delay.max()) for layer in asked.layers if layer.delay is not None]
    # half a 4096th of a decay is rounded up
    low = max(taus[-1] * -math.log1p(-0.5 / DECAY_UNITY), max(delays, default=0.0) / MAX_DELAY)
    if not low < taus[0]:
        return []
    best = max(taus[0] / FINE, math.sqrt(low * taus[0]))
    found = {rounded(float(dt), 2) for dt in np.geomspace(low, taus[0], STEPS)}
    return sorted((dt for dt in found if low <= dt <= taus[0]), key=lambda dt: abs(math.log(dt / best)))


def shown(rules: Sequence[ScaleRule]) -> str:
    """Scale rules as they are written: one for all layers, or a list."""
    texts = [f'"{rule}"' if isinstance(rule, str) else f"{rule:.6g}" for rule in rules]
    return texts[0] if len(set(texts)) == 1 else f"[{', '.join(texts)}]"
