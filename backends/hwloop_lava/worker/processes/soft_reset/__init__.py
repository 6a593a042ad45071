"""Neurons that reset by subtraction; see :mod:`.process`."""
