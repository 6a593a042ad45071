"""One neuron, carried from event to event in plain float64, and its derivatives: the heart of ``reference``.

Between two events, ``u`` measured from ``v_leak`` (docs/equations.md, the neuron):

    i(s) = i0 e_s                e_m = e^(-s/tau_mem),  e_s = e^(-s/tau_syn)
    u(s) = u0 e_m + i0 g(s)      g(s) = k (e_m - e_s),  k = tau_syn / (tau_mem - tau_syn)

with ``g(s) = s/tau e^(-s/tau)`` for equal taus. Both, and all between, are ``g = (s/tau_mem) m_0``, with the moments

    m_n = integral of x^n e^(-(1-x) s/tau_mem - x s/tau_syn) dx over 0 .. 1 .
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..contract import FloatArray, Floor

#: Rows of the sensitivities that belong to the neuron's own parameters, counted from the end.
TAU_MEM, TAU_SYN, THRESHOLD, RESET, T_REF = -5, -4, -3, -2, -1

#: Gauss-Legendre nodes on 0 .. 1; 12 of them integrate x e^(-x z), |z| < 1, to below 1e-30.
NODES, NODE_WEIGHTS = (a / 2 + b for a, b in zip(np.polynomial.legendre.leggauss(12), (0.5, 0.0), strict=True))


@dataclass(frozen=True)
class Neuron:
    """Constants of one neuron in one sample; membrane relative to ``v_leak``."""

    tau_mem: float
    tau_syn: float
    t_ref: float
    threshold: float
    reset: float
    start: float
    subtract: bool


@dataclass
class Spike:
    """One spike as the trace wants it; ``release_time`` stays inf where the membrane was not released."""

    time: float
    current: float
    residual: float
    release_time: float = math.inf
    release_current: float = 0.0


def moments(s: float, tau_mem: float, tau_syn: float) -> tuple[float, float]:
    """``(m_0, m_1)``; the larger exponential is taken out, so that nothing overflows."""
    a, b = s / tau_mem, s / tau_syn
    z = s * abs(tau_mem - tau_syn) / (tau_mem * tau_syn)
    phi = -math.expm1(-z) / z if z else 1.0
    if z < 1.0:
        psi = float(NODE_WEIGHTS @ (NODES * np.exp(-NODES * z)))
    else:
        psi = (1.0 - math.exp(-z) * (1.0 + z)) / (z * z)
    if tau_mem >= tau_syn:
        return math.exp(-a) * phi, math.exp(-a) * psi
    return math.exp(-b) * phi, math.exp(-b) * (phi - psi)


def response(s: float, tau_mem: float, tau_syn: float) -> float:
    """``g(s)``, the membrane's answer to a unit of current."""
    return s / tau_mem * moments(s, tau_mem, tau_syn)[0]


def excess(neuron: Neuron, u: float, i: float, s: float) -> float:
    """``u(s) - threshold``; written so that a small ``s`` loses nothing."""
    g = response(s, neuron.tau_mem, neuron.tau_syn)
    return (u - neuron.threshold) + u * math.expm1(-s / neuron.tau_mem) + i * g


def extremum(neuron: Neuron, u: float, i: float) -> float:
    """Time of the extremum, or NaN where there is none.

    ``s* = ln(k i0 tau_mem / ((u0 + k i0) tau_syn)) / (1/tau_syn - 1/tau_mem)``: the argument less one is
    ``(i0 - u0) / (u0 + k i0)``, and with ``d = tau_mem - tau_syn`` nothing diverges at equal taus.
    """
    tm, ts = neuron.tau_mem, neuron.tau_syn
    d = tm - ts
    scaled = u * d + i * ts  # (u0 + k i0) (tau_mem - tau_syn)
    if scaled == 0.0 or (i - u) * d / scaled <= -1.0:
        return math.nan
    if d == 0.0:
        return tm * (i - u) / i
    return math.log1p((i - u) * d / scaled) * tm * ts / d


def crossing(neuron: Neuron, u: float, i: float, now: float, span: float) -> float | None:
    """The first ``s`` in ``(0, span]`` at which the membrane, below threshold at 0, reaches it; or None.

    One extremum at most: the membrane crosses if it ends above, or if its maximum lies inside and above.
    """
    if span <= 0.0 or i <= 0.0 <= neuron.threshold:  # without current u tends to 0, and in floating point reaches it
        return None
    low, high = 0.0, span
    if excess(neuron, u, i, span) < 0.0:
        high = extremum(neuron, u, i)
        if not (0.0 < high < span and excess(neuron, u, i, high) >= 0.0):
            return None
    while now + low != now + high:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if excess(neuron, u, i, middle) >= 0.0:
            high = middle
        else:
            low = middle
    return high


