"""HM2-BP: hybrid macro / micro backpropagation of spike trains (Jin, Zhang, Li, NeurIPS 2018, arXiv 1805.07866).

Macro: the count of neuron i is its total potential over its threshold, ``o_i ~ a_i / v_th`` with
``a_i = sum_j w_ij e_i|j``. Micro: ``e_i|j`` is the potential that train j brings to the output spikes of train i,
each kernel cut where neuron i was last reset. With ``P_j(t)`` the potential of train j on a membrane that is never reset,

    e_i|j = sum_f P_j(t_f) - exp(-(t_f - c_f)/tau_m) P_j(c_f) ,   c_f = t_(f-1) + t_ref, where the membrane is let go again

so every quantity of the rule is a product of matrices, without a backward loop over time, and only spikes are needed:

    output   delta_i = (dL/do_i) / v_th ;      hidden   delta_j = (1/v_th) sum_i delta_i w_ij e_i|j / o_j
    dL/dw_ij = delta_i e_i|j (1 + (1/v_th) sum_l w_il e_i|l / o_i) lateral_i

Two forward passes: the published simulation in steps (:class:`StepNetwork` of :class:`LeakyNeurons`), and the event
simulator in continuous time (:class:`hwloop.network.Network`, a chain or any graph without loops), where
``sum_j w_ij e_i|j = v_th o_i`` holds exactly.

Silent trains: ``e/o`` is 1/2 in the bracket where ``o = 0``, and ``empty`` in the hidden error where either train is empty:
1 as published, which revives neurons and lets errors pass through silent ones as if they fired; 0 stops them there, which
is what a deep network needs, most of whose neurons are silent in every sample. A silent output that is asked for more (``dL/do < 0``) is given ``teacher`` regular spikes before the gradient is taken.

The lateral factor is derived from the macro relation (:func:`hwloop.rules.hm2bp.step_simulation.lateral_factor`); the authors' data
decide its sign alone. Their data also decide the cut: with ``c_f = t_(f-1)``, as the formula is sometimes given, the step of
the silent target class comes out with the wrong sign; with the refractory time it does not (tests/rules/test_hm2bp_authors_run.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...arguments import whole
from ...errors import InputError
from ...losses import Decision, Loss
from ...network import Network
from ...record import Record
from ..base import Needs, Rule
from ..steps.network import StepNetwork
from ..steps.step_record import StepRecord
from . import events as hm2bp_event
from . import graph_events as hm2bp_graph
from . import step_simulation as hm2bp_step
from .neurons import LeakyNeurons as LeakyNeurons


@dataclass(frozen=True)
class HM2BP(Rule):
    """The rule and its options.

    Parameters
    ----------
    teacher : int, >= 0
        Regular spikes that a silent output is given where it is asked for more: the wanted count (35). 0: none.
    rate : float
        In steps: a value v is a Poisson spike with probability ``rate v`` a step (published: 1/5.5).
    empty : float, 0..1
        In steps: ``e/o`` of the hidden error where either train is empty (published: 1).
    """

    name: ClassVar[str] = "hm2bp"
    needs: ClassVar[Needs] = Needs(("event", "step"), ("value", "subtract"), "binary", "spikes")

    teacher: int = 35
    rate: float = 1 / 5.5
    empty: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "teacher", whole("teacher", self.teacher, 0))
        if not 0 < self.rate <= 1:
            raise InputError(f"rate = {self.rate}; allowed: 0 < rate <= 1 spike a step")
        if not 0 <= self.empty <= 1:
            raise InputError(f"empty = {self.empty}; allowed: 0..1, the ratio e/o of an empty train")

    def decision(self, net: nn.Module) -> Decision:
        """The largest count; in continuous time the earlier spike among equal ones."""
        return "count" if isinstance(net, Network) else "readout"

    def check(self, net: nn.Module) -> None:
        """A feed-forward Network whose neurons reset to rest, or a StepNetwork of LeakyNeurons."""
        if isinstance(net, Network):
            _continuous(net).check(net)
            return
        if not isinstance(net, StepNetwork) or net.rule != self.name:
            raise InputError("rule 'hm2bp' trains a feed-forward Network of LIF, or a StepNetwork of LeakyNeurons")
        if net.feedback is not None:
            raise InputError("rule 'hm2bp' knows no feedback; build the StepNetwork without it")
        if self.teacher > net.steps:
            raise InputError(f"teacher = {self.teacher} spikes in {net.steps} steps; allowed: one a step at most")

    def forward(self, net: Any, inputs: Any, measured: Record | None = None) -> Record:
        """Simulate, or take measured spikes; the readout is the output's counts."""
        if isinstance(net, StepNetwork):
            return hm2bp_step.forward(net, inputs, self.rate, measured)
        return hm2bp_event.forward(net, inputs, measured)

    def training_forward(self, net: Any, inputs: Any, measured: Record | None = None) -> Record:
        """:meth:`forward`; in steps, what the gradient can use again is kept."""
        if isinstance(net, StepNetwork):
            return hm2bp_step.forward(net, inputs, self.rate, measured, keep_drive=True)
        return self.forward(net, inputs, measured)

    def gradients(self, net: Any, record: Record, grad: Tensor) -> dict[str, Tensor]:
        """Weight gradients from the loss gradient on the counts."""
        if isinstance(record, StepRecord):
            return hm2bp_step.gradients(net, record, grad, self.teacher, self.empty)
        return _continuous(net).gradients(net, record, grad, self.teacher)


def _continuous(net: Network) -> Any:
    """The module for ``net`` in continuous time: chains matrix by matrix, other graphs synapse by synapse."""
    return hm2bp_event if net.is_plain_chain else hm2bp_graph


@dataclass(frozen=True)
class WeightDecay(Loss):
    """The published regulariser: gradient ``strength beta (w/limit) exp(beta (mean_j (w_ij/limit)^2 - 1))``.

    A sum over the neurons of all layers; grows exponentially once a neuron's weights reach ``limit``.
    """

    strength: float = 10.0
    beta: float = 0.04
    limit: float = 8.0

    def __call__(self, net: Any, record: Record, labels: Tensor) -> Tensor:
        """Its value; the same for every sample."""
        weights = [p.flatten(1) for p in net.parameters() if p.ndim > 1]
        return sum((self._of(weight) for weight in weights), torch.zeros(()))

    def _of(self, weight: Tensor) -> Tensor:
        mean = (weight / self.limit).square().mean(1)
        return 0.5 * self.strength * self.limit * weight.shape[1] * torch.exp(self.beta * (mean - 1)).sum()
