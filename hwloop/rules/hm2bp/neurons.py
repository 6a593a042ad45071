"""Current-based LIF neurons in steps, as HM2-BP was published with them.

v <- v - v/tau_m ;  e <- e - e/tau_s                                   (linear decay)
e <- e + sum_j w_ij s_j[t-1] + lateral sum_(l != i) s_l[t-1]           (one step of delay)
v <- v + e/tau_s, or 0 while refractory ;  spike where v > v_th - 1e-6, then v <- 0, refractory for t_ref steps
"""

from __future__ import annotations

import math
from typing import ClassVar

from ...arguments import whole
from ...errors import InputError
from ..steps.step_neurons import Neurons

#: Slack of the threshold in the published simulation.
SLACK = 1e-6

#: Largest loop gain in the lateral factor ``1 / (1 - loop)``: beyond 1 the linear picture behind it ends, and the sign turns.
MAX_LOOP = 0.5


class LeakyNeurons(Neurons):
    """A population of the published HM2-BP neuron; reset to zero, the synaptic current is kept.

    Parameters
    ----------
    v_th : float, > 0
    tau_m, tau_s : (steps), >= 1, ``tau_m > tau_s``
    t_ref : int (steps), >= 0
    lateral : float, <= 0
        Weight from every neuron of the population to every other one; the published output layer has -1.
    """

    rule: ClassVar[str] = "hm2bp"

    def __init__(
        self, v_th: float, *, tau_m: float = 64.0, tau_s: float = 8.0, t_ref: int = 2, lateral: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 < v_th < math.inf:
            raise InputError(f"LeakyNeurons: v_th = {v_th}; allowed: finite and > 0")
        if not 1 <= tau_s < tau_m < math.inf:
            raise InputError(f"LeakyNeurons: tau_m = {tau_m}, tau_s = {tau_s} steps; allowed: 1 <= tau_s < tau_m")
        if not -math.inf < lateral <= 0:
            raise InputError(f"LeakyNeurons: lateral = {lateral}; allowed: finite and <= 0 (inhibition)")
        self.v_th, self.tau_m, self.tau_s, self.lateral = v_th, tau_m, tau_s, lateral
        self.t_ref = whole("LeakyNeurons: t_ref (steps)", t_ref, 0)

    def extra_repr(self) -> str:
        lateral = f", lateral={self.lateral:g}" if self.lateral else ""
        return f"v_th={self.v_th:g}, tau_m={self.tau_m:g}, tau_s={self.tau_s:g}, t_ref={self.t_ref}{lateral}"
