"""Drift: noticed by a sentinel in use, and what follows for the network that runs on the device."""
