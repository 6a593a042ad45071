"""Choice of the step by measured spike-time error: a network's own spikes, exact against quantised, for several steps.

A small step costs ticks and, below some 1/200 of the time constants, precision: decays of 12 bits become coarse. So candidates
are moved by up to a tenth to where both decays fall next to whole numbers, and the rest is measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hwloop.errors import CompileError, InputError, TargetError
from hwloop.losses import Decision, predict
from hwloop.mapping import ScaleRule, network_values
from hwloop.network import Network
from hwloop.record import Record
from hwloop.spikes import Spikes
from hwloop_fixed_point.registers import DECAY_UNITY

from .device import LoihiTarget
from .program import worst
from .remedy import Headroom, time_constants

#: Candidate steps as shares of the shortest time constant.
SHARES = (1 / 5, 1 / 10, 1 / 20, 1 / 50, 1 / 100, 1 / 200)
#: How far a candidate may move to meet whole decay registers, and in how many places it is looked at.
MOVE, PLACES = 0.1, 201
#: A missed or extra first spike counts as an error of this share of the shortest time constant, and no error as more.
LOST = 1.0
#: Steps whose error exceeds the least by no more than this share are as good: the largest of them runs fastest.
AS_GOOD = 0.1


@dataclass(frozen=True)
class Step:
    """What one step does to a network's output spikes.

    Attributes
    ----------
    dt : float (s)
    ticks : int
        Ticks a sample.
    median_error : float (s)
        Median ``|first spike on target - exact|`` of the output neurons that fire on both; NaN-free: 0 where none does.
    mean_error : float (s)
        Mean over all pairs of sample and output neuron that fire on either, a missed or extra one counted as
        :data:`LOST` of the shortest time constant, which is also the most that one can count.
    missed, extra : float
        Share of these pairs that fire in the model only, or on the target only.
    agreement : float
        Samples with the same decision.
    decay_error : float
        Largest relative error of a time constant by rounding.
    refused : str
        Why the network does not compile at this step; the figures are then infinite.
    """

    dt: float
    ticks: int = 0
    median_error: float = math.inf
    mean_error: float = math.inf
    missed: float = 1.0
    extra: float = 0.0
    agreement: float = 0.0
    decay_error: float = math.inf
    refused: str = ""


@dataclass(frozen=True)
class StepChoice:
    """The ``steps`` tried, the largest first, and the one that is chosen, ``dt`` (s); ``str()`` is a table."""

    steps: tuple[Step, ...]
    dt: float

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; infinite figures of refused steps are left out."""
        rows = [{k: v for k, v in asdict(step).items() if v != math.inf} for step in self.steps]
        return {"dt": self.dt, "steps": rows}

    def __str__(self) -> str:
        lines = [
            f"{'dt (s)':>11} {'ticks':>7} {'median error':>13} {'mean error':>11} {'missed':>7} {'extra':>7} "
            f"{'same decision':>14} {'taus off by':>12}"
        ]
        for step in self.steps:
            mark = "  <- chosen" if step.dt == self.dt else ""
            if step.refused:
                lines.append(f"{step.dt:>11.4g} refused: {step.refused}")
                continue
            lines.append(
                f"{step.dt:>11.4g} {step.ticks:>7} {1e6 * step.median_error:>10.1f} us {1e6 * step.mean_error:>8.1f} us "
                f"{100 * step.missed:>6.1f}% {100 * step.extra:>6.1f}% {100 * step.agreement:>13.1f}% "
                f"{100 * step.decay_error:>11.2f}%{mark}"
            )
        return "\n".join(lines)


