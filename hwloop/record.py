"""Records of a run: the spikes of every population, simulated or measured, in one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import torch
from torch import Tensor

from .described import Described
from .errors import InputError
from .spikes import Spikes

if TYPE_CHECKING:
    from .drawing import Drawing
    from .network.membrane_traces import MembraneTraces
    from .simulate.readout import Membranes

#: Where spikes came from; every report row says it.
RanOn: TypeAlias = Literal["simulator", "emulator", "rtl-simulation", "hardware"]


@dataclass(frozen=True)
class LayerHealth:
    """How well one layer's model explains the spikes that it was given.

    Attributes
    ----------
    used : int
        Spikes whose gradient the layer carries.
    below_floor : int
        Of these, spikes whose ``D_k`` lay below the floor (clipped or skipped by policy).
    residual : Tensor, ``[n_units]``
        Mean of ``u_model(T_k) - v_th`` over the neuron's spikes; NaN-free: 0 where it has none.
    silent_samples : int
        Samples without any spike in this population.
    """

    used: int
    below_floor: int
    residual: Tensor
    silent_samples: int


class Ran(Protocol):
    """A layer as it ran, which can tell how its model differs from it."""

    def difference(self) -> tuple[int, int]:
        """``(missing, extra)`` of this layer."""


@dataclass
class Health:
    """Gradient health of a record: one entry a spiking layer.

    ``missing`` and ``extra`` compare with the model's own spikes, of the weights that ran whatever became of them since; they
    are computed at first access. ``ran`` None: the model itself ran, nothing differs. ``layers`` has the entries, ``floor`` is
    the least slope of the membrane at threshold (membrane units / s) that a derivative is divided by, and ``policy`` what
    becomes of a spike below it.
    """

    layers: tuple[LayerHealth, ...]
    floor: float
    policy: str
    ran: tuple[Ran, ...] | None = field(repr=False, default=None)
    _cached: list[tuple[int, int]] | None = field(repr=False, default=None)

    def _pairs(self) -> list[tuple[int, int]]:
        if self._cached is None:
            self._cached = (
                [(0, 0)] * len(self.layers) if self.ran is None else [layer.difference() for layer in self.ran]
            )
        return self._cached

    @property
    def missing(self) -> tuple[int, ...]:
        """Spikes of the model, driven by the measured input, that the measurement lacks; one number a layer."""
        return tuple(pair[0] for pair in self._pairs())

    @property
    def extra(self) -> tuple[int, ...]:
        """Measured spikes that the model, driven by the measured input, lacks; one number a layer."""
        return tuple(pair[1] for pair in self._pairs())

    @property
    def floor_share(self) -> float:
        """Share of all used spikes whose derivative was floored."""
        return sum(layer.below_floor for layer in self.layers) / max(1, sum(layer.used for layer in self.layers))


@dataclass(repr=False)
class Record(Described):
    """Spikes of every spiking population of one run, in the network's order, its output last; by number and by name.

    ``populations`` are these spikes, ``names`` what they are called: in a chain by their numbers. ``inputs`` are the spikes
    that went in, ``health`` is that of the gradient (None: no gradient is carried). ``readouts`` are the populations that do not
    spike, by name; ``output_name`` names the output where it is one of them.

    ``readout`` ``[batch, n_out]`` is what a training rule reads of the output (counts, rates), where it reads more than
    spike times; :mod:`hwloop.rules`.
    """

    populations: tuple[Spikes, ...]
    inputs: Spikes | None = None
    health: Health | None = None
    readout: Tensor | None = None
    names: tuple[str, ...] = field(default=(), kw_only=True)
    readouts: Mapping[str, Membranes] = field(default_factory=dict, kw_only=True)
    output_name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not self.populations and not self.readouts:
            raise InputError("a record of no populations; a network has at least one spiking layer")

    @property
    def output(self) -> Spikes:
        """Spikes of the last layer; :class:`InputError` where the network's output does not spike."""
        if self.output_name in self.readouts:
            raise InputError(
                f"the output {self.output_name!r} does not spike; read record.readouts[{self.output_name!r}]: its .maximum(), "
                ".integral() or .at(times)"
            )
        return self.populations[-1]

    def __getitem__(self, layer: int | str) -> Spikes:
        if isinstance(layer, str):
            if layer not in self.names:
                known = ", ".join(map(repr, self.names)) or "none"
                raise InputError(f"no spiking population is called {layer!r}; there are: {known}")
            return self.populations[self.names.index(layer)]
        return self.populations[layer]

    def __len__(self) -> int:
        return len(self.populations)

    @property
    def silent_samples(self) -> int:
        """Samples in which no output neuron spiked; 0 where the output does not spike at all."""
        if self.output_name in self.readouts:
            return 0
        counts = self.output.counts
        return len(counts) - int(torch.count_nonzero(counts))

    def plot(self, sample: int = 0, membranes: MembraneTraces | Sequence[MembraneTraces] = ()) -> Drawing:
        """The spikes of one sample, a panel for the inputs and each population, to be shown in a notebook or saved.

        ``membranes`` of :meth:`hwloop.Network.membranes`, of the same sample, are drawn below. Raises :class:`InputError` for
        a sample that there is not.
        """
        from .drawing.spike_panels import checked_sample, draw_record

        batch = len(self.populations[0]) if self.populations else len(self.inputs or ())
        listed = membranes if isinstance(membranes, Sequence) else (membranes,)
        return draw_record(self, checked_sample(sample, batch), listed)

    def _facts(self) -> dict[str, Any]:
        names = self.names or tuple(map(str, range(len(self.populations))))
        first = self.populations[0] if self.populations else self.inputs
        spikes = {name: int(train.counts.sum()) for name, train in zip(names, self.populations, strict=True)}
        facts: dict[str, Any] = {"batch": 0 if first is None else len(first)}
        if spikes:
            facts["spikes"] = " ".join(f"{name}: {count}" for name, count in spikes.items())
        if self.readouts:
            facts["readouts"] = ", ".join(self.readouts)
        return facts

    def tensors(self) -> list[Tensor]:
        """All tensors that the record holds, in a fixed order."""
        trains = [*self.populations, *([] if self.inputs is None else [self.inputs])]
        held = [tensor for train in trains for tensor in (train.times, train.units, train.counts)]
        return held if self.readout is None else [*held, self.readout]

    def with_readout(self, readout: Tensor) -> Record:
        """The same record with another readout."""
        return replace(self, readout=readout)


