"""What a backend imports, and what is known of targets by name: the public face of :mod:`hwloop.device.registry`."""

from .device.registry import ENTRY_POINT_GROUP as ENTRY_POINT_GROUP
from .device.registry import Capabilities as Capabilities
from .device.registry import Device as Device
from .device.registry import DeviceBase as DeviceBase
from .device.registry import Measured as Measured
from .device.registry import Program as Program
from .device.registry import StepChoice as StepChoice
from .device.registry import Target as Target
from .device.registry import WriteStatistics as WriteStatistics
from .device.registry import available as available
from .device.registry import checked_repeats as checked_repeats
from .device.registry import choose_dt as choose_dt
from .device.registry import compile as compile
from .device.registry import compile_quietly as compile_quietly
from .device.registry import describe as describe
from .device.registry import earlier as earlier
from .device.registry import factory as factory
from .device.registry import find as find
from .device.registry import in_words as in_words
from .device.registry import open as open
from .device.registry import presets as presets
from .device.registry import repeat as repeat
from .device.registry import repetitions as repetitions
