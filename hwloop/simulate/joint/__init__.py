"""Joint simulation of a loop of spiking neurons, and its exact adjoint."""
