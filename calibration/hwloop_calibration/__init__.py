"""Calibration of analog targets: characterise by exact gradients, trim, store, watch for drift, twin."""

from .apply import Policy as Policy
from .apply import apply as apply
from .calibrate import calibrate as calibrate
from .characterise import Characterisation as Characterisation
from .characterise import characterise as characterise
from .converter import measure_bends as measure_bends
from .document import Calibration as Calibration
from .drift import Sentinel as Sentinel
from .store import Store as Store
from .twin import twin_of as twin_of
from .upkeep import Followed as Followed
from .upkeep import Upkeep as Upkeep

__all__ = [
    "Calibration",
    "Characterisation",
    "Followed",
    "Policy",
    "Sentinel",
    "Store",
    "Upkeep",
    "apply",
    "calibrate",
    "characterise",
    "measure_bends",
    "twin_of",
]
