"""An analog chip with mismatch and noise, emulated event by event: ``hwloop.open("emulator:7", preset="bss2")``."""

from .device import EmulatorDevice as EmulatorDevice
from .device import EmulatorTarget as EmulatorTarget
from .effects import EFFECTS as EFFECTS
from .many.device import Population as Population
from .preset import Preset as Preset
from .preset import shipped as shipped
from .preset_entries import Effect as Effect
from .words import effects_in_words as effects_in_words

__all__ = [
    "EFFECTS",
    "Effect",
    "EmulatorDevice",
    "EmulatorTarget",
    "Population",
    "Preset",
    "effects_in_words",
    "shipped",
]
