"""What a preset emulates and what it does not, in words, for reports: derived from its values, so that text and run agree."""

from __future__ import annotations

from .effects import EFFECTS
from .preset import Preset
from .preset_entries import Limits

#: What each effect is in a sentence. Effects that only say how another one acts (its rate, its time) belong to that one.
WORDS: dict[str, str] = {
    "tau_mem": "spread of membrane time constants between neurons",
    "tau_syn": "spread of synaptic time constants between neurons",
    "gain": "spread of synaptic gains between neurons",
    "v_th": "spread of thresholds between neurons",
    "v_leak": "spread of leak potentials between neurons",
    "v_reset": "spread of reset potentials between neurons",
    "t_ref": "spread of refractory times between neurons",
    "synapse": "spread of gains between synapses",
    "dac_integral": "bow of the synapses' converters",
    "dac_differential": "uneven steps of the synapses' converters",
    "programming": "errors of each write of a weight",
    "threshold_session": "threshold noise from session to session",
    "threshold_batch": "threshold noise from run to run",
    "threshold_sample": "threshold noise from sample to sample",
    "jitter": "jitter of spikes",
    "time_stamp": "rounding of time stamps",
    "latency": "a constant latency of time stamps",
    "event_loss": "random loss of recorded events",
    "dead": "dead neurons",
    "stuck": "stuck neurons, which fire at a constant rate",
    "hot": "hot neurons, with spurious spikes",
    "dead_synapse": "dead synapses",
    "trim_slope": "spread of the slopes of trim cells",
    "trim_bow": "bow of the trim cells' converters",
    "trim_step": "uneven steps of the trim cells' converters",
    "trim_write": "errors of each write of a trim cell",
    "trim_crosstalk": "crosstalk between neighbouring trim cells",
    "drift_ou": "drift that fluctuates around a mean",
    "drift_power": "drift that grows with age",
    "temperature": "temperature coefficients that differ between neurons",
    "temperature_common": "a temperature coefficient common to all neurons",
    "delay_jitter": "jitter of an event's arrival at the next layer",
    "link_rate": "limited bandwidth of the event link",
    "clock_wrap": "a time-stamp counter that wraps",
    "adc_noise": "noise of membrane samples",
    "adc_step": "rounding of membrane samples",
    "settling": "time for trim cells to settle",
    "cell_write": "time to write a cell",
}
#: The effect that each of the others is a part of.
PART_OF: dict[str, str] = {
    "stuck_rate": "stuck",
    "hot_rate": "hot",
    "drift_ou_time": "drift_ou",
    "drift_power_time": "drift_power",
    "drift_power_exponent": "drift_power",
    "drift_share": "drift_ou",
    "link_fifo": "link_rate",
}
#: Limits of a chip that act on a network or a recording in silence; the others are refusals of the compiler.
LIMIT_WORDS: dict[str, str] = {
    "weight_bits": "weights of limited resolution",
    "refractory_min": "a least refractory time",
}


def effects_in_words(preset: Preset) -> tuple[list[str], list[str]]:
    """``(emulated, not emulated)``: what ``preset`` does to a network and its recordings, and what it leaves out, in words.

    Derived from the preset's values: an effect counts as emulated where its scale is above 0, one that needs a rate
    (stuck, hot neurons) where the rate is too.
    """
    emulated: list[str] = []
    left_out: list[str] = []
    for name, text in [*LIMIT_WORDS.items(), *WORDS.items()]:
        (emulated if _acts(preset, name) else left_out).append(text)
    return emulated, left_out


def _acts(preset: Preset, name: str) -> bool:
    if name in LIMIT_WORDS:
        stated, ideal = getattr(preset.limits, name), getattr(Limits(), name)
        return stated is not None and (ideal is None or stated.value != ideal.value)
    rate = f"{name}_rate"
    return preset.scale(name) > 0 and (rate not in EFFECTS or preset.scale(rate) > 0)
