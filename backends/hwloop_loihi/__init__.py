"""Loihi-style digital target: quantiser, bit-exact emulator, float twin: ``hwloop.open("loihi", dt=1e-4)``."""

from .graph import FixedGraph as FixedGraph
from .graph import FixedLayer as FixedLayer
from .graph import FloatGraph as FloatGraph
from .graph import FloatLayer as FloatLayer
from .graph import Synapses as Synapses

__all__ = ["FixedGraph", "FixedLayer", "FloatGraph", "FloatLayer", "Synapses"]
