"""StepNetwork: layers in a row that run in discrete steps; the rule that its neurons belong to says how.

    net = StepNetwork(
        [Conv2d(1, 15, 5), SomeNeurons(), AvgPool(2), Dense(15 * 12 * 12, 10), SomeNeurons()],
        in_shape=(1, 28, 28), steps=5,
    )
    record = net(values)                  # StepRecord: record.readout [batch, 10], rasters of every population

A *stage* is pools and factors (``Scale``), one connection (``Dense``, ``Conv2d`` or ``Sparse``), factors, and one population;
all maps of a stage are one linear map together (:class:`hwloop.rules.steps.stages.Stage`). Feedback, where a rule knows it, is one more ``Dense`` from the last
hidden population to the first. What a step is worth in seconds (``dt``) matters only where the network leaves the
simulation: spikes of step ``t`` (from 0) are at ``t dt``.

Everything that is common stands here and in the neurons' base: shapes, number of steps, biases. Input encoding and order of
updates are the rule's: a rule's own options stand in its neurons or in the rule itself, never in this class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ...arguments import whole
from ...errors import InputError
from ...network import Dense, Flatten
from .input_values import Values
from .stages import Shape, Stage, build_stages
from .step_record import StepRecord


class StepNetwork(nn.Module):
    """A network that runs ``steps`` steps on every sample.

    Parameters
    ----------
    layers : sequence of modules
        Pools and ``Scale``, one ``Dense``, ``Conv2d`` or ``Sparse``, ``Scale``, neurons, ...; all neurons of one rule. Factors are
        constants: rules in steps train weights and biases.
    in_shape : int, or ``(channels, height, width)``
        Values of one sample.
    steps : int, >= 1
        T, time steps of the forward pass.
    dt : float (s), > 0
        Worth of a step outside the simulation.
    feedback : Dense, optional
        From the last hidden population (the last but the output's) to the first one, for rules that know feedback.

    Raises
    ------
    InputError
        Layers in another order or of sizes that do not fit, neurons of several rules.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        *,
        in_shape: int | Shape,
        steps: int,
        dt: float = 1e-3,
        feedback: Dense | None = None,
    ) -> None:
        super().__init__()
        steps = whole("steps", steps)
        if not 0 < dt < math.inf:
            raise InputError(f"dt = {dt} s; allowed: finite and > 0")
        sides = in_shape if isinstance(in_shape, Sequence) else (in_shape,)
        self.in_shape: Shape = tuple(whole("in_shape", side) for side in sides)
        self.steps, self.dt = steps, dt
        self._stages = build_stages(layers, self.in_shape)
        self.layers = nn.ModuleList(layers)
        rules = sorted({stage.neurons.rule for stage in self._stages})
        if len(rules) != 1:
            raise InputError(f"neurons of the rules {', '.join(rules)} in one network; allowed: those of one rule")
        self.rule = rules[0]
        self.feedback = feedback
        if feedback is not None:
            self._check_feedback(feedback)

    @property
    def stages(self) -> list[Stage]:
        """The stages, first to last."""
        return self._stages

    @property
    def n_in(self) -> int:
        """Values of one sample."""
        return math.prod(self.in_shape)

    @property
    def n_out(self) -> int:
        """Neurons of the last population."""
        return self._stages[-1].n_out

    def forward(self, values: Values, measured: StepRecord | None = None) -> StepRecord:
        """Run the rule that the neurons belong to; ``record.readout`` is differentiable in the parameters."""
        from ..base import find

        record = find(self.rule).differentiable(self, values, measured)
        if not isinstance(record, StepRecord):
            raise InputError(f"rule {self.rule!r} returned a {type(record).__name__} for a network that runs in steps")
        return record

    def __call__(self, *args: Any, **kwargs: Any) -> StepRecord:
        result: StepRecord = super().__call__(*args, **kwargs)
        return result

    def parameter_name(self, parameter: Tensor) -> str:
        """Name of a parameter, as :meth:`named_parameters` has it."""
        return next(name for name, value in self.named_parameters() if value is parameter)

    @torch.no_grad()
    def hold_matrix(self, k: int, weight: Tensor) -> None:
        """Let ``weight [n_out, n_in]`` stand for all maps of stage ``k``, as one Dense: pools and factors are part of it."""
        stage = self._stages[k]
        dense = Dense(stage.n_in, stage.n_out).to(stage.connection.weight)
        dense.weight.copy_(weight)
        end = next(place for place, layer in enumerate(self.layers) if layer is stage.neurons)
        first = 0
        if k:
            first = 1 + next(place for place, layer in enumerate(self.layers) if layer is self._stages[k - 1].neurons)
        for place in range(first, end):
            self.layers[place] = dense if self.layers[place] is stage.connection else Flatten()
        self._stages[k] = replace(stage, before=(), connection=dense, after=())

    def _check_feedback(self, feedback: Dense) -> None:
        if len(self._stages) < 2:
            raise InputError("feedback in a network without a hidden population; give it one")
        source, sink = self._stages[-2].n_out, self._stages[0].n_out
        if (feedback.n_in, feedback.n_out) != (source, sink):
            raise InputError(
                f"feedback is {feedback.n_in} -> {feedback.n_out}; the last hidden population has {source} neurons, "
                f"the first {sink}; build Dense({source}, {sink})"
            )

    def extra_repr(self) -> str:
        return f"in_shape={self.in_shape}, steps={self.steps}, dt={self.dt:g} s"
