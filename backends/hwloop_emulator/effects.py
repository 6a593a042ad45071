"""The effects of an analog chip, one row each: what is disturbed, how, in which unit, on which time scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Distribution: TypeAlias = Literal["normal", "lognormal", "bernoulli", "uniform", "poisson", "constant"]
Mode: TypeAlias = Literal["relative", "absolute"]
#: When an effect is drawn anew: once a device, write, session (open), batch (run), sample or spike; ``time`` effects
#: follow the device's clock or temperature; ``readout`` effects act on recorded events and membranes alone.
TimeScale: TypeAlias = Literal["device", "time", "write", "session", "batch", "sample", "spike", "readout"]
#: ``ratio``: of the value itself (.1 is 10 %). ``swing``: of the asked ``v_th - v_reset``. ``device_s``,
#: ``device_hz``: device seconds and hertz. ``lsb``: codes. ``full_scale``: of the largest code. ``share``: of the
#: value itself (time constants, gain; of its logarithm) or of the swing (potentials). ``share_per_kelvin``: the same,
#: for each kelvin above the reference temperature.
Unit: TypeAlias = Literal[
    "ratio", "swing", "device_s", "device_hz", "lsb", "full_scale", "probability", "share", "share_per_kelvin",
    "exponent", "events",
]  # fmt: skip


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
_CONSTANT: tuple[Distribution, ...] = ("constant",)
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
    "latency": EffectKind("times", _CONSTANT, "absolute", "device_s", "readout", 1.0, "added to every stamp"),
    "event_loss": EffectKind("events", _BERNOULLI, "absolute", "probability", "readout", 1.0, "recorded event lost"),
    "dead": EffectKind("neuron", _BERNOULLI, "absolute", "probability", "device", 1.0, "neuron never fires"),
    "stuck": EffectKind(
        "neuron", _BERNOULLI, "absolute", "probability", "device", 1.0, "neuron fires at stuck_rate whatever its input"
    ),
    "stuck_rate": EffectKind("neuron", _CONSTANT, "absolute", "device_hz", "device", 1e9, "rate of stuck neurons"),
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
        "trim", _CONSTANT, "relative", "ratio", "write", 0.5, "of a cell's step, to both neighbours until rewritten"
    ),
    "drift_ou": EffectKind(
        "all trimmable", _NORMAL, "absolute", "share", "time", 1.0, "Ornstein-Uhlenbeck drift, its stationary deviation"
    ),
    "drift_ou_time": EffectKind(
        "all trimmable",
        _CONSTANT,
        "absolute",
        "device_s",
        "time",
        1e9,
        "correlation time of the Ornstein-Uhlenbeck drift",
    ),
    "drift_power": EffectKind(
        "all trimmable", _NORMAL, "absolute", "share", "time", 1.0, "power-law drift, spread at drift_power_time"
    ),
    "drift_power_time": EffectKind(
        "all trimmable", _CONSTANT, "absolute", "device_s", "time", 1e9, "age at which drift_power is reached"
    ),
    "drift_power_exponent": EffectKind(
        "all trimmable",
        _CONSTANT,
        "absolute",
        "exponent",
        "time",
        2.0,
        "exponent of the power law; 1: at a steady rate",
    ),
    "drift_share": EffectKind(
        "neuron", _BERNOULLI, "absolute", "probability", "time", 1.0, "neuron drifts at all; not stated: every neuron"
    ),
    "temperature": EffectKind(
        "all trimmable", _NORMAL, "absolute", "share_per_kelvin", "time", 0.1, "coefficient, spread over neurons"
    ),
    "temperature_common": EffectKind(
        "all trimmable", _CONSTANT, "absolute", "share_per_kelvin", "time", 0.1, "coefficient, the same for all neurons"
    ),
    "delay_jitter": EffectKind(
        "times", _NORMAL, "absolute", "device_s", "spike", 1.0, "jitter of an event's arrival at the next layer"
    ),
    "link_rate": EffectKind(
        "events",
        _CONSTANT,
        "absolute",
        "device_hz",
        "readout",
        1e15,
        "events the link to the host carries; 0: no limit",
    ),
    "link_fifo": EffectKind("events", _CONSTANT, "absolute", "events", "readout", 1e9, "depth of the link's FIFO"),
    "clock_wrap": EffectKind(
        "times", _CONSTANT, "absolute", "device_s", "readout", 1e9, "period of the time stamps' counter; 0: endless"
    ),
    "adc_noise": EffectKind("membrane", _NORMAL, "absolute", "swing", "readout", 1.0, "noise of a membrane sample"),
    "adc_step": EffectKind(
        "membrane", ("uniform",), "absolute", "swing", "readout", 1.0, "step of the membrane samples"
    ),
    "settling": EffectKind("clock", _CONSTANT, "absolute", "device_s", "write", 10.0, "wait after a write of trims"),
    "cell_write": EffectKind("clock", _CONSTANT, "absolute", "device_s", "write", 1.0, "to write one cell"),
}

#: Effects that make one device differ from another; without them only noise is left.
MISMATCH = tuple(name for name, kind in EFFECTS.items() if kind.time_scale in ("device", "time"))
#: Effects that differ between two runs of the same input.
TRIAL_NOISE = (
    "threshold_batch", "threshold_sample", "jitter", "delay_jitter", "event_loss", "hot_rate", "adc_noise",
)  # fmt: skip
#: Effects that leave recorded spikes the model's: a latency is subtracted, a link takes events away or leaves them.
EXACT = {"latency", "link_rate", "link_fifo", "cell_write"}
#: Effects that a "20 % chip" has at 20 %.
SPREAD = ("tau_mem", "tau_syn", "gain")
#: Effects that are stated in weight codes and need a weight resolution.
NEEDS_CODES = ("dac_integral", "dac_differential", "programming")
#: Effects that mean nothing without others.
NEEDS: dict[str, tuple[str, ...]] = {
    "stuck": ("stuck_rate",),
    "hot": ("hot_rate",),
    "drift_ou": ("drift_ou_time",),
    "drift_power": ("drift_power_time", "drift_power_exponent"),
    "link_rate": ("link_fifo",),
}
