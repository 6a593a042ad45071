"""A target as a strict document, for files: what it is called, its limits, and whether a file may have it opened again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from ..mapping.limits_document import LimitsText
from ..record import RanOn
from ..strict_documents import Name, StrictDocument
from .registry import Device, Target, recipe

#: Names of targets that a file may have opened: a backend, and a number. No path, no address of a network or port.
REOPENED = re.compile(r"[a-z][a-z0-9_-]{0,31}(:[0-9]{1,19})?")
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
#: Values of options that a file may hold; a path is none of them.
OptionValue: TypeAlias = bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | _Word
_Options = Annotated[dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")], OptionValue], Field(max_length=32)]


class TargetText(StrictDocument):
    """The target that a bundle was made on; ``options`` None: what it was opened with cannot stand in a file."""

    name: Name
    options: _Options | None
    limits: LimitsText
    device_id: Name
    firmware: Name
    ran_on: RanOn

    @property
    def reopened(self) -> bool:
        """Whether it may be opened by what this text says."""
        return self.options is not None and REOPENED.fullmatch(self.name) is not None


def target_text(target: Target, device: Device) -> TargetText:
    """The text of ``target`` and the ``device`` that it opened."""
    name, options = recipe(target) or (target.name, None)
    return TargetText(
        name=name, options=_plain(options), limits=LimitsText.of(device.capabilities), device_id=device.device_id,
        firmware=device.firmware, ran_on=device.ran_on,
    )  # fmt: skip


def _plain(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """``options`` where all of them may stand in a file, else None."""
    if options is None:
        return None
    for value in options.values():
        word = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) and not Path(value).exists()
        if not (word or isinstance(value, bool | int | float)):
            return None
    return options
