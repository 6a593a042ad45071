"""Networks in steps of SPIDE and SpikeGrad on lava-nc: a process of our own, reset by subtraction, in its own folder."""

from __future__ import annotations

import numpy as np

from hwloop.rules import StepNetwork
from hwloop.rules.steps.deployment import SpikeKind
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.soft_reset import SoftRun, run_population
from hwloop_loihi.soft_device import SoftDevice

from .environment import Environment
from .soft_reset import run_soft_reset
from .worker_process import Worker


class LavaSoftDevice(SoftDevice):
    """lava-nc in its worker; spikes are signed where nothing else is asked for.

    Parameters
    ----------
    net, device_id, spikes : as of :class:`hwloop_loihi.soft_device.SoftDevice`
    where : the environment of lava-nc
    deadline : longest silence of the worker (s)
    """

    def __init__(
        self, net: StepNetwork, device_id: str, where: Environment, deadline: float, spikes: SpikeKind = "signed"
    ) -> None:
        super().__init__(net, device_id, "emulator", spikes)
        self._where, self._deadline = where, deadline
        self._worker: Worker | None = None

    def close(self) -> None:
        """End the worker; closing twice is allowed."""
        super().close()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _population(self, index: int, inputs: Array, bias: Array) -> SoftRun:
        if self._worker is None or not self._worker.alive:
            self._worker = Worker(self._where.interpreter, deadline=self._deadline)
        population = self.codes.populations[index]
        # Lava does not say when a current wraps; its twin does, in a fraction of the time
        overflows = run_population(population, inputs, bias).overflows
        weight = population.weight
        if inputs.shape[2] == 0:  # Lava has no connection without inputs: one that is silent
            weight, inputs = np.zeros((population.n, 1), np.int32), np.zeros((*inputs.shape[:2], 1), np.int32)
        raster = run_soft_reset(
            self._worker,
            weight,
            inputs,
            bias,
            vth=population.vth,
            quantum=population.quantum,
            start=population.start,
            recurrent=population.recurrent,
            signed=population.signed,
        )
        return SoftRun(raster, overflows)