def choose_dt(
    net: Network,
    inputs: Spikes,
    *,
    steps: Iterable[float] | None = None,
    decision: Decision = "first",
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    headroom: Headroom = None,
) -> StepChoice:
    """The step (s) at which ``net``'s output spikes on ``loihi`` are closest to the exact ones for ``inputs``.

    Parameters
    ----------
    net : Network
    inputs : Spikes, such as a few hundred validation samples
    steps : candidates (s); default :func:`candidates`
    decision : how an output is read, for the share of equal decisions
    weight_scale, headroom : as for compiling

    Returns
    -------
    StepChoice
        All figures; ``dt`` has the least mean error, or is the largest step within a tenth of it.

    Raises
    ------
    CompileError
        The network does not compile at any of the steps: the refusal at the first of them.
    TargetError
        It compiles, and a current wraps at every step that it compiles at.
    InputError
        No candidates.
    """
    tried = sorted(candidates(net) if steps is None else {float(dt) for dt in steps}, reverse=True)
    if not tried:
        raise InputError("steps is empty; name at least one step (s)")
    with torch.no_grad():
        exact = net(inputs)
    found: list[Step] = []
    refusals: list[CompileError | TargetError] = []
    for dt in tried:
        try:
            found.append(_measured(net, inputs, exact, dt, decision, weight_scale, headroom))
        except CompileError as error:
            refusals.append(error)
            found.append(Step(dt, refused=f"{error.layer}: {error.limit}; found {error.value}"))
        except TargetError as error:  # a current wrapped
            refusals.append(error)
            found.append(Step(dt, refused=str(error).partition(";")[0]))
    if len(refusals) == len(found):
        raise next((error for error in refusals if isinstance(error, TargetError)), refusals[0])
    least = min(step.mean_error for step in found)
    chosen = next(step.dt for step in found if step.mean_error <= least * (1 + AS_GOOD))
    return StepChoice(tuple(found), chosen)


def candidates(net: Network) -> list[float]:
    """Steps (s) from a fifth to 1/200 of the shortest time constant, each moved to where rounded decays fit best."""
    taus = _taus(net)
    return [_snapped(share * taus[0], taus) for share in SHARES]


def _taus(net: Network) -> list[float]:
    taus = sorted({tau for layer in network_values(net) for tau in time_constants(layer)})
    if not taus:
        raise InputError("the network has no time constant to choose a step by; name one: dt=... (s)")
    return taus


def _snapped(dt: float, taus: Sequence[float]) -> float:
    """The step within :data:`MOVE` of ``dt`` whose worst decay is closest to a whole number, relatively."""
    steps = dt * np.linspace(1 - MOVE, 1 + MOVE, PLACES)
    exact = -DECAY_UNITY * np.expm1(-steps[:, None] / np.asarray(taus))
    error = np.abs(np.rint(exact) / exact - 1).max(1)
    # three digits are enough to tell, and to type
    return float(f"{steps[int(error.argmin())]:.4g}")


def _measured(
    net: Network,
    inputs: Spikes,
    exact: Record,
    dt: float,
    decision: Decision,
    weight_scale: ScaleRule | Sequence[ScaleRule],
    headroom: Headroom,
) -> Step:
    with LoihiTarget(dt=dt, headroom=headroom).open() as device:
        program = device.target.compile(net, weight_scale=weight_scale)
        device.load(program)
        recording = device.run(inputs)
        fits = getattr(program, "fits", ())
    shortest = _taus(net)[0]
    figures = _errors(exact.output.first_times(), recording.output.first_times(), LOST * shortest)
    same = predict(exact, decision) == predict(recording, decision)
    return Step(
        dt=dt,
        ticks=math.ceil(inputs.t_stop / dt - 1e-6),
        agreement=float(same.double().mean()),
        decay_error=worst(fits),
        **figures,
    )


def _errors(exact: Tensor, found: Tensor, lost: float) -> dict[str, Any]:
    """Errors of first spikes ``[batch, n]`` (s, ``inf``: silent)."""
    here, there = torch.isfinite(exact), torch.isfinite(found)
    either = max(1, int((here | there).sum()))
    distance = (found - exact)[here & there].abs().double()
    missed, extra = int((here & ~there).sum()), int((there & ~here).sum())
    total = float(torch.clamp(distance, max=lost).sum()) + lost * (missed + extra)
    return {
        "median_error": float(distance.median()) if len(distance) else 0.0,
        "mean_error": total / either,
        "missed": missed / either,
        "extra": extra / either,
    }
