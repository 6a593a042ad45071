"""What the devices for networks in steps share: opened and closed, values that fit, batches that bound memory."""

from __future__ import annotations

from collections.abc import Iterator

from hwloop.errors import InputError, TargetError
from hwloop.rules import StepNetwork, Values

#: Samples run at once: bounds the memory of rasters, changes no result.
BATCH = 250


class HeldNetwork:
    """A network in steps that a device holds until it is closed."""

    net: StepNetwork

    def __init__(self, device_id: str) -> None:
        self.device_id = device_id
        self.closed = False

    def close(self) -> None:
        """Give the device back; closing twice is allowed."""
        self.closed = True

    def _parts(self, values: Values) -> Iterator[Values]:
        """``values`` in batches; :class:`TargetError` of a closed device, :class:`InputError` of values that do not fit."""
        if self.closed:
            raise TargetError(f"{self.device_id} is closed; open the network again with rules.open_network")
        if values.n_units != self.net.n_in:
            raise InputError(
                f"values of {values.n_units} units for a network of {self.net.n_in}; give those of its task"
            )
        return (values[start : start + BATCH] for start in range(0, len(values), BATCH))