class Membrane:
    """State ``(u, i)`` of one neuron, carried from one event to the next in local time."""

    def __init__(self, neuron: Neuron) -> None:
        self.neuron = neuron
        self.time, self.u, self.i = 0.0, neuron.start, 0.0
        self.release = -math.inf
        self.spikes: list[Spike] = []

    @property
    def held(self) -> bool:
        """True during the refractory time."""
        return self.release > self.time

    def advance(self, t: float) -> None:
        """Carry the state to time ``t``, through the end of the refractory time where it lies between."""
        if self.held:
            self.flow(min(t, self.release) - self.time)
            self.time = min(t, self.release)
            if self.time == self.release:
                self.let_go()
        if t > self.time:
            self.flow(t - self.time)
            self.time = t

    def wait(self, t: float) -> None:
        """Sit out the refractory time, not beyond ``t``."""
        if self.held:
            self.advance(min(t, self.release))

    def flow(self, s: float) -> None:
        """A time ``s`` without events; the membrane rests while it is held."""
        tm, ts = self.neuron.tau_mem, self.neuron.tau_syn
        if not self.held:
            self.u = math.exp(-s / tm) * self.u + response(s, tm, ts) * self.i
        self.i *= math.exp(-s / ts)

    def arrive(self, event: int, weight: float) -> None:
        """An input spike."""
        self.i += weight

    def fire(self) -> None:
        """A spike, now: reset, and hold for ``t_ref``. In the refractory time the reset and the hold begin anew."""
        n = self.neuron
        self.spikes.append(Spike(self.time, -math.inf if self.held else self.i, self.u - n.threshold))
        self.u = self.u - (n.threshold - n.reset) if n.subtract and not self.held else n.reset
        self.release = self.time + n.t_ref
        if not self.held:
            self.let_go()

    def let_go(self) -> None:
        """The end of the refractory time, now."""
        self.spikes[-1].release_time, self.spikes[-1].release_current = self.time, self.i


class Sensitivity(Membrane):
    """The membrane and its derivatives ``S = du/dx``, ``J = di/dx`` for ``x`` = each event's weight, each event's
    time, tau_mem, tau_syn, threshold, reset, t_ref; and ``rows[k] = dT_k/dx`` for every spike.

        dT_k/dx = ([x = threshold] - S) tau_mem / D_k ,   D_k = tau_mem u'(T_k) = i(T_k) - threshold
        S <- [x = reset] - (i(R) - reset) / tau_mem (dT_k/dx + [x = t_ref])     at the release R = T_k + t_ref
    """

    def __init__(self, neuron: Neuron, events: int, floor: Floor) -> None:
        super().__init__(neuron)
        self.events, self.floor = events, floor
        self.S, self.J = np.zeros(2 * events + 5), np.zeros(2 * events + 5)
        self.S[RESET] = float(neuron.start != 0.0)
        self.rows: list[FloatArray] = []

    def flow(self, s: float) -> None:
        """Also the derivatives of ``e_m``, ``e_s`` and ``g`` with respect to both taus."""
        tm, ts = self.neuron.tau_mem, self.neuron.tau_syn
        e_m, e_s = math.exp(-s / tm), math.exp(-s / ts)
        if not self.held:
            m_0, m_1 = moments(s, tm, ts)
            g = s / tm * m_0
            self.S = e_m * self.S + g * self.J
            # de_m/dtau_mem = e_m s/tau_mem^2 ; dg/dtau_mem = -g/tau_mem + s/tau_mem (m_0 - m_1) s/tau_mem^2
            self.S[TAU_MEM] += self.u * e_m * s / tm**2 + self.i * (-g / tm + s / tm * (m_0 - m_1) * s / tm**2)
            self.S[TAU_SYN] += self.i * s / tm * m_1 * s / ts**2
        self.J = e_s * self.J
        self.J[TAU_SYN] += self.i * e_s * s / ts**2
        super().flow(s)

    def arrive(self, event: int, weight: float) -> None:
        """``di/dw = 1``; a later arrival leaves more current and, the current being missing, less membrane."""
        super().arrive(event, weight)
        self.J[event] = 1.0
        self.J[self.events + event] = weight / self.neuron.tau_syn
        if not self.held:
            self.S[self.events + event] = -weight / self.neuron.tau_mem

    def fire(self) -> None:
        """The spike's own row, then the reset."""
        crossed = -self.S
        crossed[THRESHOLD] += 1.0
        inverse = 0.0 if self.held else inverse_slope(self.neuron, self.i, self.floor)
        self.rows.append(crossed * (self.neuron.tau_mem * inverse))
        super().fire()

    def let_go(self) -> None:
        """The membrane leaves the reset potential the later, the later it fired."""
        super().let_go()
        late = self.rows[-1].copy()
        late[T_REF] += 1.0
        self.S = -(self.i - self.neuron.reset) / self.neuron.tau_mem * late
        self.S[RESET] += 1.0


def inverse_slope(neuron: Neuron, current: float, floor: Floor) -> float:
    """``1 / D`` with the floor applied."""
    slope, least = current - neuron.threshold, floor.share * (neuron.threshold - neuron.reset)
    if slope >= least and slope > 0.0:
        return 1.0 / slope
    return 0.0 if floor.skip or least <= 0.0 else 1.0 / least
