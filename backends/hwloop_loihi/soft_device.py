"""A device for networks in steps of SPIDE and SpikeGrad: populations that reset by subtraction, in fixed point.

``run`` is the same whoever computes: the emulator here, lava-nc in :mod:`hwloop_lava`. The host makes bias currents and input
events, and reads rates and counts out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import deepcopy

import numpy as np
import torch

from hwloop.errors import CompileError, TargetError
from hwloop.record import RanOn
from hwloop.rules import Stage, StepNetwork, StepRecord, Values, find
from hwloop.rules.spide.adjoint import Feedback
from hwloop.rules.spide.rule import Spide, simulate
from hwloop.rules.spikegrad.rule import SpikeGrad, neurons_of
from hwloop.rules.steps.deployment import SpikeKind
from hwloop_fixed_point.registers import STATE_SHIFT, Array
from hwloop_fixed_point.soft_reset import SoftRun, run_population

from .held_network import HeldNetwork, warn_of_zeros
from .soft_codes import SoftCodes, bias_currents, spide_codes, spikegrad_codes, spread_events
from .step_amounts import higher_theta, weaker_volley
from .step_codes import dense_weight

#: Ticks in which SpikeGrad's input events arrive, ticks in which potentials may come to rest at first, and at most.
INPUT_TICKS, SETTLING, MOST_TICKS = 32, 32, 4096


class SoftDevice(HeldNetwork, ABC):
    """A network in steps, in fixed point; a subclass runs one population.

    Parameters
    ----------
    net : StepNetwork of rule "spide" or "spikegrad"
    device_id, ran_on : provenance
    spikes : "binary" or "signed"; SpikeGrad is exact with signed ones alone

    Raises :class:`CompileError` where the arithmetic cannot carry the network.
    """

    def __init__(self, net: StepNetwork, device_id: str, ran_on: RanOn, spikes: SpikeKind) -> None:
        if net.rule not in ("spide", "spikegrad"):
            raise CompileError(
                limit="networks of the rules 'spide' and 'spikegrad', which reset by subtraction",
                value=f"a network of rule {net.rule!r}",
                layer="every population",
                fix="open it on 'loihi', whose stock layers carry 'hm2bp' and 'na', or build it of RateNeurons or SignedNeurons",
            )
        find(net.rule).check(net)
        super().__init__(device_id)
        self.spikes = spikes
        self.ran_on: RanOn = ran_on
        self.write(net)
        if net.rule == "spikegrad":
            held = zip(net.stages[:-1], self.codes.net.stages[:-1], strict=True)
            warn_of_zeros((stage.name, *_weights(stage, kept)) for stage, kept in held)

    @abstractmethod
    def _population(self, index: int, inputs: Array, bias: Array) -> SoftRun:
        """Run population ``index`` of :attr:`codes`; arguments as of :func:`hwloop_fixed_point.soft_reset.run_population`."""

    def write(self, net: StepNetwork) -> None:
        """Round the present weights of ``net`` and hold them; a network that is refused leaves the one that is held."""
        codes: SoftCodes = (
            spide_codes(net) if net.rule == "spide" else spikegrad_codes(net, signed=self.spikes == "signed")
        )
        # a copy: what the host computes in a run is of the weights that were written, not of those that train on
        self.net, self.codes = deepcopy(net), codes

    @torch.no_grad()
    def run(self, values: Values) -> StepRecord:
        """Net spike counts as measured, and the readout that the host computes from them.

        Raises
        ------
        TargetError
            The device is closed; a sum left the 24 bits of a current; SpikeGrad's neurons did not come to rest.
        InputError
            Values that do not fit the network.
        """
        run = self._rates if self.net.rule == "spide" else self._counts
        parts = [run(part) for part in self._parts(values)]
        return self._record(values, [torch.from_numpy(np.concatenate(found)) for found in zip(*parts, strict=True)])

    @torch.no_grad()
    def expected(self, values: Values) -> StepRecord:
        """What the rule's own simulation makes of ``values`` with the weights that the codes stand for."""
        held = self.codes.net
        if self.net.rule == "spikegrad":
            return self._record(values, list(SpikeGrad().forward(held, values).counts))
        scale = self.codes.scales[0] * 2**STATE_SHIFT
        current = torch.from_numpy(bias_currents(self.codes, self._current(values)) / scale)
        feedback = None if held.feedback is None else Feedback(held.feedback.weight)
        return self._record(values, simulate(held.stages[:-1], feedback, current, self.net.steps, [None])[0])

    def _record(self, values: Values, counts: list[torch.Tensor]) -> StepRecord:
        dtype = self.net.stages[0].connection.weight.dtype
        empty = torch.zeros(len(values), self.net.n_out, dtype=dtype)
        measured = StepRecord(None, empty, values, self.net.dt, counts=tuple(n.to(dtype) for n in counts))
        rule: Spide | SpikeGrad = Spide() if self.net.rule == "spide" else SpikeGrad()
        return rule.forward(self.net, values, measured)

    def _current(self, values: Values) -> torch.Tensor:
        """``F x + b`` of SPIDE's hidden population, which the host computes."""
        stage = self.net.stages[0]
        x = values.real(stage.connection.weight.dtype)
        return stage.drive(x) + stage.neurons.bias_current()

    def _rates(self, values: Values) -> list[Array]:
        bias = bias_currents(self.codes, self._current(values))
        nothing = np.zeros((len(values), self.net.steps, 0), np.int32)
        run = self._population(0, nothing, bias)
        if run.overflows:
            raise self._overflowed(0, run, "lower the norm of the feedback")
        return [run.counts]

    def _counts(self, values: Values) -> list[Array]:
        settling = SETTLING
        levels = neurons_of(self.net.stages[0]).levels
        while True:
            events = spread_events(values, levels, INPUT_TICKS)
            current = np.pad(events, ((0, 0), (0, settling), (0, 0)))
            runs = []
            for index, population in enumerate(self.codes.populations):
                bias = np.zeros((len(values), population.n), np.int32)
                run = self._population(index, current, bias)
                if run.overflows:
                    factor = weaker_volley(population, self.codes.scales[index], current)
                    raise self._overflowed(index, run, f"multiply the weights before it by {factor:g} or less")
                if settling >= MOST_TICKS and run.raster[:, -1].any():
                    theta = higher_theta(population, neurons_of(self.net.stages[index]).theta, current, MOST_TICKS)
                    raise TargetError(
                        f"{self.device_id}, population {index}: neurons still fire {settling} ticks after the last input; "
                        f"raise theta to {theta:g} or more, so that fewer spikes are needed"
                    )
                runs.append(run)
                current = run.raster
            if not any(run.raster[:, -1].any() for run in runs):
                return [run.counts for run in runs]
            settling *= 2

    def _overflowed(self, index: int, run: SoftRun, todo: str) -> TargetError:
        return TargetError(
            f"{self.device_id}, population {index}: {run.overflows} currents went beyond 2^23, where they would change "
            f"sign; {todo}"
        )


def _weights(stage: Stage, kept: Stage) -> tuple[Array, Array]:
    """Weights of ``stage`` and of what holds it; synapse by synapse where that has another connection."""
    if type(stage.connection) is not type(kept.connection) or stage.scaled:
        return dense_weight(stage), dense_weight(kept)
    weight, held = (np.asarray(one.connection.weight.detach().double().numpy()) for one in (stage, kept))
    return weight, held


class EmulatedSoftDevice(SoftDevice):
    """The emulator: equal to lava-nc with the process of :mod:`hwloop_lava`, spike by spike."""

    def __init__(self, net: StepNetwork, device_id: str, spikes: SpikeKind = "binary") -> None:
        super().__init__(net, device_id, "emulator", spikes)

    def _population(self, index: int, inputs: Array, bias: Array) -> SoftRun:
        return run_population(self.codes.populations[index], inputs, bias)
