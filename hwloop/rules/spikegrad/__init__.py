"""Spikegrad."""
