"""Mapping: a network onto a target's limits, or a refusal that says why."""

from .capabilities import Capabilities as Capabilities
from .capabilities import Range as Range
from .compiler import compile_network as compile_network
from .compiler import layer_program as layer_program
from .compiler import network_values as network_values
from .compiler import rules_and_placement as rules_and_placement
from .constraints import LayerValues as LayerValues
from .constraints import check_layer as check_layer
from .constraints import dense_name as dense_name
from .constraints import lif_name as lif_name
from .placement import place as place
from .program import LayerProgram as LayerProgram
from .program import Program as Program
from .quantise import Quantised as Quantised
from .quantise import ScaleRule as ScaleRule
from .quantise import quantise as quantise
from .quantise import scale_of as scale_of
from .quantise import scale_rules as scale_rules
from .report import LayerUse as LayerUse
from .report import ResourceReport as ResourceReport
from .report import ResourceTable as ResourceTable
from .rounding import rounded as rounded
from .rounding import rounded_down as rounded_down
from .rounding import rounded_up as rounded_up

__all__ = [
    "Capabilities",
    "LayerProgram",
    "LayerUse",
    "LayerValues",
    "Program",
    "Quantised",
    "Range",
    "ResourceReport",
    "ResourceTable",
    "ScaleRule",
    "check_layer",
    "compile_network",
    "dense_name",
    "layer_program",
    "lif_name",
    "network_values",
    "place",
    "quantise",
    "rounded",
    "rounded_down",
    "rounded_up",
    "rules_and_placement",
    "scale_of",
    "scale_rules",
]
