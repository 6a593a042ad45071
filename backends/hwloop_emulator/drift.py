"""Drift: how a chip's neurons move away, with its clock and its temperature, from what they were at clock 0.

Shifts are logarithms of the value (time constants, gain, t_ref) or shares of the swing (potentials), per neuron and
parameter; at clock 0 and reference temperature all are 0.

    Ornstein-Uhlenbeck   dx = -x dt/T + s sqrt(2/T) dW, x(0) = 0; exact on a grid of T/32, constant in between
    power law            x = s z (t / t_0)^p, z normal over neurons; t in whole seconds
    temperature          x = (c + s z) (temperature - reference)

Sources: Uhlenbeck & Ornstein, Phys. Rev. 36:823 (1930); power-law drift of analog cells, Le Gallo & Sebastian, J. Phys. D
53:213002 (2020).
"""

from __future__ import annotations

import math

import numpy as np

from hwloop.device.trim import TRIMMED

from .silicon import Deviations
from .streams import Array

#: Steps of the Ornstein-Uhlenbeck grid in a correlation time; steps that one computation goes back at least, after
#: which a share of e^-32 of the past is left.
STEPS, MEMORY = 32, 1024
#: Resolution of the power law's clock (device s): between two ticks a program need not be realised anew.
TICK = 1.0
_ROWS = {name: row for row, name in enumerate(TRIMMED)}


class Drift:
    """Present shift of every neuron's parameters, a pure function of clock and temperature."""

    def __init__(self, silicon: Deviations) -> None:
        self._silicon = silicon
        preset = silicon.preset
        self._wander, self._power = preset.scale("drift_ou"), preset.scale("drift_power")
        self._warm, self._warm_all = preset.scale("temperature"), preset.scale("temperature_common")
        self._grid = preset.scale("drift_ou_time") / STEPS
        self._state: tuple[int, int, Array] | None = None

    def moment(self, clock: float, temperature: float) -> tuple[int, int, float]:
        """What the shifts depend on: equal moments have equal shifts."""
        step = math.floor(clock / self._grid) if self._wander > 0 else 0
        tick = math.floor(clock / TICK) if self._power > 0 else 0
        return step, tick, temperature if self._warm > 0 or self._warm_all > 0 else 0.0

    def shift(self, parameter: str, neurons: Array, clock: float, temperature: float) -> Array | None:
        """Shift ``[*lead, n]`` of ``parameter`` (log of the value, or swing); None where nothing has moved."""
        step, tick, warmth = self.moment(clock, temperature)
        if (step, tick, warmth) == (0, 0, 0.0):
            return None
        row, preset = _ROWS[parameter], self._silicon.preset
        aged = np.zeros((*self._silicon.lead, len(neurons)))
        if step:
            aged += self._wander * self._wandered(step)[..., row, neurons]
        if tick:
            share = (tick * TICK / preset.scale("drift_power_time")) ** preset.scale("drift_power_exponent")
            aged += self._power * share * self._normal("drift_power")[..., row, neurons]
        if "drift_share" in preset.effects:
            aged[~self._silicon.chosen("drift_share", neurons)] = 0.0
        if warmth:
            aged += warmth * self._warm_all
            if self._warm > 0:
                aged += warmth * self._warm * self._normal("temperature")[..., row, neurons]
        return aged

    def _wandered(self, step: int) -> Array:
        """State ``[*lead, parameter, n]`` (stationary deviation 1) after ``step`` steps of the grid."""
        begin = max(0, step // MEMORY - 1) * MEMORY
        if self._state is not None and self._state[0] == begin and self._state[1] <= step:
            _, done, state = self._state
        else:
            done, state = begin, np.zeros((*self._silicon.lead, len(_ROWS), self._silicon.n_neurons))
        left = math.exp(-1.0 / STEPS)
        for number in range(done, step):
            state = left * state + math.sqrt(1.0 - left * left) * self._drawn("drift_ou", number)
        self._state = (begin, step, state)
        return state

    def _normal(self, effect: str) -> Array:
        shape = (len(_ROWS), self._silicon.n_neurons)
        return self._silicon.drawn(effect, "all", lambda rng: rng.normal(shape))

    def _drawn(self, effect: str, position: int) -> Array:
        return self._silicon.normal_at(effect, (len(_ROWS), self._silicon.n_neurons), position)
