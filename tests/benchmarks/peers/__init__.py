"""The peers, by name; each module imports its library when it is asked for, so that one missing stops none."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import torch

from ..workloads import Inputs, Workload, make_weights
from .base import Description, Peer, Unavailable, tune

__all__ = ["PEERS", "REFERENCE", "VARIANT", "Description", "Peer", "Unavailable", "build", "tune"]

#: What every other row is held against.
REFERENCE = "hwloop"

#: hwloop's general path: taus of its own in every neuron.
VARIANT = "hwloop-per-neuron"

#: Peer name to (module, class). The order is that of the table.
PEERS: dict[str, tuple[str, str]] = {
    REFERENCE: ("hwloop", "SharedTaus"),
    VARIANT: ("hwloop", "PerNeuronTaus"),
    "norse": ("norse", "Norse"),
    "snntorch": ("snntorch", "SnnTorch"),
    "spikingjelly": ("spikingjelly", "SpikingJelly"),
    "jaxsnn": ("jaxsnn", "JaxSnn"),
    "cumsum": ("cumsum", "SortedCumsum"),
    "dense": ("dense", "DenseNetwork"),
}

#: Why a peer is not run on a workload, by (peer, workload).
NOT_COMPARABLE = {
    ("cumsum", "MULTI"): "one spike per neuron by construction; the workload has several",
    ("jaxsnn", "MULTI"): "event buffers of fixed size: set up, as in its examples, for one spike a neuron",
}


def build(name: str, workload: Workload, inputs: Inputs, seed: int) -> Peer:
    """The peer ``name`` set up for ``workload``, untuned.

    Raises :class:`Unavailable` with the reason where it cannot be imported or cannot run this workload.
    """
    reason = NOT_COMPARABLE.get((name, workload.name))
    if reason is not None:
        raise Unavailable(reason)
    module, class_name = PEERS[name]
    try:
        constructor: Callable[..., Peer] = getattr(import_module(f".{module}", __name__), class_name)
    except ImportError as error:
        raise Unavailable(f"cannot be imported: {error}") from error
    weights = [torch.from_numpy(w) for w in make_weights(workload, seed)]
    if module == "hwloop":
        return constructor(weights, inputs, workload.max_spikes)
    return constructor(weights, inputs)
