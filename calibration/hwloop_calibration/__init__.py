"""Calibration of analog targets: characterise by exact gradients, trim, store, watch for drift, twin."""

from .calibrate import calibrate as calibrate
from .characterise.converter import measure_bends as measure_bends
from .characterise.measure import Characterisation as Characterisation
from .characterise.measure import characterise as characterise
from .document.calibration import Calibration as Calibration
from .document.store import Store as Store
from .drift.sentinel import Sentinel as Sentinel
from .drift.upkeep import Followed as Followed
from .drift.upkeep import Upkeep as Upkeep
from .trim.apply import Policy as Policy
from .trim.apply import apply as apply
from .twin import twin_of as twin_of

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
