"""Hwloop_fixed_point."""
