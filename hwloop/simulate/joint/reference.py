"""The specification of joint simulation: event by event, in plain Python and float64, from the formulas.

Independent of the kernels: every arrival that is on its way in one queue, the first crossing of every neuron by bisection,
and gradients by forward sensitivities. Every spike time carries its derivatives with respect to all that there is

    x = every synapse's weight, every bundle's delay, every external event's time, seven parameters of every neuron ;

an arrival has those of the spike that caused it, plus one for its own delay, and hands them to the neurons it acts on. So
derivatives go round the loop as often as spikes do. Spike and arrival times are rounded to the component's dtype.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..contract import Events, FloatArray, Floor, IntArray
from ..reference.neuron import Neuron, crossing, inverse_slope, moments
from .contract import CROSSED, CURRENT, INTEGRATE, JUMP, Component
from .derivatives import Layout, Run, Spiked
from .explosion import block, fastest, refuse_explosion

#: Places of a neuron's own parameters.
MEM, SYN, THRESHOLD, RESET, HOLD, START, RAMP = range(7)


class Unit:
    """One neuron in one sample: state, derivatives ``S = du/dx`` and ``J = di/dx``, and its spikes."""

    def __init__(self, component: Component, b: int, j: int, layout: Layout, floor: Floor) -> None:
        p = component.neurons
        threshold = float(p.threshold[b if len(p.threshold) > 1 else 0, j])
        tau_mem, tau_syn, t_ref = float(p.tau_mem[j]), float(p.tau_syn[j]), float(p.t_ref[j])
        self.kind, self.j, self.layout, self.floor = int(p.kind[j]), j, layout, floor
        self.neuron = Neuron(
            tau_mem, tau_syn, t_ref, threshold, float(p.reset[j]), float(p.start[j]), bool(p.subtract[j])
        )
        self.ramp, self.cap, self.fired = float(p.ramp[j]), int(p.max_spikes[j]), 0
        self.time, self.u, self.i, self.release = 0.0, self.neuron.start, 0.0, -math.inf
        self.S, self.J = np.zeros(layout.size), np.zeros(layout.size)
        self.S[self.own(START)] = 1.0
        self.last: Spiked | None = None
        self.next: float | None = None  # the time of its next spike if nothing arrives, where that is known

    def own(self, parameter: int) -> int:
        """Place of one of its own parameters."""
        return self.layout.own(self.j, parameter)

    @property
    def held(self) -> bool:
        """Within the refractory time."""
        return self.release > self.time

    @property
    def spent(self) -> bool:
        """It has had all the spikes that it may have."""
        return bool(self.cap) and self.fired >= self.cap

    @property
    def speed(self) -> float:
        """``u'`` now, were it free."""
        return self.ramp if self.kind == INTEGRATE else (self.i - self.u) / self.neuron.tau_mem

    def advance(self, t: float) -> None:
        """To time ``t``, through the end of the refractory time where it lies between."""
        if self.held:
            to = min(t, self.release)
            self._flow(to - self.time)
            self.time = to
            if to == self.release:
                self._let_go()
        if t > self.time:
            self._flow(t - self.time)
            self.time = t

    def _flow(self, s: float) -> None:
        tm, ts = self.neuron.tau_mem, self.neuron.tau_syn
        if self.kind == INTEGRATE:
            if not self.held:
                self.u += self.ramp * s
                self.S[self.own(RAMP)] += s
            return
        e_m, e_s = math.exp(-s / tm), math.exp(-s / ts)
        if not self.held:
            m_0, m_1 = moments(s, tm, ts)
            g = s / tm * m_0
            self.S = e_m * self.S + g * self.J
            self.S[self.own(MEM)] += self.u * e_m * s / tm**2
            self.S[self.own(MEM)] += self.i * (-g / tm + s / tm * (m_0 - m_1) * s / tm**2)
            self.S[self.own(SYN)] += self.i * s / tm * m_1 * s / ts**2
            self.u = e_m * self.u + g * self.i
        self.J = e_s * self.J
        self.J[self.own(SYN)] += self.i * e_s * s / ts**2
        self.i *= e_s

    def arrive(self, synapse: int, weight: float, row: FloatArray) -> None:
        """An arrival now, whose time has derivatives ``row``."""
        self.next = None
        if self.kind == CURRENT:
            self.i += weight
            self.J[synapse] += 1.0
            self.J += weight / self.neuron.tau_syn * row
            if not self.held:
                self.S -= weight / self.neuron.tau_mem * row
        elif not self.held:
            self.u += weight
            self.S[synapse] += 1.0
            if self.kind == JUMP:
                self.S += weight / self.neuron.tau_mem * row

    def ahead(self, end: float) -> float:
        """Time of its next spike if nothing arrives before ``end``; inf where there is none."""
        if self.next is None:
            self.next = self._next(end)
        return self.next

    def _next(self, end: float) -> float:
        now, u, i = max(self.time, min(self.release, end)), self.u, self.i
        if self.spent or now >= end:
            return math.inf
        if self.kind == INTEGRATE:
            if self.u + self.ramp * (end - now) < self.neuron.threshold or self.ramp <= 0:
                return math.inf
            return min(now + (self.neuron.threshold - u) / self.ramp, end)
        if self.held:
            i *= math.exp(-(now - self.time) / self.neuron.tau_syn)
        s = crossing(self.neuron, u, i, now, end - now)
        return math.inf if s is None else now + s

    def fire(self, after: int, cause: int, fired_by: FloatArray | None) -> Spiked:
        """A spike, now; ``fired_by``: derivatives of the time of the arrival that fired it."""
        n, held, self.next = self.neuron, self.held, None
        current, row = self.i, np.zeros(self.layout.size)
        if held:
            current = -math.inf
        elif fired_by is not None:
            current, row = math.inf, fired_by.copy()
        elif self.kind == INTEGRATE:
            current = math.inf if self.ramp > 0 else -math.inf
            row = self._crossed() / self.ramp if self.ramp > 0 else row
        elif self.kind == JUMP and n.threshold >= 0:
            current = -math.inf
        else:
            row = self._crossed() * (n.tau_mem * inverse_slope(n, self.i, self.floor))
        self.last = Spiked(self.time, self.j, current, self.u - n.threshold, after, cause, row)
        self.before, self.by_arrival = (self.S + self.speed * row, fired_by is not None)
        self.u = self.u - (n.threshold - n.reset) if n.subtract and not held else n.reset
        self.release, self.fired = self.time + n.t_ref, self.fired + 1
        if not self.held:
            self._let_go()
        return self.last

    def _crossed(self) -> FloatArray:
        crossed = -self.S
        crossed[self.own(THRESHOLD)] += 1.0
        return crossed

    def _let_go(self) -> None:
        """The end of the refractory time: the membrane leaves the later, the later it fired.

        ``before`` is the membrane at the (moving) spike time; after a crossing that is the threshold, whatever moves.
        """
        if self.last is None:
            raise RuntimeError("a neuron is let go that has not fired")
        self.last.release_time, self.last.release_current = self.time, self.i
        late = self.last.row.copy()
        late[self.own(HOLD)] += 1.0
        kept = np.zeros(self.layout.size)
        if self.by_arrival and self.neuron.subtract:
            kept = self.before
            kept[self.own(THRESHOLD)] -= 1.0
        u = self.u if self.by_arrival else self.neuron.reset
        speed = self.ramp if self.kind == INTEGRATE else (self.i - u) / self.neuron.tau_mem
        self.S = kept - speed * late
        self.S[self.own(RESET)] += 1.0


