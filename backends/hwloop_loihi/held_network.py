"""What the devices for networks in steps share: opened and closed, values that fit, batches that bound memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

import numpy as np

from hwloop.errors import CompileWarning, InputError, TargetError
from hwloop.mapping.loss import LARGE_SHARE, zeroed_share
from hwloop.rules import StepNetwork, Values
from hwloop_fixed_point.registers import Array

#: Samples run at once: bounds the memory of rasters, changes no result.
BATCH = 250


#: Quantiles of the magnitudes at which clipping is tried, and codes that the largest weight has at least.
QUANTILES, CODES = (0.999, 0.99, 0.95, 0.9, 0.5), 127


def warn_of_zeros(pairs: Iterable[tuple[str, Array, Array]]) -> None:
    """Warn of stages ``(name, weight [n_out, ...], what its codes stand for)`` whose weights became zero, largely."""
    for name, weight, held in pairs:
        share = zeroed_share(weight, held)
        if share <= LARGE_SHARE:
            continue
        size = np.abs(weight)
        tops = [float(f"{np.quantile(size, q):.3g}") for q in QUANTILES]
        kept = [top for top in tops if zeroed_share(weight, np.where(size < top / CODES, 0.0, 1.0)) <= LARGE_SHARE]
        advice = f"clip them to {kept[0]:g} (tried)" if kept else "no clipping keeps them: split the stage"
        warnings.warn(
            f"{name}: {int(((held == 0) & (weight != 0)).sum())} of {np.count_nonzero(weight)} weights became 0, since the largest, "
            f"{size.max():.3g}, sets the scale; they bring {share:.0%} of an average neuron's input: {advice}",
            CompileWarning,
            stacklevel=3,
        )


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
