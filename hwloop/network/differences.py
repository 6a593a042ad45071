"""What a layer did beside what its model does: captured when the layer runs, compared when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..neurons import ResetKind
from ..record import count_differences
from ..simulate import Options, run
from ..simulate.convolution import Geometry, convolution_call
from ..simulate.joint.autograd import Structure, component_call
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
        _refuse_changed(self.received, self.given, self.versions)
        with torch.no_grad():
            model = run(self.received, self.weight, dict(self.parameters), reset=self.reset, max_spikes=self.max_spikes)
        return count_differences(model, self.given)


@dataclass(frozen=True)
class RanConvolution:
    """A population behind a convolution, as it ran."""

    received: Spikes
    weight: Tensor
    geometry: Geometry
    parameters: Mapping[str, Tensor]
    given: Spikes
    options: Options
    versions: tuple[int, ...]

    @classmethod
    def captured(
        cls,
        received: Spikes,
        weight: Tensor,
        geometry: Geometry,
        parameters: Mapping[str, Tensor],
        given: Spikes,
        options: Options,
    ) -> RanConvolution:
        """Capture what will not be there later."""
        copies = {name: value.detach().clone() for name, value in parameters.items()}
        received, given = received.detach(), given.detach()
        return cls(received, weight.detach().clone(), geometry, copies, given, options, _versions(received, given))

    def difference(self) -> tuple[int, int]:
        """``(missing, extra)``; see :meth:`RanLayer.difference`."""
        _refuse_changed(self.received, self.given, self.versions)
        with torch.no_grad():
            model, _ = convolution_call(self.received, self.weight, self.geometry, dict(self.parameters), self.options)
        return count_differences(model, self.given)


@dataclass(frozen=True)
class RanComponent:
    """Populations that were simulated together, as they ran: the same for all of them."""

    received: Spikes
    structure: Structure
    tensors: Mapping[str, Tensor]
    given: Spikes
    versions: tuple[int, ...]
    found: list[Spikes]

    @classmethod
    def of(
        cls,
        received: Spikes,
        structure: Structure,
        weight: Tensor,
        delay: Tensor,
        parameters: Mapping[str, Tensor],
        given: Spikes,
    ) -> RanComponent:
        """Capture what will not be there later."""
        tensors = {**parameters, "weight": weight, "delay": delay}
        copies = {name: value.detach().clone() for name, value in tensors.items()}
        received, given = received.detach(), given.detach()
        return cls(received, structure, copies, given, _versions(received, given), [])

    def part(self, start: int, size: int) -> RanPart:
        """The population of ``size`` neurons from ``start`` on."""
        return RanPart(self, start, size)

    def model(self) -> Spikes:
        """The model's own spikes on this input; simulated once. Raises as :meth:`RanLayer.difference`."""
        _refuse_changed(self.received, self.given, self.versions)
        if not self.found:
            parameters = {name: value for name, value in self.tensors.items() if name not in ("weight", "delay")}
            with torch.no_grad():
                ran = component_call(
                    self.received, self.structure, self.tensors["weight"], self.tensors["delay"], parameters
                )
            self.found.append(ran[0])
        return self.found[0]


@dataclass(frozen=True)
class RanPart:
    """One population of a :class:`RanComponent`."""

    of: RanComponent
    start: int
    size: int

    def difference(self) -> tuple[int, int]:
        """``(missing, extra)``; see :meth:`RanLayer.difference`."""
        part = slice(self.start, self.start + self.size)
        excess = self.of.given.unit_counts()[:, part] - self.of.model().unit_counts()[:, part]
        return int(torch.clamp(-excess, min=0).sum()), int(torch.clamp(excess, min=0).sum())


def _refuse_changed(received: Spikes, given: Spikes, versions: tuple[int, ...]) -> None:
    if _versions(received, given) != versions:
        raise InputError(
            "the spikes of this record were changed in place after it was made, and its health cannot be told any more; "
            "read health.missing and health.extra before, or change a copy (times.clone())"
        )


def _versions(*trains: Spikes) -> tuple[int, ...]:
    tensors = [tensor for train in trains for tensor in (train.times, train.units, train.counts)]
    # those of torch.inference_mode have no version, and refuse to be changed outside it
    return tuple(0 if tensor.is_inference() else tensor._version for tensor in tensors)