class _Sample:
    """One sample on its way."""

    def __init__(
        self, component: Component, inputs: Events, b: int, end: float, floor: Floor, measured: Sequence[tuple[float, int]] | None
    ) -> None:  # fmt: skip
        self.component, self.end, self.run, self.b = component, end, Run(), b
        self.fastest, self.block = fastest(component, end), block(component.size)
        self.block_at, self.block_time = 0, 0.0
        self.round = component.neurons.tau_mem.dtype.type
        s, n = component.synapses, component.size
        self.layout = Layout(len(s.weight), len(s.delay), inputs.times.shape[1], n)
        self.units = [Unit(component, b, j, self.layout, floor) for j in range(n)]
        self.waiting: list[tuple[float, int, int, int, int]] = []  # time, 0 external, number, bundle, origin
        self.number = 0
        self.measured = None if measured is None else list(measured)
        for event in range(int(inputs.counts[b])):
            self._send(float(inputs.times[b, event]), int(inputs.units[b, event]), -1 - event)

    def _send(self, t: float, source: int, origin: int) -> None:
        s = self.component.synapses
        for bundle in range(s.bundle_starts[source], s.bundle_starts[source + 1]):
            at = float(self.round(t + float(s.delay[bundle])))
            if at < self.end:
                heapq.heappush(self.waiting, (at, int(origin >= 0), self.number, bundle, origin))
                self.number += 1

    def row_of(self, bundle: int, origin: int) -> FloatArray:
        """Derivatives of an arrival's time."""
        row = np.zeros(self.layout.size) if origin < 0 else self.run.spikes[origin].row.copy()
        if origin < 0:
            row[self.layout.event(-1 - origin)] = 1.0
        row[self.layout.delay(bundle)] += 1.0
        return row

    def fire(self, unit: Unit, cause: int = CROSSED) -> None:
        """A spike of ``unit`` at its time, and what it sends."""
        fired_by = None if cause == CROSSED else self.row_of(*self.run.arrivals[cause])
        self.run.spikes.append(unit.fire(len(self.run.arrivals), cause, fired_by))
        self._send(unit.time, self.component.n_external + unit.j, len(self.run.spikes) - 1)

    def go(self) -> Run:
        """To the end."""
        while True:
            t = self.waiting[0][0] if self.waiting else self.end
            spiking = self._given(t) if self.measured is not None else self._found(t)
            if spiking:
                for unit in spiking:
                    self.fire(unit)
                continue
            self._instant(t)
            if t >= self.end:
                return self.run
            if self.measured is None and len(self.run.spikes) - self.block_at >= self.block:
                self._refuse_explosion(t)

    def _refuse_explosion(self, t: float) -> None:
        """Refuse a rate of the last spikes beyond the fastest."""
        count, n = len(self.run.spikes), self.component.size
        rate = (count - self.block_at) / n / max(t - self.block_time, 1e-300)
        if rate > self.fastest:
            refuse_explosion(self.b, count, n, t, rate)
        self.block_at, self.block_time = count, t

    def _found(self, t: float) -> list[Unit]:
        """Carry those that spike first, before or at ``t``, to that time."""
        ahead = [unit.ahead(self.end) for unit in self.units]
        if min(ahead, default=math.inf) > t:
            return []
        times = []
        for unit, at in zip(self.units, ahead, strict=True):
            rounded, since = self.round(at), max(unit.time, min(unit.release, at))
            if float(rounded) <= since:  # never on or before the event that caused it
                rounded = np.nextafter(rounded, self.round(math.inf))
            times.append(min(float(rounded), t) if at <= t else math.inf)
        first = min(times)
        spiking = [unit for unit, at in zip(self.units, times, strict=True) if at == first]
        for unit in spiking:
            unit.advance(first)
        return spiking

    def _given(self, t: float) -> list[Unit]:
        """The next measured spike, before or at ``t``; a jumping neuron below its threshold waits for what arrives at ``t``."""
        for place, (at, j) in enumerate(self.measured or ()):
            if at > t:
                break
            unit = self.units[j]
            unit.advance(at)
            if unit.kind != CURRENT and at == t and not unit.held and unit.u < unit.neuron.threshold:
                continue
            del (self.measured or [])[place]
            return [unit]
        return []

    def _instant(self, t: float) -> None:
        """All that arrives at ``t``, what it fires, and what arrives at once from there."""
        while True:
            before, causes = len(self.run.arrivals), {}
            while self.waiting and self.waiting[0][0] == t:
                _, _, _, bundle, origin = heapq.heappop(self.waiting)
                s, row = self.component.synapses, self.row_of(bundle, origin)
                for synapse in range(s.first[bundle], s.first[bundle + 1]):
                    unit = self.units[s.target[synapse]]
                    unit.advance(t)
                    under = unit.u < unit.neuron.threshold
                    unit.arrive(synapse, float(s.weight[synapse]), row)
                    if under and unit.kind != CURRENT and unit.u >= unit.neuron.threshold:
                        causes[unit.j] = len(self.run.arrivals)
                self.run.arrivals.append((bundle, origin))
            count, idle = len(self.run.spikes), len(self.run.arrivals) == before
            for unit in self.units:
                if unit.kind != CURRENT:
                    self._fired_now(unit, t, causes.get(unit.j, CROSSED), idle)
            if idle and len(self.run.spikes) == count:
                return

    def _fired_now(self, unit: Unit, t: float, cause: int, idle: bool) -> None:
        if self.measured is not None:
            unit.advance(t)
        while unit.time == t and not unit.held and not unit.spent:
            over = unit.u >= unit.neuron.threshold
            if self.measured is not None:
                place = next((k for k, (at, j) in enumerate(self.measured) if j == unit.j and at <= t), None)
                if place is None or not (over or idle):
                    return
                del self.measured[place]
            elif not over:
                return
            self.fire(unit, cause if over else CROSSED)


def simulate(
    component: Component, inputs: Events, t_stop: float, measured: Events | None = None, floor: Floor | None = None
) -> list[Run]:
    """Every sample, with the derivatives of every spike time; ``floor`` is none where it is not given."""
    return list(samples(component, inputs, t_stop, measured, floor))


def samples(
    component: Component, inputs: Events, t_stop: float, measured: Events | None = None, floor: Floor | None = None
) -> Iterator[Run]:
    """As :func:`simulate`, one sample at a time."""
    end = float(component.neurons.tau_mem.dtype.type(t_stop))
    for b, count in enumerate(inputs.counts if measured is None else measured.counts):
        given = None
        if measured is not None:
            given = [(float(measured.times[b, k]), int(measured.units[b, k])) for k in range(count)]
        yield _Sample(component, inputs, b, end, floor or Floor(0.0, False), given).go()


def spikes_of(runs: Sequence[Run]) -> list[tuple[FloatArray, IntArray]]:
    """Times and units of every sample."""
    return [(np.array([k.time for k in run.spikes]), np.array([k.unit for k in run.spikes], np.int64)) for run in runs]
