"""The peers, by name; each module imports its library when it is asked for, so that one missing stops none."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ..workloads import Workload
from .base import Description, Peer, Problem, Unavailable, tune

__all__ = [
    "AHEAD_OF",
    "DOUBLE",
    "PEERS",
    "REFERENCE",
    "VARIANT",
    "Description",
    "Peer",
    "Problem",
    "Unavailable",
    "build",
    "made",
    "tune",
]

#: What every other row is held against.
REFERENCE = "hwloop"

#: hwloop's general path: taus of its own in every neuron.
VARIANT = "hwloop-per-neuron"

#: hwloop in float64, in the table of exactness alone.
DOUBLE = "hwloop-float64"

#: Peer name to (module, class). The order is that of the table.
PEERS: dict[str, tuple[str, str]] = {
    REFERENCE: ("hwloop", "SharedTaus"),
    VARIANT: ("hwloop", "PerNeuronTaus"),
    "norse": ("norse", "Norse"),
    "snntorch": ("snntorch", "SnnTorch"),
    "spikingjelly": ("spikingjelly", "SpikingJelly"),
    "jaxsnn": ("jaxsnn", "JaxSnn"),
    "cumsum": ("cumsum", "SortedCumsum"),
    "exactsnn": ("exactsnn", "ExactSnn"),
    "exact-adjoint": ("exact_adjoint", "ExactAdjoint"),
    "eventax": ("eventax", "Eventax"),
    "dense": ("dense", "DenseNetwork"),
}

#: Spiking peers: those that hwloop is to be ahead of.
AHEAD_OF = tuple(name for name in PEERS if name not in (REFERENCE, VARIANT, "dense"))

#: Why a peer is not run on a workload, by (peer, workload).
NOT_COMPARABLE = {
    ("cumsum", "MULTI"): "one spike per neuron by construction; the workload has several",
    ("jaxsnn", "MULTI"): "event buffers of fixed size: set up, as in its examples, for one spike a neuron",
}


def build(name: str, workload: Workload, seed: int) -> Peer:
    """The peer ``name`` set up for ``workload``, untuned.

    Raises :class:`Unavailable` with the reason where it is not installed or cannot run this workload.
    """
    reason = NOT_COMPARABLE.get((name, workload.name))
    if reason is not None:
        raise Unavailable(reason)
    return made(name, Problem.of(workload, seed))


def made(name: str, problem: Problem) -> Peer:
    """The peer ``name`` on ``problem``; raises :class:`Unavailable` with the reason."""
    module, class_name = ("hwloop", "DoublePrecision") if name == DOUBLE else PEERS[name]
    try:
        constructor: Callable[[Problem], Peer] = getattr(import_module(f".{module}", __name__), class_name)
    except ModuleNotFoundError as error:
        raise Unavailable(f"not installed (no module {error.name})") from error
    except ImportError as error:
        raise Unavailable(f"cannot be imported: {error}") from error
    return constructor(problem)
