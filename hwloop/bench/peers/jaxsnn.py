"""jaxsnn: event-driven EventProp in JAX, compiled by XLA for one core.

Set up as its own layered Yin-Yang example: a reset far below threshold leaves one spike a neuron, event buffers
hold every input and one spike of every neuron, loss on first spike times.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxsnn.event.modules import LIF, Linear, Source
from jaxsnn.event.modules.lif.lif import LIFParameters
from jaxsnn.event.topology import Topology
from jaxsnn.event.types import Spike
from numpy.typing import NDArray

from ..workloads import T_STOP, TAU_MEM, TAU_SYN
from .base import Description, Problem, Unavailable

logging.getLogger("jaxsnn").setLevel(logging.ERROR)  # it warns that its hardware package is missing

#: Far enough below threshold that no neuron spikes twice; the value of jaxsnn's example.
ONE_SPIKE_RESET = -1000.0

#: Above this many neurons in the hidden layer a batch takes minutes; take this many samples instead.
LARGE_LAYER, SMALL_BATCH = 400, 4


class JaxSnn:
    """Source - LIF - LIF with EventProp gradients."""

    def __init__(self, problem: Problem) -> None:
        problem.plain_for("jaxsnn, as set up here,")
        if len(problem.weights) != 2:
            raise Unavailable("set up here for one hidden layer")
        inputs, weights = problem.inputs, problem.weights
        self._initial = [jnp.asarray(w.numpy().T, jnp.float32) for w in weights]
        n_hidden, n_out = (w.shape[1] for w in self._initial)
        batch = SMALL_BATCH if n_hidden > LARGE_LAYER else len(inputs.times)
        self._spikes = _as_spikes(inputs.times[:batch])
        labels = jnp.asarray(inputs.labels[:batch])
        init, apply = _network(inputs.times.shape[1], n_hidden, n_out, self._spikes.time.shape[1])
        self._parameters: dict[str, Any] = init(jax.random.PRNGKey(0))
        self.scale([1.0, 1.0])

        def first_times(parameters: dict[str, Any], spikes: Spike) -> tuple[jax.Array, jax.Array]:
            events = apply({"inp": spikes}, parameters)
            return _first(events["hidden"], n_hidden), _first(events["out"], n_out)

        def loss(parameters: dict[str, Any], spikes: Spike) -> jax.Array:
            scores = -jnp.minimum(first_times(parameters, spikes)[1], T_STOP) / TAU_SYN
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1))

        self._first_times = jax.jit(first_times)
        self._gradient = jax.jit(jax.value_and_grad(loss))
        note = "jitted" if batch == len(inputs.times) else f"jitted; batch {batch}, the full one takes minutes"
        self.description = Description(version("jaxsnn"), "float32", "exact (EventProp)", None, batch, note)

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        for name, initial, factor in zip(("syn1", "syn2"), self._initial, factors, strict=True):
            self._parameters[name] = initial * factor

    def rates(self) -> list[float]:
        """See :class:`Peer`."""
        return [float(jnp.isfinite(t).mean()) for t in self._first_times(self._parameters, self._spikes)]

    def step(self) -> None:
        """See :class:`Peer`; cross-entropy on first spike times."""
        _, self._found = jax.block_until_ready(self._gradient(self._parameters, self._spikes))

    def fired(self) -> NDArray[np.bool_]:
        """See :class:`Peer`."""
        return np.asarray(jnp.isfinite(self._first_times(self._parameters, self._spikes)[0]))

    def gradients(self) -> list[NDArray[Any]] | None:
        """See :class:`Peer`."""
        return [np.asarray(self._found[name]).T for name in ("syn1", "syn2")]


def _network(n_in: int, n_hidden: int, n_out: int, n_events: int) -> tuple[Any, Any]:
    parameters = LIFParameters(v_reset=ONE_SPIKE_RESET, v_th=1.0, tau_syn=TAU_SYN, tau_mem=TAU_MEM)
    topology = Topology(t_max=T_STOP, backprop_method="eventprop")
    topology.add(
        {
            "inp": Source(n_in),
            "hidden": LIF(n_hidden, n_events + n_hidden, parameters),
            "out": LIF(n_out, n_hidden + n_out, parameters),
            "syn1": Linear(),
            "syn2": Linear(),
        }
    )
    topology.connect([("inp", "syn1"), ("syn1", "hidden"), ("hidden", "syn2"), ("syn2", "out")])
    init, apply = topology.done()
    return init, apply


def _as_spikes(times: np.ndarray[Any, np.dtype[np.float64]]) -> Spike:
    """Sorted events ``[batch, events]``; jaxsnn marks an empty slot by index -1 and time inf."""
    order = np.argsort(times, 1)
    sorted_times = np.take_along_axis(times, order, 1)
    width = int(np.isfinite(sorted_times).sum(1).max())
    time = jnp.asarray(sorted_times[:, :width], jnp.float32)
    return Spike(
        time=time,
        idx=jnp.where(jnp.isfinite(time), jnp.asarray(order[:, :width]), -1),
        current=jnp.zeros_like(time),
        layer_idx=jnp.zeros_like(time, dtype=int),
        internal=jnp.ones_like(time, dtype=bool),
    )


def _first(events: Spike, n: int) -> jax.Array:
    """First spike ``[batch, n]`` of each neuron, by one scatter instead of jaxsnn's loop over neurons."""

    def one(time: jax.Array, unit: jax.Array, internal: jax.Array) -> jax.Array:
        return jnp.full(n, jnp.inf).at[unit].min(jnp.where(internal, time, jnp.inf))

    return jax.vmap(one)(events.time, events.idx, events.internal)
