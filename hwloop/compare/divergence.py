"""The first divergence: for every sample the earliest event that differs, and what drove that neuron.

An event differs where it is missing, extra, or shifted by more than a tolerance. It diverges at the earlier of its
two times: from there on the device and the simulation are in different states. Later differences, in this layer
and those behind it, may be mere consequences; this one is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .flat_trains import Bools, Floats, Ints
from .influence import InputEvent, NeuronModel
from .matching import Matching
from .time_format import format_time

#: In what way an event differs.
Kind = Literal["missing", "extra", "late", "early"]

#: State of a neuron's inputs until it diverged: equal to the last bit, shifted within the tolerance, or not recorded.
InputState = Literal["identical", "within tolerance", "different", "not recorded"]

#: Layer number of the network's input events.
INPUT_LAYER = -1

#: Input events kept for each divergence, strongest first.
MAX_INPUT_EVENTS = 10


@dataclass(frozen=True)
class Divergence:
    """The earliest differing event of one sample.

    Attributes
    ----------
    sample, neuron : int
    layer : int
        As in ``record[layer]``; -1 where the input events themselves differ.
    kind : "missing" | "extra" | "late" | "early"
    time : float (s)
        Where the two runs part: the earlier of the two times below.
    simulated_time, measured_time : float | None (s)
        None where that side has no such spike.
    input_state : str
        The neuron's input events before ``time``: "identical", "within tolerance", "different", "not recorded".
    input_shift : float (s)
        Largest shift among the paired ones of these input events.
    inputs : tuple of InputEvent
        The input events that made the spike (simulated ones, measured ones for an extra spike), strongest
        first, at most ten; empty without a network.
    n_inputs : int
        How many there are in all.
    name : str
        Of the population, in a graph.
    """

    sample: int
    layer: int
    neuron: int
    kind: Kind
    time: float
    simulated_time: float | None
    measured_time: float | None
    input_state: InputState = "not recorded"
    input_shift: float = 0.0
    inputs: tuple[InputEvent, ...] = ()
    n_inputs: int = 0
    name: str = ""

    @property
    def shift(self) -> float | None:
        """Measured minus simulated time (s); None for a missing or extra spike."""
        if self.simulated_time is None or self.measured_time is None:
            return None
        return self.measured_time - self.simulated_time

    def summary(self, micro: str = "us") -> str:
        """One sentence, such as "layer 2, neuron 17, t = 3.21 ms, device 84 us late; inputs identical until then"."""
        place = "input" if self.layer == INPUT_LAYER else repr(self.name) if self.name else f"layer {self.layer}"
        at = self.simulated_time if self.simulated_time is not None else self.measured_time
        return (
            f"{place}, neuron {self.neuron}, t = {format_time(at, micro=micro)}, {self._what(micro)}"
            f"{self._inputs_until_then(micro)}"
        )

    def _what(self, micro: str) -> str:
        if self.shift is not None:
            return f"device {format_time(abs(self.shift), micro=micro)} {self.kind}"
        return (
            "spike missing on the device" if self.kind == "missing" else "device has a spike that the simulation lacks"
        )

    def _inputs_until_then(self, micro: str) -> str:
        if self.layer == INPUT_LAYER:
            return "; the two runs had different input"
        if self.input_state == "within tolerance":
            return f"; inputs within {format_time(self.input_shift, micro=micro)} until then"
        return (
            f"; inputs {self.input_state} until then" if self.input_state != "not recorded" else "; inputs not recorded"
        )


@dataclass(frozen=True)
class Divergences:
    """First divergences of a batch.

    Attributes
    ----------
    samples : tuple of Divergence
        One for each sample that diverges, by sample.
    n_samples : int
    tolerance : float (s)
    """

    samples: tuple[Divergence, ...]
    n_samples: int
    tolerance: float

    @property
    def earliest(self) -> Divergence | None:
        """The earliest in time over all samples; None where nothing differs."""
        return min(self.samples, key=lambda d: (d.time, d.layer, d.sample), default=None)

    def origins(self) -> list[tuple[int, int, int]]:
        """``(layer, neuron, samples)``: where first divergences arise, most frequent first."""
        counts = Counter((d.layer, d.neuron) for d in self.samples)
        return [
            (layer, neuron, n) for (layer, neuron), n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ]

    def summary(self, micro: str = "us") -> str:
        """The earliest divergence in one sentence."""
        first = self.earliest
        if first is None:
            return f"no divergence: all events of {self.n_samples} samples agree to {format_time(self.tolerance, micro=micro)}"
        return f"sample {first.sample}: {first.summary(micro)}"


@dataclass(frozen=True, eq=False)
class LayerEvents:
    """What the search needs of one layer: its matching, its input layer, and the model of its neurons if known."""

    layer: int
    matching: Matching
    inputs: Matching | None
    model: NeuronModel | None
    name: str = ""


def first_divergences(layers: Sequence[LayerEvents], n_samples: int, tolerance: float) -> Divergences:
    """The first divergence of every sample, with causal inputs where the layer's model is known.

    ``tolerance`` (s): shifts up to it are agreement.
    """
    best: dict[int, Divergence] = {}
    for layer in layers:
        for found in _earliest_in_layer(layer, n_samples, tolerance):
            known = best.get(found.sample)
            if known is None or found.time < known.time:
                best[found.sample] = found
    by_number = {layer.layer: layer for layer in layers}
    samples = tuple(_with_inputs(best[k], by_number[best[k].layer], tolerance) for k in sorted(best))
    return Divergences(samples, n_samples, tolerance)


def _earliest_in_layer(events: LayerEvents, n_samples: int, tolerance: float) -> Iterator[Divergence]:
    matching = events.matching
    ours, theirs = matching.pairs
    off = np.abs(matching.errors) > tolerance
    ours, theirs = ours[off], theirs[off]
    a, b = matching.simulated, matching.measured
    nan_missing, nan_extra = (np.full(len(x), np.nan) for x in (matching.missing, matching.extra))
    simulated = np.concatenate([a.times[ours], a.times[matching.missing], nan_extra])
    measured = np.concatenate([b.times[theirs], nan_missing, b.times[matching.extra]])
    train = np.concatenate([a.train[ours], a.train[matching.missing], b.train[matching.extra]])
    time = np.fmin(simulated, measured)
    sample = train // a.n_units
    first = np.full(n_samples, np.inf)
    np.minimum.at(first, sample, time)
    candidates = np.flatnonzero(time == first[sample])
    candidates = candidates[np.lexsort((train[candidates], sample[candidates]))]
    _, unique = np.unique(sample[candidates], return_index=True)
    for k in candidates[unique].tolist():
        yield _divergence(events.layer, int(train[k]), a.n_units, float(simulated[k]), float(measured[k]))


def _divergence(layer: int, train: int, n_units: int, simulated: float, measured: float) -> Divergence:
    sample, neuron = divmod(train, n_units)
    kind: Kind
    if np.isnan(measured):
        kind = "missing"
    elif np.isnan(simulated):
        kind = "extra"
    else:
        kind = "late" if measured > simulated else "early"
    return Divergence(
        sample, layer, neuron, kind, float(np.fmin(simulated, measured)),
        None if np.isnan(simulated) else simulated, None if np.isnan(measured) else measured,
    )  # fmt: skip


def _with_inputs(found: Divergence, events: LayerEvents, tolerance: float) -> Divergence:
    if events.inputs is None:
        return replace(found, name=events.name)
    state, shift = _input_state(found, events.inputs, events.model, tolerance)
    strongest, n_inputs = _strongest_inputs(found, events)
    return Divergence(
        found.sample, found.layer, found.neuron, found.kind, found.time, found.simulated_time, found.measured_time,
        state, shift, strongest, n_inputs, events.name,
    )  # fmt: skip


def _input_state(
    found: Divergence, inputs: Matching, model: NeuronModel | None, tolerance: float
) -> tuple[InputState, float]:
    a, b = inputs.simulated, inputs.measured
    ours, theirs = a.of_sample(found.sample), b.of_sample(found.sample)
    partner = inputs.partner[ours]
    paired = partner >= 0
    early = _arrived(a.times[ours], a.units_in(ours), found, model)
    early_partner = _arrived(b.times[partner[paired]], a.units_in(ours)[paired], found, model)
    shift = np.abs(b.times[partner[paired]] - a.times[ours][paired])[early[paired] | early_partner]
    largest = float(shift.max(initial=0.0))
    arrived = np.flatnonzero(_arrived(b.times[theirs], b.units_in(theirs), found, model)) + theirs.start
    lost = bool((early & ~paired).any()) or not np.isin(arrived, partner).all()
    if lost or largest > tolerance:
        return "different", largest
    return ("identical", 0.0) if largest == 0 else ("within tolerance", largest)


def _arrived(times: Floats, units: Ints, found: Divergence, model: NeuronModel | None) -> Bools:
    """Which events reach the diverging neuron before it diverges; without a model, all earlier ones may."""
    if model is None:
        return np.asarray(times < found.time)
    return np.asarray(
        (times + model.delays(found.neuron, units) < found.time) & (model.weight[found.neuron, units] != 0)
    )


def _strongest_inputs(found: Divergence, events: LayerEvents) -> tuple[tuple[InputEvent, ...], int]:
    if events.model is None or events.inputs is None:
        return (), 0
    extra = found.simulated_time is None
    trains = events.inputs.measured if extra else events.inputs.simulated
    own = (events.matching.measured if extra else events.matching.simulated).of_unit(found.sample, found.neuron)
    at = found.measured_time if found.simulated_time is None else found.simulated_time
    where = trains.of_sample(found.sample)
    return events.model.strongest(
        found.neuron,
        found.time if at is None else at,
        own,
        trains.times[where],
        trains.units_in(where),
        MAX_INPUT_EVENTS,
    )
