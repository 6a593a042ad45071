"""A device for networks in steps of HM2-BP and NA: stock layers that reset to zero, on the emulator, every spike recorded.

HM2-BP's steps are ticks: a spike of step t acts at step t + 1, in both. NA's populations answer in the step they are driven
in, which costs a tick each on a chip: population k runs k ticks late (from 0), and is recorded so.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch

from hwloop.errors import TargetError
from hwloop.record import RanOn
from hwloop.rules import HM2BP, NA, LeakyNeurons, StepNetwork, StepRecord, Values, find
from hwloop.rules.hm2bp.step_simulation import counts
from hwloop.rules.na.rule import neurons_of
from hwloop.rules.steps.poisson import poisson_raster
from hwloop.simulate.compile_kernel import kernel
from hwloop_fixed_point.graph import FixedGraph
from hwloop_fixed_point.kernels import _step
from hwloop_fixed_point.registers import DECAY_UNITY, Array
from hwloop_fixed_point.runs import Emulator
from hwloop_fixed_point.ticks import TickSpikes

from .held_network import HeldNetwork, warn_of_zeros
from .step_amounts import weaker_weights
from .step_codes import bias_codes, bias_scale, decay, hm2bp_layer, na_layer


class EmulatedStepDevice(HeldNetwork):
    """A network of rule "hm2bp" or "na" in fixed point; a :class:`hwloop.rules.steps.deployment.StepDevice`.

    Parameters
    ----------
    net : StepNetwork
    device_id : str

    Raises :class:`CompileError` where the arithmetic cannot carry the network.
    """

    ran_on: RanOn = "emulator"

    def __init__(self, net: StepNetwork, device_id: str) -> None:
        find(net.rule).check(net)
        super().__init__(device_id)
        self.write(net)
        held = net.stages if net.rule == "hm2bp" else net.stages[1:]
        warn_of_zeros((stage.name, layer.exact, layer.weight) for stage, layer in zip(held, self.layers, strict=True))

    def write(self, net: StepNetwork) -> None:
        """Round the present weights of ``net`` and hold them; a network that is refused leaves the one that is held."""
        if net.rule == "hm2bp":
            layers = [hm2bp_layer(stage) for stage in net.stages]
        else:
            pairs = zip(net.stages[1:], net.stages[:-1], strict=True)
            layers = [na_layer(stage, neurons_of(before)) for stage, before in pairs]
            decay(net.stages[0], "tau_m", neurons_of(net.stages[0]).tau_m)
        graph = FixedGraph(tuple(layer.layer for layer in layers), net.dt) if layers else None
        emulator = None if graph is None else Emulator(graph)
        # a copy: what the host computes in a run is of the weights that were written, not of those that train on
        self.net, self.layers, self._emulator = deepcopy(net), layers, emulator

    @torch.no_grad()
    def run(self, values: Values) -> StepRecord:
        """Every spike as measured, and the readout that goes with it.

        Raises
        ------
        TargetError
            The device is closed, or a sum left the 24 bits of a current.
        InputError
            Values that do not fit the network.
        """
        run = self._timed if self.net.rule == "hm2bp" else self._driven
        parts = [run(part) for part in self._parts(values)]
        rasters = [torch.cat(found) for found in zip(*parts, strict=True)]
        dtype = self.net.stages[0].connection.weight.dtype
        if self.net.rule == "hm2bp":
            readout = counts(rasters[-1]).to(dtype)
            measured = StepRecord(tuple(rasters[1:]), readout, values, self.net.dt, traces={"inputs": rasters[0]})
            return HM2BP().forward(self.net, values, measured)  # type: ignore[return-value]  # in steps: a StepRecord
        measured = StepRecord(tuple(rasters), rasters[-1].to(dtype), values, self.net.dt)
        return NA().forward(self.net, values, measured)

    @torch.no_grad()
    def expected(self, values: Values) -> StepRecord:
        """What the rule's own simulation makes of ``values`` with the weights that the codes stand for."""
        held = deepcopy(self.net)
        first = 0 if self.net.rule == "hm2bp" else 1
        for k, layer in enumerate(self.layers, first):
            held.hold_matrix(k, torch.from_numpy(layer.weight))
            neurons = held.stages[k].neurons
            if isinstance(neurons, LeakyNeurons):
                neurons.lateral = layer.lateral
        return find(held.rule).forward(held, values)  # type: ignore[return-value]  # in steps: a StepRecord

    def _timed(self, values: Values) -> list[torch.Tensor]:
        """HM2-BP: rasters of the inputs and of every population."""
        inputs = poisson_raster(values, self.net.steps, HM2BP().rate)
        found = self._behind(TickSpikes.from_raster(inputs.numpy()), self.net.steps)
        return [inputs, *(torch.from_numpy(raster.view(np.uint8)) for raster in found)]

    def _driven(self, values: Values) -> list[torch.Tensor]:
        """NA: rasters of every population, each taken from its own first tick on."""
        first, steps = self.net.stages[0], self.net.steps
        neurons = neurons_of(first)
        ticks = steps + len(self.layers)
        currents = first.drive(values.real(first.connection.weight.dtype)).double().numpy()
        scale = bias_scale(first, float(np.abs(currents).max()))
        keep, threshold = DECAY_UNITY - decay(first, "tau_m", neurons.tau_m), round(neurons.v_th * scale)
        raster = np.zeros((len(values), ticks, first.n_out), np.uint8)
        _biased(bias_codes(currents, scale), np.uint32(keep), np.int32(threshold), raster)
        behind = self._behind(TickSpikes.from_raster(raster), ticks) if self.layers else []
        rasters = [raster, *(found.view(np.uint8) for found in behind)]
        return [torch.from_numpy(found[:, k : k + steps].copy()) for k, found in enumerate(rasters)]

    def _behind(self, inputs: TickSpikes, ticks: int) -> list[Array]:
        """Rasters of the layers that spikes drive."""
        if self._emulator is None:
            return []
        ran = self._emulator.run(inputs, ticks)
        for index, wraps in enumerate(ran.wraps):
            if wraps.any():
                driving = inputs if not index else ran.layers[index - 1]
                factor = weaker_weights(self.layers[index].layer, driving.to_raster(ticks))
                raise TargetError(
                    f"{self.device_id}, layer {index}: {int(wraps.sum())} currents went beyond 2^23, where they change sign; "
                    f"multiply its weights by {factor:g} or less, or send fewer input spikes"
                )
        return [layer.to_raster(ticks) for layer in ran.layers]


@kernel(allocates=True)
def _biased(bias: Array, keep: int, threshold: int, raster: Array) -> None:
    """A population on ``bias [batch, n]`` alone, by the rules of the emulator, into ``raster [batch, ticks, n]``."""
    n = bias.shape[1]
    u, v, arrived = np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int32)
    for b in range(bias.shape[0]):
        u[:], v[:] = 0, 0
        for tick in range(raster.shape[1]):
            arrived[:] = 0
            _step(u, v, arrived, bias[b], np.uint32(0), keep, threshold)
            for i in range(n):
                raster[b, tick, i] = arrived[i]
