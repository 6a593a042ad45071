"""The last sections of the report of the demonstration: what is emulated and what is not, words and signs."""

from __future__ import annotations

from collections.abc import Sequence

from .compare.report import Source, Table
from .compare.time_format import format_time
from .demo import DemoResult


def emulated(demo: DemoResult) -> str:
    """What the chips are, in words."""
    chip = demo.chips[0]
    if not demo.emulated:
        return f'The chips ran on {chip.as_is.ran_on}, as they say (firmware "{chip.before.provenance["firmware"]}").'
    latency = chip.program.capabilities.latency
    parts = [
        f'The chips are emulated (firmware "{chip.before.provenance["firmware"]}"); each is a pure function of its preset '
        "and its number. It takes weight codes and input spikes, computes with parameters of its own that nothing outside it can "
        "read, and returns time-stamped events. The table lists what it does to a network. Figures rest on publications where "
        "one is named, and are assumptions where it says so.",
        f"Emulated: {_listed(chip.emulated)}.",
        f"Not emulated: {_listed(chip.not_emulated)}. These figures say what the method does against the listed disturbances; "
        "they are no measurement of a chip.",
    ]
    if latency:
        parts.append(
            "The constant latency of time stamps that a data sheet states is subtracted from measured times before they are used."
        )
    return "\n\n".join(parts)


def _listed(words: Sequence[str]) -> str:
    return "; ".join(words) if words else "nothing"


def effects_table(demo: DemoResult) -> Table:
    """What the chips do to a network."""
    caption = (
        f'What the chips do, as far as it differs from an ideal one (preset of {demo.chips[0].name}). "per device" is drawn once '
        'for each chip, "per sample" and "per spike" anew for each; swing is v_th - v_reset.'
    )
    sources = [Source(chip.as_is.ran_on, chip.device_id) for chip in demo.chips]
    return Table(caption, ("limit or effect", "value", "source"), demo.chips[0].effects, sources)


def words(demo: DemoResult) -> str:
    """What words and signs of the report mean."""
    window = format_time(demo.chips[0].before.settings.window, micro="µs")
    return (
        "Simulator: exact event-based simulation with the nominal parameters. Emulator: an emulated chip. As is: the software "
        "weights, rounded to the chip's codes, nothing else changed.\n\n"
        "Layers and neurons count from 0. Error = measured minus simulated time: positive means the chip is late. Spikes are "
        f"paired in order, at most {window} apart; the rest is missing (simulated only) or extra (measured only). Bias is the "
        "mean error, RMSE its root mean square, jitter the spread around the bias of each neuron.\n\n"
        f"Times are those of the model; the chip runs {demo.chips[0].program.capabilities.speedup:g} times faster."
    )
