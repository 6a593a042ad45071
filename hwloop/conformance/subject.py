"""The target that is checked, and networks and inputs that fit whatever limits it has.

No random number is drawn, so that what was asked once is asked again: a recorded session answers a second check.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..device.abilities import CodeReader, Hurried, Resumable, able, promises_of
from ..device.registry import Device, Target, compile_quietly
from ..errors import CompileError
from ..mapping import Program
from ..network import LIF, Dense, Network
from ..record import Recording
from ..spikes import EventPair, Spikes
from .claim import skip

Array: TypeAlias = NDArray[Any]

#: Times its threshold to which one input spike of weight :data:`STRONG` drives a neuron at rest: mismatch and noise do not
#: decide whether it fires.
DRIVE = 4.0
#: Largest membrane of one input spike of weight 1, at tau_mem = 2 tau_syn and a swing of 1: x - x^2 at x = 1/2.
PEAK = 0.25
STRONG = DRIVE / PEAK
#: tau_syn (s) where the limits leave the choice, and the fewest steps of a clock that it should last.
USUAL_TAU, LEAST_STEPS = 5e-3, 50
#: When such a neuron first crosses its threshold after the spike (tau_syn): x - x^2 = 1 / 16, s = -2 ln x.
CROSSING = -2.0 * math.log((1.0 + math.sqrt(1.0 - PEAK * 4 / DRIVE)) / 2.0)
#: By how much times of noisy devices may be off in the median over neurons (tau_syn): a third of the crossing.
NOISY = CROSSING / 3
#: Share of neurons or synapses that may be defective on a device that promises no exactness.
DEFECTS = 0.25
#: Rounding of times in the model's own arithmetic (tau_syn).
ROUNDING = 1e-6


class Subject:
    """``target``, as claims see it.

    Parameters
    ----------
    target : what is checked
    log : path of a session log, in which every opened device is recorded; optional

    Attributes
    ----------
    limits : its capabilities
    promises : what it promises
    """

    def __init__(self, target: Target, log: Path | None = None) -> None:
        self.target, self._log, self._answered = target, log, 0
        self.limits, self.promises = target.capabilities, promises_of(target)

    # -- devices ------------------------------------------------------------------------------

    @contextmanager
    def device(self) -> Iterator[Device]:
        """The target, opened anew, for the time of the context; one that answers from a log goes on in it."""
        with self._opened() as device:
            log: Resumable | None = able(device, Resumable) if self._log is None else None
            if log is not None:
                log.seek(logged=self._answered)
            try:
                yield device
            finally:
                if log is not None:
                    self._answered = log.logged

    def _opened(self) -> Device:
        device = self.target.open()
        if self._log is None:
            return device
        from ..session_log import record_session

        try:
            return record_session(device, self._log)
        except BaseException:
            device.close()
            raise

    def code_reader(self, device: Device) -> CodeReader:
        """``device``, where its weights can be read back; else the claim does not apply."""
        found: CodeReader | None = able(device, CodeReader)
        return found or skip("the device reads no weights back (hwloop.device.abilities.CodeReader)")

    @property
    def hurried(self) -> Hurried:
        """The target, where it waits by a deadline; else the claim does not apply."""
        found: Hurried | None = able(self.target, Hurried)
        if found is None or self._log is not None:
            skip("nothing is waited for: the target has no deadline (hwloop.device.abilities.Hurried)")
        return found

    # -- times (model s) ----------------------------------------------------------------------

    @property
    def step(self) -> float:
        """Resolution of recorded times."""
        return self.limits.time_step * self.limits.speedup

    @property
    def error(self) -> float | None:
        """Promised distance from the model's times; None where none is."""
        promised = self.promises.time_error
        return None if promised is None else promised * self.limits.speedup

    @property
    def unit(self) -> float:
        """The tau_syn of all networks here, half their tau_mem; times of claims are multiples of it."""
        low, high = 0.0, math.inf
        for name, multiple in (("tau_syn", 1), ("tau_mem", 2)):
            allowed = self.limits.ranges.get(name)
            if allowed is not None and allowed.unit == "device_s":
                low = max(low, allowed.low * self.limits.speedup / multiple)
                high = min(high, allowed.high * self.limits.speedup / multiple)
        if low > high:
            skip("the target's ranges allow no tau_mem of twice tau_syn")
        return min(max(USUAL_TAU, LEAST_STEPS * self.step, low), high)

    # -- networks and inputs ------------------------------------------------------------------

    def lif(self, n: int, **options: Any) -> LIF:
        """``n`` neurons of the usual time constants."""
        return LIF(n, **{"tau_mem": 2 * self.unit, "tau_syn": self.unit, **options})

    def layer(self, weight: Array, *, delay: Any = None, **neurons: Any) -> Network:
        """One layer of ``weight [n_out, n_in]``, float64."""
        dense = Dense(weight.shape[1], weight.shape[0], delay=delay)
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(np.asarray(weight, dtype=np.float64)))
        return Network([dense, self.lif(len(weight), **neurons)]).double()

    def network(self, dtype: torch.dtype = torch.float64, n_in: int = 3) -> Network:
        """Two layers that fire: 3 inputs, 6 neurons, 2 neurons, or fewer where the target has no more."""
        n_in, hidden = self.inputs(n_in), min(6, self.limits.fan_in, self.limits.n_neurons - 2)
        if hidden < 1:
            skip(f"{self.limits.n_neurons} neurons are too few for two layers")
        net = Network([Dense(n_in, hidden), self.lif(hidden), Dense(hidden, 2), self.lif(2)])
        with torch.no_grad():
            for dense, _ in net.blocks:
                dense.weight.copy_(torch.from_numpy(_own(dense.n_out, dense.n_in)))
        return net.to(dtype)

    def inputs(self, wanted: int) -> int:
        """Input units: ``wanted``, or as many as a neuron can have."""
        return min(wanted, self.limits.fan_in)

    def neurons(self, wanted: int) -> int:
        """Neurons: ``wanted``, or as many as there are."""
        return min(wanted, self.limits.n_neurons)

    def spikes(self, rows: Sequence[EventPair], n_units: int, window: float = 12.0) -> Spikes:
        """Input spikes, one ``(times, units)`` pair a sample, times and window in units of :attr:`unit`."""
        scaled = [(np.asarray(times, dtype=np.float64) * self.unit, units) for times, units in rows]
        return Spikes.from_events(scaled, n_units=n_units, t_stop=window * self.unit, dtype=torch.float64)

    @property
    def usual(self) -> Spikes:
        """Four samples for :meth:`network`, the last without any event."""
        n = self.inputs(3)
        rows = [([0.2, 0.4, 0.6], [0, 1, 2]), ([0.2, 0.2, 1.8], [2, 0, 1]), ([0.0], [1]), ([], [])]
        return self.spikes([(times, [unit % n for unit in units]) for times, units in rows], n)

    # -- compiling and running ----------------------------------------------------------------

    def compile(self, net: Network, device: Device, **options: Any) -> Program:
        """``net`` for ``device``; where it is refused, the claim does not apply."""
        try:
            return compile_quietly(net, device, **options)
        except CompileError as error:
            skip(f"refused: {error}")

    def measure(self, net: Network, spikes: Spikes, repeats: int = 1) -> tuple[Program, Recording]:
        """``net`` compiled, loaded on a device of its own, and run once."""
        with self.device() as device:
            program = self.compile(net, device)
            device.load(program)
            return program, device.run(spikes, repeats=repeats)