@dataclass(repr=False)
class Recording(Record):
    """A record that a target measured, with its provenance.

    Times are model seconds, corrected for the constant latency of the read-out: ``latency`` (model s), the mean offset of a
    time stamp that the target's data sheet states, has been subtracted, once, by :meth:`hwloop.device.registry.DeviceBase.run`, and
    times before 0 or beyond the window moved to its edge. What uses a recording compares its times with a model's as they
    are; ``time + latency`` is the stamp that the device sent.

    Attributes
    ----------
    populations, inputs, names, health, readout, readouts, output_name : as of :class:`Record`
    ran_on : "simulator", "emulator", "rtl-simulation" or "hardware"
    device_id, firmware : what the device calls itself
    program_digest : of the program that ran
    calibration_id, calibration_age : of the calibration that was applied, and its age (s); None without one
    lost_events, late_events : events that the device lost, or sent with a wrong time
    wall_time : (s) that the run took, transfers included
    latency : (model s), see above
    cycles : clock cycles in which a digital core ran these samples; None where the target does not count them
    synaptic_events : synapses that spikes went through; None where the target does not count them
    """

    ran_on: RanOn = "emulator"
    device_id: str = ""
    firmware: str = ""
    program_digest: str = ""
    calibration_id: str | None = None
    calibration_age: float | None = None
    lost_events: int = 0
    late_events: int = 0
    wall_time: float = 0.0
    latency: float = 0.0
    cycles: int | None = None
    synaptic_events: int | None = None

    @property
    def cycles_per_event(self) -> float | None:
        """Clock cycles by synaptic event; None where the target does not count both, or there was none."""
        return self.cycles / self.synaptic_events if self.cycles is not None and self.synaptic_events else None

    def _facts(self) -> dict[str, Any]:
        lost = {"lost": self.lost_events, "late": self.late_events}
        facts = {
            **super()._facts(),
            "ran_on": self.ran_on,
            "device": self.device_id,
            "program": self.program_digest[:12],
        }
        return {**facts, **{name: count for name, count in lost.items() if count}}

    def provenance(self) -> dict[str, str | int | float | None]:
        """All but the spikes, as plain values for reports."""
        names = ("ran_on", "device_id", "firmware", "program_digest", "calibration_id", "calibration_age")
        counts = ("lost_events", "late_events", "wall_time")
        known = {name: value for name in ("cycles", "synaptic_events") if (value := getattr(self, name)) is not None}
        return {name: getattr(self, name) for name in names + counts} | known


def count_differences(model: Spikes, measured: Spikes) -> tuple[int, int]:
    """``(missing, extra)``: spikes per sample and neuron that ``measured`` lacks, or has beyond ``model``."""
    excess = measured.unit_counts() - model.unit_counts()
    return int(torch.clamp(-excess, min=0).sum()), int(torch.clamp(excess, min=0).sum())
