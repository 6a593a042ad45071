"""Loihi-style digital target: quantiser, bit-exact emulator, float twin: ``hwloop.open("loihi", dt=1e-4)``."""

from hwloop_fixed_point.graph import FixedGraph as FixedGraph
from hwloop_fixed_point.graph import FixedLayer as FixedLayer
from hwloop_fixed_point.graph import FloatGraph as FloatGraph
from hwloop_fixed_point.graph import FloatLayer as FloatLayer
from hwloop_fixed_point.graph import Synapses as Synapses
from hwloop_fixed_point.runs import Emulator as Emulator
from hwloop_fixed_point.ticks import TickSpikes as TickSpikes
from hwloop_fixed_point.ticks import decode as decode
from hwloop_fixed_point.ticks import encode as encode

from .compiler import compile_loihi as compile_loihi
from .convergence import Convergence as Convergence
from .convergence import convergence as convergence
from .convergence import slope as slope
from .device import LoihiDevice as LoihiDevice
from .device import LoihiTarget as LoihiTarget
from .discretise import float_graph as float_graph
from .netx import read_netx as read_netx
from .netx import write_netx as write_netx
from .program import LayerFit as LayerFit
from .program import LoihiProgram as LoihiProgram
from .program import LoihiReport as LoihiReport
from .sweep import StepChoice as StepChoice
from .sweep import choose_dt as choose_dt

__all__ = [
    "Convergence",
    "Emulator",
    "FixedGraph",
    "FixedLayer",
    "FloatGraph",
    "FloatLayer",
    "LayerFit",
    "LoihiDevice",
    "LoihiProgram",
    "LoihiReport",
    "LoihiTarget",
    "StepChoice",
    "Synapses",
    "TickSpikes",
    "choose_dt",
    "compile_loihi",
    "convergence",
    "decode",
    "encode",
    "float_graph",
    "read_netx",
    "slope",
    "write_netx",
]
