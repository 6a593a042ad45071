"""What a spike is in a NIR graph: resolved with evidence, stated, and refused where it is not evident.

Files of the field mean one of three things by an edge that spikes (with gains r and w_in of the neurons):

    jump     the current, or the membrane where there is none, moves by w w_in r           norse, rockpool
    delta    S is a delta: by w w_in r / tau_syn (LIF, LI: w r / tau; IF: w r)              NIR's text, hwloop
    pulse    S is 1 for one step of the exporter: by w w_in r dt / tau_syn                 snnTorch, SpikingJelly, Lava
             (LIF, LI: w r (1 - exp(-dt / tau)), and w where r = tau / dt; IF: w r dt)

Who counts in steps writes ``r = tau_mem / dt`` and ``w_in = tau_syn / dt``: then both ratios are dt in every layer, whatever the
time constants, and that is the evidence. A constant S (a bias) is what NIR's equations make of it for delta and pulse; it
has no size where spikes are jumps, since it acts once a step, whose length such a file does not say.

norse and rockpool mean a jump where there is a current and a pulse of one step where there is none, in one and the same file:
such a graph takes a pair, ``("jump", dt)``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import nir
import numpy as np

from ...arguments import is_bool
from ...errors import InputError, OptionError
from ..linear_map import Shape
from .units import EXPORTER, PER_SECOND, TimeUnit
from .values import Array, numbers, per_unit, text

#: Metadata keys of the graph: what a spike is, and the width of a pulse in its unit of time.
SPIKE, STEP = "spike", "dt"
#: Exporters that mean one thing whatever the network; norse: where there is a current, see :func:`_from_exporter`.
EXPORTERS: Mapping[str, Literal["jump", "delta"]] = {"hwloop": "delta", "rockpool": "jump", "norse": "jump"}
#: Relative difference up to which ratios are one time step: float32, three roundings.
STEP_TOLERANCE = 1e-5
#: Step (s) for which a refusal says what a pulse would make of the weights.
EXAMPLE_STEP = 1e-3

Nodes = Mapping[str, nir.NIRNode]
#: What :func:`spike_meaning` may be asked for: one meaning, or one of neurons with a current and one of those without.
Asked: TypeAlias = "str | float | tuple[str | float, str | float]"


@dataclass(frozen=True)
class SpikeMeaning:
    """What a spike is: the kind, the width of a pulse (in the graph's unit of time; 1 for a delta), and why we think so."""

    kind: Literal["jump", "delta", "pulse"]
    area: float
    evidence: str
    #: What it is for neurons without a current, where that differs.
    without: SpikeMeaning | None = None

    def __str__(self) -> str:
        return f"spikes: {self.evidence}"

    @property
    def step(self) -> float | None:
        """The exporter's step (the graph's unit), where it is told together with jumps: then a bias has a size."""
        return None if self.without is None or self.without.kind != "pulse" else self.without.area

    def of(self, node: nir.NIRNode) -> SpikeMeaning:
        """What it is for ``node``."""
        return self if self.without is None or hasattr(node, "w_in") else self.without


def spike_meaning(
    metadata: Mapping[str, Any], nodes: Nodes, unit: TimeUnit, asked: Asked | None = None
) -> SpikeMeaning:
    """``asked`` (a pair: of neurons with a current, and of those without), else metadata, else the exporter's, else the step on which the gains of all layers agree.

    Raises :class:`OptionError` for an unknown ``asked``, :class:`InputError` with the candidates where it is not evident.
    """
    if isinstance(asked, tuple):
        return _asked_pair(asked, nodes, unit)
    if asked is not None:
        meaning = _asked(asked, unit)
        if meaning.kind == "jump":
            _refuse_one_for_both(nodes)
        return meaning
    found = _from_metadata(metadata) or _from_exporter(metadata, nodes)
    if found is not None:
        return found
    if nodes and all(isinstance(node, nir.IF) for node in nodes.values()) and _all_one(nodes):
        return SpikeMeaning("jump", 1.0, "the membrane moves by w, since there are IF alone, with r = 1")
    step, doubt = _common_step(nodes)
    if step is not None:
        name = "" if unit.name is None else f" {unit.name}"
        return SpikeMeaning(
            "pulse", step, f"pulses of one step of {step:.6g}{name}, since {ratio_names(nodes)} is that in every neuron"
        )
    raise InputError(_candidates(nodes, unit, doubt))


def _asked(asked: Any, unit: TimeUnit) -> SpikeMeaning:
    if asked == "jump":
        return SpikeMeaning("jump", 1.0, "jumps by the weight times the gains, given by the caller")
    if asked == "delta":
        return SpikeMeaning("delta", 1.0, "deltas, given by the caller")
    number = isinstance(asked, (int, float, np.integer, np.floating)) and not is_bool(asked)
    if not number or not 0 < asked < math.inf:
        raise OptionError(
            f"spike = {asked!r}; allowed: 'jump', 'delta', or the width of a pulse in seconds (the time step of the exporter)"
        )
    if unit.name is None:
        raise InputError(
            f"spike = {asked:g} s, but the graph has no time constants that would show its unit of time; pass time_unit too: "
            f"{', '.join(map(repr, PER_SECOND))}"
        )
    return SpikeMeaning("pulse", float(asked) * unit.per_second, f"pulses of {asked:g} s, given by the caller")


def _asked_pair(asked: Any, nodes: Nodes, unit: TimeUnit) -> SpikeMeaning:
    if len(asked) != 2:
        raise OptionError(
            f"spike = {asked!r}; allowed: one meaning, or a pair: of neurons with a current, and of those without"
        )
    current, without = (_asked(one, unit) for one in asked)
    evidence = f"{current.evidence}; where there is no current {without.evidence}"
    return SpikeMeaning(current.kind, current.area, evidence, without)


def _refuse_one_for_both(nodes: Nodes) -> None:
    """Jumps of currents and of membranes in one graph: no package means both by what it writes."""
    current = [name for name, node in nodes.items() if hasattr(node, "w_in")]
    plain = [name for name, node in nodes.items() if not hasattr(node, "w_in")]
    if current and plain:
        raise InputError(
            f"spike = 'jump', for {', '.join(map(repr, current))} with a current and {', '.join(map(repr, plain))} "
            f"({type(nodes[plain[0]]).__name__}) without: norse and rockpool, whose currents jump, mean a pulse of one step where "
            "there is none. Pass spike=('jump', dt), with the exporter's time step in seconds; or spike=('jump', 'jump'), if "
            "membranes jump by w r too"
        )


def _from_metadata(metadata: Mapping[str, Any]) -> SpikeMeaning | None:
    if SPIKE not in metadata:
        return None
    kind = text(metadata[SPIKE])
    if kind == "delta":
        return SpikeMeaning("delta", 1.0, f"deltas, metadata {SPIKE} = {kind!r}")
    if kind == "jump":
        return SpikeMeaning("jump", 1.0, f"jumps, metadata {SPIKE} = {kind!r}")
    if kind == "pulse" and STEP in metadata:
        width = float(np.asarray(metadata[STEP]).reshape(()))
        if not 0 < width < math.inf:
            raise InputError(f"metadata {STEP} = {width:g}; allowed: finite and > 0. Pass spike to override it")
        return SpikeMeaning("pulse", width, f"pulses of {width:g}, metadata {SPIKE} = {kind!r} and {STEP}")
    if kind == "pulse":
        return None
    raise InputError(
        f"metadata {SPIKE} = {kind!r}; allowed: 'jump', 'delta', or 'pulse' with {STEP}. Pass spike to override it"
    )


def _from_exporter(metadata: Mapping[str, Any], nodes: Nodes) -> SpikeMeaning | None:
    name = text(metadata.get(EXPORTER, ""))
    kind = EXPORTERS.get(name.lower())
    if kind is None or (name.lower() == "norse" and not all(hasattr(node, "w_in") for node in nodes.values())):
        return None
    return SpikeMeaning(kind, 1.0, f"{kind}s, metadata {EXPORTER} = {name!r}, which means those")


def _ratios(nodes: Nodes) -> list[Array]:
    """The time step that each gain of each node stands for, if it stands for one."""
    found = []
    for name, node in nodes.items():
        for gain, tau in _gains(node):
            value = np.ravel(numbers(name, gain, getattr(node, gain))).astype(float)
            top = np.ones(1) if tau is None else np.ravel(numbers(name, tau, getattr(node, tau))).astype(float)
            if np.any(value <= 0):
                return []
            found.append(top / value if 1 in (top.size, value.size) or top.size == value.size else top[:1] / value)
    return found


def _gains(node: nir.NIRNode) -> list[tuple[str, str | None]]:
    if hasattr(node, "w_in"):
        return [("r", "tau_mem"), ("w_in", "tau_syn")]
    return [("r", "tau" if hasattr(node, "tau") else None)]


def _all_one(nodes: Nodes) -> bool:
    return all(
        bool(np.all(numbers(name, gain, getattr(node, gain)) == 1))
        for name, node in nodes.items()
        for gain, _ in _gains(node)
    )


def _common_step(nodes: Nodes) -> tuple[float | None, str]:
    """The step on which all ratios agree; or None, and why not."""
    ratios = _ratios(nodes)
    if not ratios:
        return None, "a gain r or w_in is not positive"
    if _all_one(nodes):
        return None, "all gains are 1"
    every = np.concatenate(ratios)
    step = float(np.median(every))
    if not np.all(np.abs(every - step) <= STEP_TOLERANCE * abs(step)):
        return None, f"{ratio_names(nodes)} is no common time step, but {every.min():g}..{every.max():g}"
    taus = np.concatenate(
        [
            np.ravel(numbers(name, tau, getattr(node, tau)))
            for name, node in nodes.items()
            for _, tau in _gains(node)
            if tau
        ]
        or [np.zeros(0)]
    )
    if len(ratios) == 1 and np.unique(taus).size < 2:
        return None, f"{ratio_names(nodes)} of one layer alone is no evidence of a time step"
    return step, ""


def ratio_names(nodes: Nodes) -> str:
    """The ratios that stand for a step in ``nodes``, in words."""
    kinds = [
        name
        for name, there in (
            ("tau_mem / r = tau_syn / w_in", any(hasattr(node, "w_in") for node in nodes.values())),
            ("tau / r", any(hasattr(node, "tau") for node in nodes.values())),
            ("1 / r", any(isinstance(node, nir.IF) for node in nodes.values())),
        )
        if there
    ]
    return " = ".join(kinds)


def _candidates(nodes: Nodes, unit: TimeUnit, doubt: str) -> str:
    """The refusal: what each meaning makes of the weights of this graph, and the option that picks it."""
    mixed = len({hasattr(node, "w_in") for node in nodes.values()}) > 1
    jumps = "('jump', dt)" if mixed else "'jump'"

    def factor(kind: Literal["jump", "delta", "pulse"], area: float) -> str:
        step = SpikeMeaning("pulse", EXAMPLE_STEP * unit.per_second, "")
        meaning = SpikeMeaning(kind, area, "", step if mixed and kind == "jump" else None)
        every = np.concatenate(
            [spike_gain(name, node, meaning, _own_shape(name, node)) for name, node in nodes.items()]
        )
        low, high = float(every.min()), float(every.max())
        return f"{low:.4g}" if math.isclose(low, high, rel_tol=1e-3) else f"{low:.4g}..{high:.4g}"

    jump, delta = factor("jump", 1.0), factor("delta", 1.0)
    pulse = factor("pulse", EXAMPLE_STEP * unit.per_second)
    needs = "" if unit.name is not None else " together with time_unit"
    return (
        f"what a spike is in this graph is not evident: {doubt}, and it states nothing. Pass what its exporter means: "
        f"spike={jumps} (norse's and rockpool's neurons with a current, sinabs with norm_input=False): weights x {jump}; "
        f"spike='delta' (NIR's text): weights x {delta}; "
        f"spike=dt, the exporter's time step in seconds{needs} (snnTorch, SpikingJelly, Lava, sinabs, norse's and rockpool's without a current): "
        f"weights x {pulse} for spike={EXAMPLE_STEP:g}"
    )


def _own_shape(name: str, node: nir.NIRNode) -> Shape:
    keys = ("r", "v_leak", "v_threshold", "tau", "tau_mem")
    return (max(numbers(name, key, getattr(node, key)).size for key in keys if hasattr(node, key)),)


def spike_gain(name: str, node: Any, meaning: SpikeMeaning, shape: Shape) -> Array:
    """``[n]`` float64: what a spike of weight 1 moves, the drive ``r I`` of a neuron with a current, the membrane of others."""
    r = per_unit(name, "r", node.r, shape).astype(np.float64)
    meaning = meaning.of(node)
    area, jump = meaning.area, meaning.kind == "jump"
    with np.errstate(all="ignore"):
        # with r = 1 and w_in = tau_syn, or r = tau, the factor is 1 exactly
        if hasattr(node, "w_in"):
            r = r * per_unit(name, "w_in", node.w_in, shape)
            return r if jump else r * area / per_unit(name, "tau_syn", node.tau_syn, shape)
        if hasattr(node, "tau"):
            tau = per_unit(name, "tau", node.tau, shape).astype(np.float64)
            if meaning.kind == "pulse":
                return r * _left_by(area / tau, r)
            return r if jump else r * area / tau
        return r if jump else r * area


def _left_by(share: Array, r: Array) -> Array:
    """Where a pulse of height 1 leaves a membrane with ``r = 1``; ``share`` is its width over tau.

    A membrane is compared with its threshold as the pulse ends: at ``1 - exp(-share)``. (A current hands the pulse's charge on,
    which a jump by ``share`` does.) Whoever writes ``r = tau / dt`` adds w in a step, and means that.
    """
    counted = np.abs(r * share - 1.0) <= 10 * STEP_TOLERANCE
    return np.where(counted, share, -np.expm1(-share))


def constant_gain(name: str, node: Any, meaning: SpikeMeaning, unit: TimeUnit, shape: Shape) -> Array:
    """``[n]`` float64: what a constant S of 1 is as a bias of ours; of IF per second.

    Where spikes are jumps it is one in every step: a current settles at ``tau_syn / step`` of them.
    """
    r = per_unit(name, "r", node.r, shape).astype(np.float64)
    if hasattr(node, "w_in"):
        gain: Array = r * per_unit(name, "w_in", node.w_in, shape)
        if meaning.kind == "jump" and meaning.step is not None:
            gain = gain * per_unit(name, "tau_syn", node.tau_syn, shape) / meaning.step
        return gain
    return r if hasattr(node, "tau") else r * unit.per_second
