"""A bundle in memory: network, program, target, calibration and golden run of one deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..device.registry import Device, Target, compile_quietly, find
from ..device.target_document import TargetText
from ..errors import TargetError
from ..mapping import Capabilities, Program
from ..network import Network
from ..spikes import Spikes
from .documents import GoldenText, ProgramText, ProvenanceText

if TYPE_CHECKING:
    from hwloop_calibration import Calibration


@dataclass(frozen=True)
class Golden:
    """The golden run: ``inputs`` and the ``populations`` that the device answered, by ``names``; see :class:`GoldenText`."""

    text: GoldenText
    inputs: Spikes
    populations: tuple[Spikes, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the populations."""
        return self.text.names


@dataclass(frozen=True)
class Bundle:
    """One deployment; :func:`hwloop.load_bundle` reads it.

    Attributes
    ----------
    network : Network
        With its trained weights.
    codes : Program
        Codes, placement, scales and parameters, as plain data for any tool; :meth:`program` is what a device loads.
    program_text, target, provenance : what the file says of them
    golden : Golden
    calibration : Calibration or None
        That the device had.
    graph : (document, arrays) or None
        Of a program that runs as a graph in fixed or floating point.
    """

    network: Network
    codes: Program
    program_text: ProgramText
    target: TargetText
    provenance: ProvenanceText
    golden: Golden
    calibration: Calibration | None = None
    graph: tuple[dict[str, Any], dict[str, Any]] | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Limits of the target."""
        return self.target.limits.capabilities()

    def open(self, name: str | None = None, **options: Any) -> Device:
        """The device called ``name``; without one that of the bundle, where its text may open anything.

        Raises :class:`TargetError` where the bundle names a port or an address: whoever runs it has to name that.
        """
        if name is not None:
            return find(name, **options).open()
        if not self.target.reopened:
            raise TargetError(
                f"the bundle was made on {self.target.name} ({self.target.device_id}), and what a file says is not opened as a port, "
                "an address or a file; name the target: --target, or bundle.open(name, ...)"
            )
        return self.target.find(**options).open()

    def program(self, target: Target) -> Program:
        """The program for ``target``: the bundle's own where the limits are the same, else the network compiled with its scales.

        Raises
        ------
        TargetError
            The target compiles to another program than the bundle holds, although its limits are the same.
        CompileError
            The target cannot carry the network.
        """
        same = target.capabilities == self.capabilities
        if same and self.program_text.kind == Program.__name__:
            return self.codes
        text = self.program_text
        made = compile_quietly(
            self.network,
            target,
            weight_scale=self._scales(target),
            mask=text.mask if same else (),
            partition=text.pieces,
        )
        if not same:
            return made
        if not text.pieces and any(
            not np.array_equal(ours.neurons, theirs.neurons)
            for ours, theirs in zip(made.layers, self.codes.layers, strict=True)
        ):
            made = made.placed([layer.neurons for layer in self.codes.layers])
        if made.digest != text.digest:
            raise TargetError(
                f"{target.name} compiles the network of the bundle to program {made.digest[:12]}; the bundle holds "
                f"{text.digest[:12]}, made with {_versions(self.provenance)}. Install those versions, or make the bundle anew"
            )
        return made

    def _scales(self, target: Target) -> Any:
        """Scales of the bundle where they mean something to ``target``."""
        alike = target.capabilities.weight_bits == self.capabilities.weight_bits
        return list(self.program_text.scales) if alike else "max"

    def load_on(self, device: Device) -> Program:
        """Put calibration and program of the bundle on ``device``; the program that it then holds.

        A calibration of another device, or an old one, is used with a warning
        (:class:`~hwloop.errors.CalibrationWarning`).
        """
        if self.calibration is not None and device.capabilities == self.capabilities:
            apply_calibration(device, self.calibration)
        program = self.program(device.target)
        device.load(program)
        return program


def apply_calibration(device: Device, calibration: Calibration) -> None:
    """Put ``calibration`` on ``device``, the way that the device takes one; foreign and old ones with a warning."""
    apply = getattr(device, "apply", None)
    if apply is None:
        raise TargetError(f"{device.device_id} takes no calibration; leave it out, or name a target that takes one")
    apply(calibration, policy="warn")


def _versions(provenance: ProvenanceText) -> str:
    return ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
