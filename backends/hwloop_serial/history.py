"""What a board of codes was given since its noise was last sought: what one that started anew is given again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .calls import TrimWrite
from .remote import differences

#: Bytes of loads that are kept at most: some thousand of a network of a hundred thousand synapses.
MOST_KEPT = 2**28


@dataclass(frozen=True)
class _Load:
    """An image as what differs from the one before it, by place."""

    length: int
    parts: tuple[tuple[int, bytes], ...]

    @property
    def size(self) -> int:
        return sum(len(data) for _, data in self.parts)

    def after(self, held: bytes) -> bytes:
        image = bytearray(held[: self.length].ljust(self.length, b"\0"))
        for place, data in self.parts:
            image[place : place + len(data)] = data
        return bytes(image)


class History:
    """Loads and writes of trim cells in their order.

    Parameters
    ----------
    every : bool
        Each load leaves a trace, since cells land with an error of their own each time they are written; else the last load
        alone is kept.
    """

    def __init__(self, *, every: bool) -> None:
        self._every = every
        self._steps: list[_Load | TrimWrite] = []
        self._image: bytes | None = None
        self._size = 0
        #: Why what the cells hold cannot be told any more; empty where it can.
        self.unknown = ""

    def loaded(self, image: bytes) -> None:
        """``image`` was loaded."""
        if not self._every:
            self._forget_loads()
        held = self._image
        parts = tuple((place, image[place : place + length]) for place, length in differences(image, held))
        load = _Load(len(image), parts)
        self._steps.append(load)
        self._image, self._size = image, self._size + load.size
        if self._every and self._size > MOST_KEPT:
            self.lost(f"more was loaded since its noise was last sought than the {MOST_KEPT} bytes that are kept")

    def trimmed(self, written: TrimWrite) -> None:
        """Trim cells were written."""
        self._steps.append(written)

    def lost(self, reason: str = "a load broke off since its noise was last sought") -> None:
        """What became of the last load is not known."""
        self._forget_loads()
        if self._every:
            self.unknown = reason

    def _forget_loads(self) -> None:
        self._steps = [step for step in self._steps if isinstance(step, TrimWrite)]
        self._image, self._size = None, 0

    def sought(self) -> None:
        """The noise was sought: the cells of what the board holds landed anew, as if written once."""
        image, self._steps = self._image, []
        self._image, self._size = None, 0
        if image is not None:
            self.unknown = ""
            self.loaded(image)

    def steps(self) -> Iterator[bytes | TrimWrite]:
        """Images that were loaded, and writes of trim cells, in their order."""
        image = b""
        for step in self._steps:
            if isinstance(step, TrimWrite):
                yield step
            else:
                image = step.after(image)
                yield image
