"""The effects of an analog chip, one row each: what is disturbed, how, in which unit, on which time scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Distribution: TypeAlias = Literal["normal", "lognormal", "bernoulli", "uniform", "poisson", "constant"]
Mode: TypeAlias = Literal["relative", "absolute"]
#: When an effect is drawn anew: once a device, write, session (open), batch (run), sample or spike; ``readout``
#: effects act on recorded events alone.
TimeScale: TypeAlias = Literal["device", "write", "session", "batch", "sample", "spike", "readout"]
#: ``ratio``: of the value itself (.1 is 10 %). ``swing``: of the asked ``v_th - v_reset``. ``device_s``,
#: ``device_hz``: device seconds and hertz. ``lsb``: weight codes. ``full_scale``: of the largest weight code.
Unit: TypeAlias = Literal["ratio", "swing", "device_s", "device_hz", "lsb", "full_scale", "probability"]


@dataclass(frozen=True)
class EffectKind:
    """Fixed facts of one effect; ``largest`` bounds its scale."""

    parameter: str
    distributions: tuple[Distribution, ...]
    mode: Mode
    unit: Unit
    time_scale: TimeScale
    largest: float
    meaning: str


_SPREAD: tuple[Distribution, ...] = ("lognormal", "normal")
_NORMAL: tuple[Distribution, ...] = ("normal",)
_BERNOULLI: tuple[Distribution, ...] = ("bernoulli",)

#: Every effect by name. The first distribution is the default. For ``lognormal`` the scale is the standard deviation
#: of the logarithm and the median is the asked value; for ``normal`` it is the standard deviation.
EFFECTS: dict[str, EffectKind] = {
    "tau_mem": EffectKind("tau_mem", _SPREAD, "relative", "ratio", "device", 1.0, "spread over neurons"),
    "tau_syn": EffectKind("tau_syn", _SPREAD, "relative", "ratio", "device", 1.0, "spread over neurons"),
    "gain": EffectKind("weight", _SPREAD, "relative", "ratio", "device", 1.0, "synaptic gain, spread over neurons"),
    "v_th": EffectKind("v_th", _NORMAL, "absolute", "swing", "device", 1.0, "offset, spread over neurons"),
    "v_leak": EffectKind("v_leak", _NORMAL, "absolute", "swing", "device", 1.0, "offset, spread over neurons"),
    "v_reset": EffectKind("v_reset", _NORMAL, "absolute", "swing", "device", 1.0, "offset, spread over neurons"),
    "t_ref": EffectKind("t_ref", _SPREAD, "relative", "ratio", "device", 1.0, "spread over neurons"),
    "synapse": EffectKind("weight", _NORMAL, "relative", "ratio", "device", 1.0, "gain, spread over synapses"),
    "dac_integral": EffectKind(
        "weight", _NORMAL, "absolute", "full_scale", "device", 0.5, "bow of each synapse's DAC, at mid range"
    ),
    "dac_differential": EffectKind(
        "weight", _NORMAL, "absolute", "lsb", "device", 2.0, "error of one unit element of each synapse's binary DAC"
    ),
    "programming": EffectKind(
        "weight", _NORMAL, "absolute", "lsb", "write", 100.0, "error of a cell, drawn anew at each of its writes"
    ),
    "threshold_session": EffectKind("v_th", _NORMAL, "absolute", "swing", "session", 1.0, "noise a neuron and session"),
    "threshold_batch": EffectKind("v_th", _NORMAL, "absolute", "swing", "batch", 1.0, "noise a neuron and run"),
    "threshold_sample": EffectKind("v_th", _NORMAL, "absolute", "swing", "sample", 1.0, "noise a neuron and sample"),
    "jitter": EffectKind("times", _NORMAL, "absolute", "device_s", "spike", 1.0, "jitter of spikes, travels on"),
    "time_stamp": EffectKind(
        "times", ("uniform",), "absolute", "device_s", "readout", 1.0, "tick of the time stamps, rounded down"
    ),
    "latency": EffectKind("times", ("constant",), "absolute", "device_s", "readout", 1.0, "added to every stamp"),
    "event_loss": EffectKind("events", _BERNOULLI, "absolute", "probability", "readout", 1.0, "recorded event lost"),
    "dead": EffectKind("neuron", _BERNOULLI, "absolute", "probability", "device", 1.0, "neuron never fires"),
    "stuck": EffectKind(
        "neuron", _BERNOULLI, "absolute", "probability", "device", 1.0, "neuron fires at stuck_rate whatever its input"
    ),
    "stuck_rate": EffectKind("neuron", ("constant",), "absolute", "device_hz", "device", 1e9, "rate of stuck neurons"),
    "hot": EffectKind(
        "neuron", _BERNOULLI, "absolute", "probability", "device", 1.0, "neuron works, with spurious spikes at hot_rate"
    ),
    "hot_rate": EffectKind("neuron", ("poisson",), "absolute", "device_hz", "spike", 1e9, "rate of spurious spikes"),
    "dead_synapse": EffectKind(
        "weight", _BERNOULLI, "absolute", "probability", "device", 1.0, "synapse without effect"
    ),
    "trim_slope": EffectKind(
        "trim", _NORMAL, "relative", "ratio", "device", 0.5, "slope of each trim cell's converter"
    ),
    "trim_bow": EffectKind(
        "trim",
        _NORMAL,
        "absolute",
        "full_scale",
        "device",
        0.2,
        "bow of each trim cell's converter, at its range's end",
    ),
    "trim_step": EffectKind(
        "trim", ("uniform",), "absolute", "lsb", "device", 0.99, "width of the error of each code of each trim cell"
    ),
    "trim_write": EffectKind(
        "trim", _NORMAL, "absolute", "lsb", "write", 100.0, "error of a trim cell, drawn anew at each of its writes"
    ),
    "trim_crosstalk": EffectKind(
        "trim", ("constant",), "relative", "ratio", "write", 0.5, "of a cell's step, to both neighbours until rewritten"
    ),
    "settling": EffectKind(
        "clock", ("constant",), "absolute", "device_s", "write", 10.0, "wait after a write of trims"
    ),
    "cell_write": EffectKind("clock", ("constant",), "absolute", "device_s", "write", 1.0, "to write one cell"),
}

#: Effects that make one device differ from another; without them only noise is left.
MISMATCH = tuple(name for name, kind in EFFECTS.items() if kind.time_scale == "device")
#: Effects that differ between two runs of the same input.
TRIAL_NOISE = ("threshold_batch", "threshold_sample", "jitter", "event_loss", "hot_rate")
#: Effects that a "20 % chip" has at 20 %.
SPREAD = ("tau_mem", "tau_syn", "gain")
#: Effects that are stated in weight codes and need a weight resolution.
NEEDS_CODES = ("dac_integral", "dac_differential", "programming")
