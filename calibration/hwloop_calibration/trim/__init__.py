"""Trim: codes for the trim cells, and a calibration put on its device."""
