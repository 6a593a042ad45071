"""Hm2bp."""
