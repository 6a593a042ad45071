"""LIF neurons in steps, driven by filtered spikes, as NA was published with them.

    u[t] = (1 - 1/tau_m) u[t-1] (1 - s[t-1]) + sum_j w_ij a_j[t] ;   s[t] = 1 where u[t] > v_th
    a[t] = (1 - 1/tau_s) a[t-1] + s[t]/tau_s                           what the next population is driven by

The inputs of the first population are constant: ``a_j[t]`` is the value j, in every step.
"""

from __future__ import annotations

import math
from typing import ClassVar

from ...errors import InputError
from ..steps.step_neurons import Neurons


class TracedNeurons(Neurons):
    """A population of the published NA neuron; reset to zero.

    Parameters
    ----------
    v_th : float, > 0
    tau_m, tau_s : (steps), >= 1
        Of the membrane, and of the trace that its spikes leave.
    """

    rule: ClassVar[str] = "na"

    def __init__(self, v_th: float = 1.0, *, tau_m: float = 5.0, tau_s: float = 2.0) -> None:
        super().__init__()
        if not 0 < v_th < math.inf:
            raise InputError(f"TracedNeurons: v_th = {v_th}; allowed: finite and > 0")
        for name, value in (("tau_m", tau_m), ("tau_s", tau_s)):
            if not 1 <= value < math.inf:
                raise InputError(f"TracedNeurons: {name} = {value} steps; allowed: finite and >= 1")
        self.v_th, self.tau_m, self.tau_s = v_th, tau_m, tau_s

    @property
    def keep_m(self) -> float:
        """Share of the membrane that a step leaves."""
        return 1 - 1 / self.tau_m

    @property
    def keep_s(self) -> float:
        """Share of the trace that a step leaves."""
        return 1 - 1 / self.tau_s

    def extra_repr(self) -> str:
        return f"v_th={self.v_th:g}, tau_m={self.tau_m:g}, tau_s={self.tau_s:g}"
