"""SPIDE: feedback networks at equilibrium, and their ternary error spikes."""
