"""What the joint simulation of a loop takes and returns: arrays, nothing else.

A component is a group of neurons, of one population or of several, with synapses among them and from outside. A spike of
a source reaches the targets of each of its *bundles* after the bundle's delay:

    CURRENT     tau_mem u' = -u + i ,  tau_syn i' = -i      an arrival of weight w:  i += w
    JUMP        tau_mem u' = -u                                                      u += w
    INTEGRATE           u' = ramp                                                    u += w

``u`` is measured from the asymptote ``v_leak + bias``. Arrivals of one instant act together; a neuron of the last two kinds
that they bring to its threshold spikes at that instant, before what its own spike causes at the same instant arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..contract import Events, FloatArray, IntArray

#: Kinds of neurons.
CURRENT, JUMP, INTEGRATE = range(3)

#: Neuron parameters in the order of the sensitivities.
COLUMNS = ("tau_mem", "tau_syn", "threshold", "reset", "t_ref", "start", "ramp")

#: ``cause`` of a spike that no arrival fired at its own instant: the membrane crossed the threshold between events.
CROSSED = -1


class Neurons(NamedTuple):
    """Neurons of a component; membranes relative to the asymptote.

    ``tau_mem, tau_syn, t_ref, reset, start, ramp`` are ``[N]`` (s, s, s, membrane, membrane, membrane per s), ``threshold``
    is ``[1 or batch, N]``, all of one float dtype; ``subtract [N]`` bool (reset kind); ``max_spikes [N]`` int64 (0: no cap);
    ``kind [N]`` int64. ``tau_syn`` is read of ``CURRENT`` alone, ``ramp`` of ``INTEGRATE`` alone, which has no ``tau_mem``.
    """

    tau_mem: FloatArray
    tau_syn: FloatArray
    t_ref: FloatArray
    reset: FloatArray
    start: FloatArray
    ramp: FloatArray
    threshold: FloatArray
    subtract: Any
    max_spikes: IntArray
    kind: IntArray


class Synapses(NamedTuple):
    """Synapses by bundle, bundles by source.

    Sources ``0 .. n_external - 1`` are units of the external events, ``n_external + j`` is neuron ``j``. Source ``s`` has
    bundles ``bundle_starts[s] .. bundle_starts[s + 1]``; bundle ``b`` has ``delay[b]`` (s, >= 0) and synapses
    ``first[b] .. first[b + 1]``; synapse ``s`` adds ``weight[s]`` to neuron ``target[s]``. Integers are int64.
    """

    bundle_starts: IntArray
    delay: FloatArray
    first: IntArray
    target: IntArray
    weight: FloatArray


@dataclass(frozen=True)
class Component:
    """Neurons and synapses of one component.

    ``shape`` keeps what an implementation derives from the integers alone, and may be shared by components that have them
    in common; ``memo`` what it derives from all.
    """

    n_external: int
    neurons: Neurons
    synapses: Synapses
    shape: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)
    memo: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(self.neurons.tau_mem)


@dataclass(frozen=True)
class Arrivals:
    """Every arrival before ``t_stop`` in the order in which they acted, ``[batch, arrivals]``.

    ``origin``: place of the spike that caused it, or ``-1 - event`` for an external one; ``bundle``; ``counts [batch]``.
    """

    bundle: IntArray
    origin: IntArray
    counts: IntArray


@dataclass(frozen=True)
class JointTrace:
    """The spikes of all neurons and what the backward pass needs of them, each ``[batch, spikes]``.

    Attributes
    ----------
    spikes : sorted by time; at one time by cause, then by unit: a spike stands before those that it causes.
    current : i(T_k), 0 where the neuron has none; ``-inf`` where no derivative exists (a measured spike within the refractory
        time, or one of a membrane that does not rise); ``+inf`` where its time is that of an arrival, or a ramp's.
    release_time, release_current : (s) end of the refractory time (``inf``: not before ``t_stop`` or the next spike)
        and the current then; equal to time and current of the spike where ``t_ref = 0``.
    residual : ``u(T_k) - threshold``: rounding, the overshoot of a jump, or the mismatch of a measured spike.
    after : how many arrivals had acted when the neuron spiked.
    cause : the arrival that fired it, or :data:`CROSSED`.
    """

    spikes: Events
    current: FloatArray
    release_time: FloatArray
    release_current: FloatArray
    residual: FloatArray
    after: IntArray
    cause: IntArray
    arrivals: Arrivals


class Gradients(NamedTuple):
    """Gradients of weights ``[synapses]``, delays ``[bundles]``, external times ``[batch, events]``.

    ``own``: of the neurons' parameters by :data:`COLUMNS`, each ``[N]`` float64, or none.
    """

    weight: FloatArray
    delay: FloatArray
    times: FloatArray
    own: dict[str, FloatArray]


@dataclass(frozen=True)
class JointGradient:
    """Gradients of weights ``[synapses]``, delays ``[bundles]`` and external times ``[batch, events]``.

    ``upstream [batch, spikes]`` is the whole ``dL/dT`` of every spike: its own and that of all that it caused.
    """

    weight: FloatArray
    delay: FloatArray
    times: FloatArray
    upstream: FloatArray
