"""Drawings of spikes and membranes; matplotlib is imported by what draws, at the moment it does."""

from .drawn import Drawing as Drawing