def rounded_model(net: Network, program: Program) -> Network:
    """A chain of Dense and LIF with the weights that ``program``'s codes stand for, float64."""
    model = copy.deepcopy(net).double()
    with torch.no_grad():
        for (dense, _), weight in zip(model.blocks, program.weights(), strict=True):
            dense.weight.copy_(torch.from_numpy(weight))
    return model


def deviation(found: torch.Tensor, expected: torch.Tensor) -> Array:
    """``found - expected`` where both are finite, as one row."""
    both = torch.isfinite(found) & torch.isfinite(expected)
    return (found - expected)[both].detach().double().numpy()


def refusal(action: Callable[[], object], kinds: type[Exception] | tuple[type[Exception], ...]) -> Exception | None:
    """The error of ``kinds`` that ``action`` raises; None where it raises none."""
    try:
        action()
    except kinds as error:
        return error
    return None


def _own(n_out: int, n_in: int) -> Array:
    """Weights that give every neuron one input of its own, strong, of a strength of its own, and some of the others."""
    neuron, unit = np.arange(n_out)[:, None], np.arange(n_in)[None, :]
    own = neuron % n_in == unit if n_out >= n_in else unit % n_out == neuron
    return np.where(own, STRONG * (1.0 - neuron / (4.0 * n_out)), STRONG / 16 * ((neuron + unit) % 3 - 1))
