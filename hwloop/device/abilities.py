"""What a target or device may be able to do besides, each ability a protocol; what lacks one is asked for nothing of it.

:mod:`hwloop.conformance` checks each where it is there, and says where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from .registry import Target

__all__ = ["CodeReader", "Hurried", "Promises", "Promising", "Resumable", "Stepped", "able", "promises_of"]


@dataclass(frozen=True)
class Promises:
    """How exactly a target computes, as its author states it.

    Attributes
    ----------
    deterministic : bool
        The same program and inputs give the same spikes, bit for bit, whatever ran before.
    time_error : float or None (device s)
        Largest distance of a recorded first spike from that of the model with the weights that the codes stand for, its neuron
        driven to several times its threshold; 0: only the rounding of numbers. None: nothing is promised, as of an analog
        chip, whose neurons differ.
    """

    deterministic: bool = False
    time_error: float | None = None


@runtime_checkable
class Promising(Protocol):
    """A target that states how exactly it computes."""

    @property
    def promises(self) -> Promises | None:
        """What it promises; None where it does not know."""


@runtime_checkable
class CodeReader(Protocol):
    """A device whose weight cells can be read back."""

    def read_codes(self) -> tuple[NDArray[Any], ...]:
        """Weight codes ``[n_out, n_in]`` of each layer of the loaded program, logical neurons, as the *device* holds them.

        Raises :class:`~hwloop.errors.TargetError` where it is closed or holds no program.
        """


@runtime_checkable
class Hurried(Protocol):
    """A target that waits for something else, such as a board or a process, and for no longer than its deadline."""

    @property
    def deadline(self) -> float:
        """Longest silence (s) before a call raises :class:`~hwloop.errors.TargetError`."""

    def with_deadline(self, deadline: float) -> Target:
        """The same target with another deadline (s)."""


@runtime_checkable
class Resumable(Protocol):
    """A device that answers from a log, from run number :attr:`logged` on."""

    @property
    def logged(self) -> int:
        """Number of the run that is answered next."""

    def seek(self, *, logged: int) -> None:
        """Answer run ``logged`` next."""


@runtime_checkable
class Stepped(Protocol):
    """A program of a target that computes every neuron at every step of a clock."""

    def n_ticks(self, t_stop: float) -> int:
        """Steps that a sample of a window ``0..t_stop`` (model s) takes."""


def able(thing: object, ability: type[Any]) -> Any:
    """``thing`` where it or its class has all that ``ability`` names, else None.

    What an object hands on to another one does not count: a recorded device has no abilities of its own.
    """
    wanted = [name for name in dir(ability) if not name.startswith("_")]
    held = getattr(thing, "__dict__", {})
    return thing if all(name in held or hasattr(type(thing), name) for name in wanted) else None


def promises_of(target: Target) -> Promises:
    """What ``target`` promises; nothing where it does not say."""
    found = target.promises if isinstance(target, Promising) else None
    return Promises() if found is None else found
