"""The readout that does not spike: maximum, integral and values of leaky integrators' membranes, exact."""

from __future__ import annotations

from .membranes import Kind, Membranes

__all__ = ["Kind", "Membranes"]
