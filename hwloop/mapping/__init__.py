"""Mapping: a network onto a target's limits, or a refusal that says why."""

from .capabilities import Capabilities as Capabilities
from .capabilities import Range as Range
from .compiler import compile_network as compile_network
from .placement import place as place
from .program import LayerProgram as LayerProgram
from .program import Program as Program
from .quantise import Quantised as Quantised
from .quantise import ScaleRule as ScaleRule
from .quantise import quantise as quantise
from .quantise import scale_of as scale_of
from .report import LayerUse as LayerUse
from .report import ResourceReport as ResourceReport

__all__ = [
    "Capabilities",
    "LayerProgram",
    "LayerUse",
    "Program",
    "Quantised",
    "Range",
    "ResourceReport",
    "ScaleRule",
    "compile_network",
    "place",
    "quantise",
    "scale_of",
]
