"""A target as a strict document, for files: what it is called, its limits, and whether a file may have it opened again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from ..mapping.limits_document import LimitsText
from ..record import RanOn
from ..strict_documents import Name, StrictDocument
from .registry import CompilesAs, Device, Documented, Target, factory, find, recipe

#: Names of targets that a file may have opened: a backend, and a number. No path, no address of a network or port.
REOPENED = re.compile(r"[a-z][a-z0-9_-]{0,31}(:[0-9]{1,19})?")
_Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
#: Values of options that a file may hold; a path is none of them.
OptionValue: TypeAlias = bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | _Word
_Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
_Options = Annotated[dict[_Key, OptionValue], Field(max_length=32)]
_Row = Annotated[tuple[float | int | None, ...], Field(max_length=10_000)]
#: Largest document that an option is (characters): a preset.
MOST_DOCUMENT = 1_000_000
_Documents = Annotated[dict[_Key, Annotated[str, Field(max_length=MOST_DOCUMENT)]], Field(max_length=8)]


class CompilerText(StrictDocument):
    """A target that compiles the same programs, by a name that a file may have opened."""

    name: Annotated[str, Field(pattern=f"^{REOPENED.pattern}$")]
    options: Annotated[dict[_Key, OptionValue | _Row], Field(max_length=32)]

    def find(self) -> Target:
        """The target."""
        return find(self.name, **self.options)


class TargetText(StrictDocument):
    """The target that a bundle was made on; ``options`` None: what it was opened with cannot stand in a file.

    ``documents``: options that are more than a word or number, such as a preset of one's own, as text that the backend reads.
    """

    name: Name
    options: _Options | None
    limits: LimitsText
    device_id: Name
    firmware: Name
    ran_on: RanOn
    documents: _Documents = Field(default_factory=dict)
    compiler: CompilerText | None = None

    def find(self, **options: Any) -> Target:
        """The target, with ``options`` in place of its own; for one that is :attr:`reopened`.

        Raises as :func:`hwloop.device.registry.find`, and :class:`~hwloop.errors.DataError` for a document that is none.
        """
        backend = self.name.partition(":")[0]
        read = {
            key: factory(backend).read_document(key, text)  # type: ignore[attr-defined]  # a backend that wrote it
            for key, text in self.documents.items()
            if key not in options
        }
        return find(self.name, **{**(self._own_options or {}), **read, **options})

    @property
    def _own_options(self) -> dict[str, Any] | None:
        """Options of the target; those of its compiler say all of a target that is its own."""
        if self.options is None and self.compiler is not None and self.compiler.name == self.name:
            return dict(self.compiler.options)
        return self.options

    @property
    def reopened(self) -> bool:
        """Whether it may be opened by what this text says."""
        return self._own_options is not None and REOPENED.fullmatch(self.name) is not None


def target_text(target: Target, device: Device) -> TargetText:
    """The text of ``target`` and the ``device`` that it opened."""
    name, options = recipe(target) or (target.name, None)
    documents = target.documents() if isinstance(target, Documented) else {}
    compiler = target.compiler if isinstance(target, CompilesAs) else None
    if options is not None:
        options = {key: value for key, value in options.items() if key not in documents}
    return TargetText(
        name=name, options=_plain(options), documents=documents,
        compiler=None if compiler is None else CompilerText(name=compiler[0], options=compiler[1]), limits=LimitsText.of(device.capabilities), device_id=device.device_id,
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
