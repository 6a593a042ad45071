"""Calibration of analog targets: characterise by exact gradients, trim, store, watch for drift, twin."""

from .characterise import Characterisation as Characterisation
from .characterise import characterise as characterise

__all__ = ["Characterisation", "characterise"]
