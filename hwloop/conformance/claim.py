"""Claims: named functions whose docstring says what is demanded and why; how one says that it is broken, or does not apply."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn, TypeAlias, get_args

if TYPE_CHECKING:
    from .subject import Subject

#: What claims are about, in the order in which they are listed.
Topic: TypeAlias = Literal[
    "protocol", "recording", "timing", "ordering", "state", "weights", "saturation", "refractory", "delays", "events", "digests",
    "deadlines", "latency", "determinism", "gradients", "refusals",
]  # fmt: skip
TOPICS: tuple[Topic, ...] = get_args(Topic)


class Violation(Exception):
    """The target breaks the claim; the text says by what."""


class NotApplicable(Exception):
    """The target does not have what the claim is about, or the claim cannot tell; the text says what."""


@dataclass(frozen=True)
class Claim:
    """A claim; called with a :class:`~hwloop.conformance.Subject` it returns where it holds.

    Raises :class:`Violation` or :class:`NotApplicable`; whatever else the target raises breaks the claim too.
    """

    name: str
    topic: Topic
    demand: str
    check: Callable[[Subject], None]

    @property
    def summary(self) -> str:
        """First paragraph of the demand, in one line."""
        return self.demand.partition("\n\n")[0].replace("\n", " ")

    def __call__(self, subject: Subject) -> None:
        self.check(subject)

    def __str__(self) -> str:
        return self.name


def claim(topic: Topic) -> Callable[[Callable[[Subject], None]], Claim]:
    """Make a claim of a function, by its name and docstring."""

    def made(function: Callable[[Subject], None]) -> Claim:
        return Claim(function.__name__, topic, inspect.cleandoc(function.__doc__ or ""), function)

    return made


def demand(holds: object, broken: str) -> None:
    """Break the claim, with ``broken`` as the reason, unless ``holds``."""
    if not holds:
        raise Violation(broken)


def skip(reason: str) -> NoReturn:
    """The claim does not apply."""
    raise NotApplicable(reason)
