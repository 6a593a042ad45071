"""Sound as events: a bank of band-pass filters, and an integrator behind each that fires (an artificial cochlea).

    band        y_c = Butterworth band-pass of second order, edges equal steps apart on the mel scale (O'Shaughnessy 1987)
    energy      e_c = low-pass of max(0, y_c)^2: half-wave rectified, as hair cells do; Butterworth of second order
    level       x_c = 1 + 10 log10(e_c / max e) / span, cut to 0..1; the maximum is the recording's, over all bands
    events      band c fires whenever the integral of x_c, over the recording's time, has grown by ``area``

So loudness does not count, a band at its loudest fires every ``area`` seconds, and one that is ``span`` below never. Event times
are real numbers, not steps, and the same recording always gives the same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..arguments import is_bool, shown, whole
from ..errors import InputError

Array: TypeAlias = NDArray[np.float64]
#: Times (s) and units of one recording.
Events: TypeAlias = tuple[Array, NDArray[np.int64]]

#: Time between two values of a level (s): an eighth of the shortest smoothing allowed.
STEP = 1e-3
#: Order of the filters' prototypes.
ORDER = 2
#: Ends of what each option may be.
_ALLOWED = {
    "low": (1.0, 1e6), "high": (1.0, 1e6), "smoothing": (8 * STEP, 1.0), "span": (1.0, 120.0), "area": (STEP, 10.0),
    "speedup": (1e-3, 1e6),
}  # fmt: skip
#: Energy that silence has, so that a logarithm exists: far below that of one bit of 32.
_SILENCE = 1e-30
#: Recordings that are filtered at a time: bounds the memory, changes no result.
_TOGETHER = 50


@dataclass(frozen=True)
class FilterBank:
    """How a recording becomes events.

    Parameters
    ----------
    channels : int
        Bands, which are the units of the events.
    low, high : float (Hz)
        Lower edge of the lowest band, upper edge of the highest.
    smoothing : float (s of the recording)
        Time constant of the low-pass behind the rectifier.
    span : float (dB)
        How far below its loudest band a recording is heard.
    area : float (s of the recording)
        Integral of a level from one event to the next.
    speedup : float
        Seconds of the recording that pass in one second of the events: neurons with time constants of some 10 ms then
        look back over some 100 ms of speech.

    Raises :class:`InputError` where an option is out of range.
    """

    channels: int = 40
    low: float = 100.0
    high: float = 3800.0
    smoothing: float = 10e-3
    span: float = 40.0
    area: float = 20e-3
    speedup: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", whole("channels", self.channels, 1, 1000))
        for name, (least, most) in _ALLOWED.items():
            object.__setattr__(self, name, _between(name, getattr(self, name), least, most))
        if self.high <= self.low:
            raise InputError(f"low = {self.low:g} Hz, high = {self.high:g} Hz; allowed: low < high")

    def levels(self, audio: NDArray[Any], rate: float) -> Array:
        """Levels in 0..1, ``[channels, steps]``, one for every ms of ``audio [samples]``, which has ``rate`` samples a second.

        A recording of silence has levels of 0. Raises :class:`InputError` for samples that are not finite numbers in one row,
        and for bands beyond half the rate.
        """
        return self._levels([_sound(audio)], self._checked(rate))[0]

    def encode(self, sounds: Sequence[NDArray[Any]], rate: float) -> list[Events]:
        """``(times (s), units)`` of each of ``sounds``, sorted by time, of equal times by unit; raises as :meth:`levels`."""
        rate = self._checked(rate)
        checked = [_sound(audio) for audio in sounds]
        found: list[Events | None] = [None] * len(checked)
        order = sorted(range(len(checked)), key=lambda k: len(checked[k]))
        for start in range(0, len(order), _TOGETHER):
            together = order[start : start + _TOGETHER]
            for k, levels in zip(together, self._levels([checked[k] for k in together], rate), strict=True):
                found[k] = self._fire(levels)
        return [events for events in found if events is not None]

    def _checked(self, rate: float) -> float:
        rate = _between("rate", rate, 2 / STEP, 1e6)
        if self.high >= rate / 2:
            raise InputError(
                f"high = {self.high:g} Hz, of recordings with {rate:g} samples a second; allowed: below {rate / 2:g} Hz"
            )
        return rate

    def _levels(self, sounds: Sequence[Array], rate: float) -> list[Array]:
        """The levels of each of ``sounds``, which are filtered together, behind each as much silence as the longest needs."""
        from scipy import signal  # heavy, and needed for sound alone

        bands, smooth = _filters(self.channels, self.low, self.high, self.smoothing, rate)
        block = round(rate * STEP)
        steps = [-(-len(sound) // block) for sound in sounds]
        padded = np.zeros((len(sounds), max(steps) * block))
        for row, sound in zip(padded, sounds, strict=True):
            row[: len(sound)] = sound
        energy = np.empty((len(sounds), self.channels, max(steps)))
        for channel, band in enumerate(bands):
            wave = np.maximum(signal.sosfilt(band, padded, axis=1), 0).reshape(len(sounds), -1, block)
            np.einsum("ntk,ntk->nt", wave, wave, out=energy[:, channel])
        smoothed = np.maximum(signal.sosfilt(smooth, energy, axis=2), 0)
        return [self._of_energy(each[:, :n]) for each, n in zip(smoothed, steps, strict=True)]

    def _of_energy(self, energy: Array) -> Array:
        loudest = energy.max()
        if loudest <= _SILENCE:
            return np.zeros_like(energy)
        clipped: Array = np.clip(1 + 10 * np.log10(np.maximum(energy / loudest, _SILENCE)) / self.span, 0, 1)
        return clipped

    def _fire(self, levels: Array) -> Events:
        area = np.concatenate([np.zeros((self.channels, 1)), np.cumsum(levels, 1) * STEP], 1)
        grid = np.arange(area.shape[1]) * STEP
        times, units = [], []
        for channel, grown in enumerate(area):
            wanted = self.area * np.arange(1, int(grown[-1] / self.area) + 1)
            times.append(np.interp(wanted, grown, grid))
            units.append(np.full(len(wanted), channel, np.int64))
        time, unit = np.concatenate(times) / self.speedup, np.concatenate(units)
        order = np.lexsort((unit, time))
        return time[order], unit[order]


def mel_edges(low: float, high: float, channels: int) -> Array:
    """``[channels + 2]`` (Hz), equal steps of ``mel(f) = 2595 log10(1 + f / 700)`` apart; band c reaches from c to c + 2."""
    ends = 2595 * np.log10(1 + np.array([low, high]) / 700)
    edges: Array = 700 * (10 ** (np.linspace(ends[0], ends[1], channels + 2) / 2595) - 1)
    return edges


@lru_cache(maxsize=8)
def _filters(channels: int, low: float, high: float, smoothing: float, rate: float) -> tuple[tuple[Array, ...], Array]:
    """Second-order sections of every band, and of the low-pass that acts on one value for every ``STEP``."""
    from scipy import signal

    edges = mel_edges(low, high, channels)
    bands = tuple(
        signal.butter(ORDER, (edges[c], edges[c + 2]), "bandpass", fs=rate, output="sos") for c in range(channels)
    )
    return bands, signal.butter(ORDER, 1 / (2 * np.pi * smoothing), fs=1 / STEP, output="sos")


def _sound(audio: NDArray[Any]) -> Array:
    found = np.asarray(audio)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise InputError(f"audio is {shown(audio)}; allowed: finite numbers [samples >= 1] in one row")
    return found.astype(np.float64)


def _between(name: str, value: Any, least: float, most: float) -> float:
    if is_bool(value) or not isinstance(value, (int, float, np.integer, np.floating)) or not least <= value <= most:
        raise InputError(f"{name} = {shown(value)}; allowed: {least:g}..{most:g}")
    return float(value)
