"""Yield: how good a network is on many chips, for each strategy against mismatch."""
