"""eventax: event by event in JAX, the membrane between events by an ODE solver (Diffrax), EventProp gradients.

Set up with its default solver and a step of .05 tau_syn; times are in units of tau_syn. A reset far below the threshold leaves
one spike a neuron.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from eventax.evnn import FFEvNN
from eventax.neuron_models import LIF
from numpy.typing import NDArray

from ..workloads import T_STOP, TAU_MEM, TAU_SYN
from .base import Description, Problem, Unavailable

#: Step of the solver (tau_syn).
STEP = 0.05

#: Far enough below threshold that no neuron spikes twice.
ONE_SPIKE_RESET = -1000.0

#: Above this many neurons in a layer a batch takes minutes; samples of a batch.
LARGE_LAYER, BATCH = 400, 4


class Eventax:
    """``FFEvNN`` of LIF neurons, answered by first spikes."""

    def __init__(self, problem: Problem) -> None:
        problem.plain_for("eventax, as set up here,")
        if problem.max_spikes != 1:
            raise Unavailable("set up here for one spike a neuron")
        if max(len(weight) for weight in problem.weights) > LARGE_LAYER:
            raise Unavailable(f"a step of more than {LARGE_LAYER} neurons takes minutes")
        batch = min(BATCH, problem.batch)
        self._initial = [jnp.asarray(w.numpy().T, jnp.float32) for w in problem.weights]
        self._times = jnp.asarray(problem.inputs.times[:batch, :, None] / TAU_SYN, jnp.float32)
        labels = jnp.asarray(problem.inputs.labels[:batch])
        self._stop = T_STOP / TAU_SYN
        whole, first = self._network(len(self._initial)), self._network(1)

        def times_of(net: Any, weights: list[Any], times: Any) -> Any:
            filled = _with_weights(net, weights)
            found = jax.vmap(filled.ttfs)(times)
            return jnp.where(jnp.isfinite(found), found, self._stop)

        def loss(weights: list[Any], times: Any) -> Any:
            scores = -jnp.minimum(times_of(whole, weights, times), self._stop)
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1))

        self._first = jax.jit(lambda weights, times: times_of(first, weights[:1], times))
        self._last = jax.jit(lambda weights, times: times_of(whole, weights, times))
        self._gradient = jax.jit(jax.value_and_grad(loss))
        self._found: list[Any] = []
        self.scale([1.0] * len(self._initial))
        name = f"ODE (step {STEP:g} tau_syn)"
        note = "" if batch == problem.batch else f"batch {batch}, the full one takes minutes"
        self.description = Description(version("eventax"), "float32", name, None, batch, note)

    def _network(self, layers: int) -> Any:
        sizes = [w.shape[1] for w in self._initial[:layers]]
        n_in = self._initial[0].shape[0]
        return FFEvNN(
            sizes, n_in, LIF, self._stop, key=jax.random.PRNGKey(0), solver_stepsize=STEP, output_no_spike_value=self._stop,
            max_event_steps=n_in + 2 * sum(sizes) + 1, buffer_capacity=n_in + sum(sizes) + 1, thresh=1.0, tsyn=1.0,
            tmem=TAU_MEM / TAU_SYN, vreset=ONE_SPIKE_RESET, init_weights=0.0, init_bias=0.0,
        )  # fmt: skip

    def scale(self, factors: Sequence[float]) -> None:
        """See :class:`Peer`."""
        self._weights = [initial * factor for initial, factor in zip(self._initial, factors, strict=True)]

    def rates(self) -> list[float]:
        """See :class:`Peer`; of a network with one hidden layer."""
        found = [self._first(self._weights, self._times), self._last(self._weights, self._times)]
        return [float((t < self._stop).mean()) for t in found]

    def fired(self) -> NDArray[np.bool_]:
        """See :class:`Peer`."""
        return np.asarray(self._first(self._weights, self._times) < self._stop)

    def gradients(self) -> list[NDArray[Any]] | None:
        """See :class:`Peer`."""
        return [np.asarray(found).T for found in self._found]

    def step(self) -> None:
        """See :class:`Peer`; cross-entropy on first spike times."""
        _, self._found = jax.block_until_ready(self._gradient(self._weights, self._times))


def _with_weights(net: Any, weights: Sequence[Any]) -> Any:
    """``net`` with ``weights [n_in, n_out]`` of each layer in its one matrix: rows are its neurons, then its inputs."""
    import equinox

    matrix = net.neuron_model.weights
    neurons, start = matrix.shape[1], 0
    rows = neurons
    for weight in weights:
        n_in, n_out = weight.shape
        matrix = matrix.at[rows : rows + n_in, start : start + n_out].set(weight)
        rows, start = start, start + n_out
    return equinox.tree_at(lambda tree: tree.neuron_model.weights, net, matrix)
