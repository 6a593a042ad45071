"""Characterise: what every neuron and synapse of a device is, from its spikes: stimuli, measurement, fit, quality."""
