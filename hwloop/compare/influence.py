"""What each input event contributed to a neuron's membrane at a given time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from ..errors import InputError
from .trains import Floats, Ints


class Network(Protocol):
    """What the comparison needs of a network: its ``(Dense, LIF)`` pairs, first to last."""

    @property
    def blocks(self) -> Sequence[tuple[Any, Any]]:
        """Pairs of connection (``weight [n_out, n_in]``, ``delay [n_in]`` or None) and neurons (``parameters_dict()``)."""
        ...


@dataclass(frozen=True)
class InputEvent:
    """One input event of a neuron.

    Attributes
    ----------
    neuron : int
        Where it comes from, in the layer before.
    time : float (s)
        Of the presynaptic spike; it arrives ``delay`` later.
    delay : float (s)
    weight : float
    contribution : float
        Its share of the membrane at the diverging spike, in units of the threshold's scale.
    """

    neuron: int
    time: float
    delay: float
    weight: float
    contribution: float


@dataclass(frozen=True, eq=False)
class NeuronModel:
    """Weights and time constants of one layer, as plain arrays.

    Attributes
    ----------
    weight : ``[n_out, n_in]``
    delay : ``[n_in]`` (s)
    tau_mem, tau_syn, t_ref : ``[n_out]`` (s)
    """

    weight: Floats
    delay: Floats
    tau_mem: Floats
    tau_syn: Floats
    t_ref: Floats

    def contributions(self, neuron: int, at: float, own_spikes: Floats, times: Floats, units: Ints) -> Floats:
        """Share of each input event in the membrane of ``neuron`` at ``at`` (s), ``[events]``; 0 where not arrived.

        An event contributes ``w eps(s)``, s the time since its arrival and ``eps`` the response of the membrane
        to a unit current jump. A spike of the neuron itself wipes the membrane, not the current: what arrived
        before the last one acts through the current that was left when the refractory time ended.
        """
        tau_syn = self.tau_syn[neuron]
        arrival = times + self.delay[units]
        earlier = own_spikes[own_spikes < at]
        awake = min(at, float(earlier[-1] + self.t_ref[neuron])) if len(earlier) else 0.0
        left = np.exp(-np.maximum(awake - arrival, 0.0) / tau_syn)
        since = at - np.maximum(arrival, awake)
        response = self._response(neuron, np.maximum(since, 0.0))
        return np.where(since > 0, self.weight[neuron, units] * left * response, 0.0)

    def strongest(
        self, neuron: int, at: float, own_spikes: Floats, times: Floats, units: Ints, limit: int
    ) -> tuple[tuple[InputEvent, ...], int]:
        """The ``limit`` strongest input events by size of their contribution, and how many there are."""
        share = self.contributions(neuron, at, own_spikes, times, units)
        acting = np.flatnonzero(share)
        order = acting[np.argsort(-np.abs(share[acting]), kind="stable")][:limit]
        events = tuple(
            InputEvent(
                int(units[k]), float(times[k]), float(self.delay[units[k]]),
                float(self.weight[neuron, units[k]]), float(share[k]),
            )
            for k in order.tolist()
        )  # fmt: skip
        return events, len(acting)

    def _response(self, neuron: int, since: Floats) -> Floats:
        tau_mem, tau_syn = float(self.tau_mem[neuron]), float(self.tau_syn[neuron])
        # the slower exponential is taken out: no difference of nearly equal numbers, and nothing overflows
        x = since * abs(tau_mem - tau_syn) / (tau_mem * tau_syn)
        phi = np.where(x == 0.0, 1.0, -np.expm1(-x) / np.where(x == 0.0, 1.0, x))
        return np.asarray(since / tau_mem * np.exp(-since / max(tau_mem, tau_syn)) * phi)


def neuron_models(net: Network, sizes: Sequence[int], n_in: int | None) -> list[NeuronModel]:
    """One model a spiking layer; raises :class:`InputError` where ``net`` is not of the records' shape."""
    found = [block[1].n for block in net.blocks]
    if found != list(sizes):
        raise InputError(
            f"net has spiking layers of {found} neurons, the records hold {list(sizes)}; pass the network that made them"
        )
    first = net.blocks[0][0].n_in
    if n_in is not None and n_in != first:
        raise InputError(f"net takes {first} inputs, the records hold {n_in}; pass the network that made them")
    return [_model(dense, lif) for dense, lif in net.blocks]


def _model(dense: Any, lif: Any) -> NeuronModel:
    parameters = {name: _array(value) for name, value in lif.acting_parameters().items()}
    delay = np.zeros(dense.n_in) if dense.delay is None else _array(dense.delay)
    return NeuronModel(
        _array(dense.acting_weight()), delay, parameters["tau_mem"], parameters["tau_syn"], parameters["t_ref"]
    )


def _array(value: Tensor) -> Floats:
    return value.detach().cpu().double().numpy()
