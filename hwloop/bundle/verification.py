"""Whether a device still answers as it did: the golden run again, and what differs first."""

from __future__ import annotations

from dataclasses import dataclass

from ..arguments import seconds
from ..device.registry import Device
from ..record import RanOn
from ..spike_differences import Difference, first_difference
from .contents import Bundle


@dataclass(frozen=True)
class Verification:
    """What a device answered to the golden inputs, against what the bundle holds; ``str()`` says it in lines.

    ``first``: the first difference, by layer, sample and time; None: none. ``program``: digest of what was loaded;
    ``same_program``: whether that is the bundle's own. ``tolerance`` (s): by which a spike may have moved. ``samples`` and ``spikes``
    count the golden ones; ``placed``: whether the device's noise was sent back to where it stood.
    """

    device_id: str
    firmware: str
    ran_on: RanOn
    program: str
    same_program: bool
    samples: int
    spikes: int
    tolerance: float
    first: Difference | None
    placed: bool

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return self.first is None

    def __str__(self) -> str:
        how = "bit for bit" if not self.tolerance else f"within {self.tolerance:g} s"
        lines = [
            f"{self.device_id} ({self.ran_on}, {self.firmware}), program {self.program[:12]}"
            + ("" if self.same_program else ": compiled anew, its limits are not those of the bundle"),
            f"{self.samples} samples, {self.spikes} golden spikes: " + (f"equal {how}" if self.passed else "not equal"),
        ]
        if self.first is not None:
            lines.append(f"first difference: {self.first}")
        if not self.placed:
            lines.append("the noise of this device cannot be sent back to where it stood: compare with --tolerance")
        return "\n".join(lines)


def verify_bundle(bundle: Bundle, device: Device, *, tolerance: float = 0.0) -> Verification:
    """Run the golden inputs of ``bundle`` on ``device`` and compare.

    Parameters
    ----------
    bundle, device : the device is loaded with the bundle's program, or with its network where its limits are others
    tolerance : (s) by which a spike may fall elsewhere, its neuron spiking as often; 0: bit for bit

    Raises as :meth:`Bundle.load_on`, and :class:`~hwloop.errors.TargetError` where the device fails.
    """
    tolerance = seconds("tolerance", tolerance, zero=True)
    program = bundle.load_on(device)
    position = bundle.golden.text.position
    placed = position is None or hasattr(device, "session")
    if position is not None and placed:
        device.seek(session=position.session, batch=position.batch)  # type: ignore[attr-defined]
    recording = device.run(bundle.golden.inputs)
    pairs = zip(bundle.golden.populations, recording.populations, strict=True)
    found = (
        first_difference(expected, answer, k, bundle.golden.names[k], tolerance)
        for k, (expected, answer) in enumerate(pairs)
    )
    return Verification(
        device_id=recording.device_id,
        firmware=recording.firmware,
        ran_on=recording.ran_on,
        program=program.digest,
        same_program=program.digest == bundle.program_text.digest,
        samples=len(bundle.golden.inputs),
        spikes=sum(int(train.counts.sum()) for train in bundle.golden.populations),
        tolerance=tolerance,
        first=next((one for one in found if one is not None), None),
        placed=placed,
    )
