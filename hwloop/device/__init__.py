"""Devices: targets and devices by name, what every device does alike, deployment, trim cells; for backends :mod:`hwloop.target`."""
