"""Numba kernels of one layer: forward, measured spikes, the adjoint, sensitivities, and the closed forms of a neuron."""
