"""How spike times of the stepped graphs approach the exact ones as the step shrinks.

In floating point the error is that of the grid: input spikes off it by up to half a step, crossings seen at the end of a step.
It falls with the step, slope 1. In fixed point it falls until decays and truncation are the larger error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_fixed_point.reference import run_float
from hwloop_fixed_point.runs import Emulator
from hwloop_fixed_point.ticks import TickSpikes, decode_late, encode

from .compiler import compile_loihi
from .discretise import float_graph


@dataclass(frozen=True)
class Convergence:
    """Output first spikes at one step ``dt`` (s), in floating and in fixed point: median error, ``float_median`` and ``fixed_median``
    (s), and shares (0..1) of pairs: ``float_missed``, ``float_extra``, ``fixed_missed``, ``fixed_extra``.
    """

    dt: float
    float_median: float
    float_missed: float
    float_extra: float
    fixed_median: float
    fixed_missed: float
    fixed_extra: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def convergence(net: Network, inputs: Spikes, steps: Sequence[float]) -> list[Convergence]:
    """Errors of the output's first spikes for ``inputs`` at each of ``steps`` (s), floating and fixed point.

    Raises :class:`CompileError` where a step does not carry the network.
    """
    with torch.no_grad():
        exact = net(inputs).output
    rows = []
    for dt in steps:
        ticks, _ = encode(inputs, dt)
        real = float_graph(net, dt)
        n_ticks = real.n_ticks(inputs.t_stop)
        floating = TickSpikes.from_raster(run_float(real, ticks.to_raster(n_ticks))[-1])
        fixed = Emulator(compile_loihi(net, dt).graph).run(ticks, n_ticks).layers[-1]
        figures = [
            _errors(exact, decode_late(found, real.late[-1], dt, inputs.t_stop, torch.float64))
            for found in (floating, fixed)
        ]
        rows.append(Convergence(dt, *figures[0], *figures[1]))
    return rows


def slope(steps: Sequence[float], errors: Sequence[float]) -> float:
    """Exponent p of ``error ~ dt^p`` for ``steps`` (s) and ``errors`` (s), by least squares on logarithms."""
    return float(np.polyfit(np.log(steps), np.log(errors), 1)[0])


def _errors(exact: Spikes, found: Spikes) -> tuple[float, float, float]:
    """Median error of first spikes on both (s), shares missed and extra of pairs with a spike on either."""
    a, b = exact.first_times().double(), found.first_times()
    here, there = torch.isfinite(a), torch.isfinite(b)
    either = max(1, int((here | there).sum()))
    both = (b - a)[here & there].abs()
    median = float(both.median()) if len(both) else math.nan
    return median, int((here & ~there).sum()) / either, int((there & ~here).sum()) / either
