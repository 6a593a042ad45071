"""What stands behind the protocol of a board: something that takes images, runs batches and answers calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..messages import Code, Kind, Run


class Refusal(Exception):
    """A request that the board answers with an error."""

    def __init__(self, code: Code, detail: int = 0, other: int = 0, text: str = "") -> None:
        super().__init__(text or code.name)
        self.code, self.detail, self.other, self.text = code, detail, other, text


@dataclass(frozen=True)
class Answer:
    """What a run brought: OUTPUT, events that did not arrive or not in time, and whether a wrap table is in it."""

    output: bytes
    lost: int = 0
    late: int = 0
    wraps: bool = False


class Model(Protocol):
    """A device without its line. All of it but :meth:`run`'s result is called from one thread."""

    @property
    def kind(self) -> Kind:
        """What programs it takes."""

    @property
    def features(self) -> int:
        """Bits of :class:`~hwloop_serial.messages.Feature`."""

    @property
    def info(self) -> bytes:
        """INFO."""

    def reset(self) -> None:
        """Be as new."""

    def load(self, image: bytes) -> None:
        """Make a program ready; raises :class:`Refusal`."""

    def settings(self) -> bytes:
        """Digest of the trim cells; zeros where there are none."""

    def run(self, asked: Run, data: bytes, room: int) -> Callable[[], Answer]:
        """Check ``data``, then what runs it into ``room`` bytes of output; both raise :class:`Refusal`."""

    def call(self, function: int, arguments: bytes, data: bytes | None) -> bytes:
        """Answer a CALL; ``data``: INPUT, where it is sealed. Raises :class:`Refusal`."""

    def close(self) -> None:
        """Give the device back."""
