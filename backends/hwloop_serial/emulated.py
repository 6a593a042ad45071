"""A served emulated chip, and the same one in the host's process: INFO says with which options it was made.

The host takes no path and no backend's name from a device: the preset is one of those that come with the emulator, and what
is made of it has to be the device by its id, which holds a digest of everything that the preset says.
"""

from __future__ import annotations

from typing import Any

from hwloop.device.registry import Emulating, Target, find, presets, recipe
from hwloop.errors import HwloopError

from .information import Emulated, Info

BACKEND = "emulator"
#: Options that INFO can say, and those that do not change what the device is.
SAID, ELSEWHERE = frozenset({"preset", "spread", "mismatch", "trial_noise"}), frozenset({"session"})


def said_of(target: Target) -> Emulated | None:
    """What INFO says of ``target``; None where it is no emulated chip, or not of a preset that the host has."""
    made = recipe(target)
    if made is None:
        return None
    name, options = made
    backend, _, number = name.partition(":")
    if backend != BACKEND or not options.keys() <= SAID | ELSEWHERE:
        return None
    said: dict[str, Any] = {key: value for key, value in options.items() if key in SAID and value is not None}
    preset = said.setdefault("preset", "bss2")
    return Emulated(number=int(number), **said) if preset in presets(BACKEND) else None


def twin_of(info: Info, session: int | None) -> Emulating | None:
    """The chip of ``info`` in this process, its noise that of ``session``; None where this is not known to be the same."""
    said = info.emulated
    if said is None or said.preset not in presets(BACKEND):
        return None
    options = said.model_dump(exclude={"number"}, exclude_none=True)
    try:
        made = find(f"{BACKEND}:{said.number}", session=session, **options)
    except HwloopError:  # options that this emulator does not take
        return None
    if not isinstance(made, Emulating) or getattr(made, "device_id", None) != info.device_id:
        return None
    return made
