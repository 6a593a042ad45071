"""What a target can carry, as data: limits, resolutions and parameter ranges."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

from ..neurons import ResetKind

#: ``device_s``: device seconds. ``swing``: measured from ``v_reset`` in units of ``v_th - v_reset``.
RangeUnit: TypeAlias = Literal["device_s", "swing"]


#: Limits of what a network may have besides a chain. They change nothing that a device does to a chain: digests of targets
#: leave them out, and so calibrations and recordings of before stay bound to the device; programs of graphs have them in theirs.
GRAPH_LIMITS = ("recurrent", "populations", "graphs", "synaptic_delays", "bias", "initial_membrane", "joined")


@dataclass(frozen=True)
class Range:
    """Closed interval ``low``..``high`` in which a neuron parameter is configurable, in ``unit``: device seconds, or of the threshold."""

    low: float
    high: float
    unit: RangeUnit

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g} {'s on the device' if self.unit == 'device_s' else 'of v_th - v_reset'}"


@dataclass(frozen=True)
class Capabilities:
    """Limits of one target.

    Attributes
    ----------
    name : str
        The target and its variant, e.g. ``emulator/bss2``.
    n_neurons, fan_in : int
        Neurons on the device; synapses that one neuron can have.
    weight_bits : int or None
        Signed symmetric codes of that many bits, ``-max_code .. max_code``; None: real-valued weights.
    speedup : float
        Model seconds that pass in one device second.
    reset_kinds : tuple of str
        Reset kinds that the neurons have.
    delays, recurrent, spike_cap : bool
        Whether axonal delays, recurrent edges and ``max_spikes`` exist on the device.
    ranges : dict
        Configurable range of a neuron parameter; a parameter not named is free.
    uniform : tuple of str
        Neuron parameters that all neurons of a layer share.
    max_delay : float (device s) or None
        Longest delay; None: any.
    refractory_min : float (device s)
        The device holds at least this refractory time, also where less is asked.
    max_events : int or None
        Input events a sample that the device accepts.
    time_step : float (device s)
        Resolution of recorded time stamps; 0: none.
    latency : float (device s)
        Mean offset of a time stamp, as a data sheet states it; it is subtracted from all times of a recording.
    populations : tuple of str
        Kinds of neurons that the device has.
    graphs : bool
        Whether a population may be driven by any others before it and by the inputs, not by the one before it alone.
    synaptic_delays, bias, initial_membrane : bool
        Whether delays of each synapse, constant currents, and ``v_init`` exist on the device.
    joined : int
        Most circuits that can be joined to one neuron, which then has as many times :attr:`fan_in` synapses.
    """

    name: str
    n_neurons: int
    fan_in: int
    weight_bits: int | None = None
    speedup: float = 1.0
    reset_kinds: tuple[ResetKind, ...] = ("value",)
    delays: bool = False
    recurrent: bool = False
    spike_cap: bool = False
    ranges: dict[str, Range] = field(default_factory=dict)
    uniform: tuple[str, ...] = ()
    max_delay: float | None = None
    refractory_min: float = 0.0
    max_events: int | None = None
    time_step: float = 0.0
    latency: float = 0.0
    populations: tuple[str, ...] = ("LIF",)
    graphs: bool = False
    synaptic_delays: bool = False
    bias: bool = False
    initial_membrane: bool = False
    joined: int = 1

    @property
    def max_code(self) -> int | None:
        """Largest weight code, ``2^(bits - 1) - 1``; None for real-valued weights."""
        return None if self.weight_bits is None else 2 ** (self.weight_bits - 1) - 1

    @property
    def time_scale(self) -> float:
        """Device seconds of one model second."""
        return 1.0 / self.speedup

    @property
    def model_latency(self) -> float:
        """:attr:`latency` in model seconds."""
        return self.latency * self.speedup

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the limits, hexadecimal, without those of graphs (:data:`GRAPH_LIMITS`)."""
        held = asdict(self)
        for name in GRAPH_LIMITS:
            del held[name]
        return _sha256({**held, "recurrent": False})  # which had a place in it before

    @cached_property
    def graph_digest(self) -> str:
        """SHA-256 over all limits, hexadecimal: of what may hold a graph."""
        return _sha256(asdict(self))

    def describe(self) -> str:
        """One line a limit, for a terminal."""
        codes = "real-valued" if self.max_code is None else f"{self.weight_bits} bit, {-self.max_code}..{self.max_code}"
        yes_no = {True: "yes", False: "no"}
        rows = [
            ("neurons", str(self.n_neurons)),
            ("fan-in", str(self.fan_in)),
            ("weights", codes),
            ("speedup", f"{self.speedup:g}"),
            ("reset kinds", ", ".join(self.reset_kinds)),
            ("delays", yes_no[self.delays] if self.max_delay is None else f"up to {self.max_delay:g} s on the device"),
            ("recurrent edges", yes_no[self.recurrent]),
            ("populations", ", ".join(self.populations)),
            ("graphs", yes_no[self.graphs or self.recurrent]),
            ("bias, v_init", f"{yes_no[self.bias]}, {yes_no[self.initial_membrane]}"),
            ("max_spikes", yes_no[self.spike_cap]),
            ("refractory minimum", f"{self.refractory_min:g} s on the device"),
            ("input events a sample", "unlimited" if self.max_events is None else str(self.max_events)),
            ("time stamps", f"step {self.time_step:g} s, mean offset {self.latency:g} s on the device"),
            *((name, str(allowed)) for name, allowed in self.ranges.items()),
            *((name, "one value a layer") for name in self.uniform),
        ]
        return "\n".join([self.name, *(f"  {label:<22} {value}" for label, value in rows)])


def _sha256(held: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
