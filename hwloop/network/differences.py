"""What a layer did beside what its model does: captured when the layer runs, compared when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..neurons import ResetKind
from ..record import count_differences
from ..simulate import run
from ..spikes import Spikes


@dataclass(frozen=True)
class RanLayer:
    """One layer as it ran: weights and parameters of that moment (copies), its input, and the spikes it was given.

    Spikes are too many to copy; they are the caller's, who may change them: ``versions`` tells.
    """

    weight: Tensor
    parameters: Mapping[str, Tensor]
    received: Spikes
    given: Spikes
    reset: ResetKind
    max_spikes: int | None
    versions: tuple[int, ...]

    @classmethod
    def of(
        cls,
        received: Spikes,
        weight: Tensor,
        parameters: Mapping[str, Tensor],
        given: Spikes,
        reset: ResetKind,
        max_spikes: int | None,
    ) -> RanLayer:
        """Capture what will not be there later."""
        copies = {name: value.detach().clone() for name, value in parameters.items()}
        received, given = received.detach(), given.detach()
        return cls(weight.detach().clone(), copies, received, given, reset, max_spikes, _versions(received, given))

    def difference(self) -> tuple[int, int]:
        """``(missing, extra)``: spikes of the model on this input that were not given, and the reverse.

        Raises :class:`InputError` where the spikes were changed in place since.
        """
        if _versions(self.received, self.given) != self.versions:
            raise InputError(
                "the spikes of this record were changed in place after it was made, and its health cannot be told any more; "
                "read health.missing and health.extra before, or change a copy (times.clone())"
            )
        with torch.no_grad():
            model = run(self.received, self.weight, dict(self.parameters), reset=self.reset, max_spikes=self.max_spikes)
        return count_differences(model, self.given)


def _versions(*trains: Spikes) -> tuple[int, ...]:
    tensors = [tensor for train in trains for tensor in (train.times, train.units, train.counts)]
    # those of torch.inference_mode have no version, and refuse to be changed outside it
    return tuple(0 if tensor.is_inference() else tensor._version for tensor in tensors)
