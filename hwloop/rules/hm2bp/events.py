"""HM2-BP on the event simulator in continuous time: spike lists alone, simulated or measured.

Chains of Dense and LIF stand here, matrix by matrix; other feed-forward graphs in :mod:`.graph_events`, synapse by synapse.

Here the macro relation is exact: in steady refractory-cut kernels ``sum_j w_ij e_i|j = (v_th - v_leak) o_i`` for every
neuron that the model itself made fire, whatever the weights, for both resets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError
from ...network import LIF, Dense, Network
from ...network.trains import merged
from ...record import Record
from ...simulate.contract import FloatArray
from ...spikes import Spikes

if TYPE_CHECKING:  # kernels are imported where they are needed: Numba takes a while
    from .event_kernels import Constants, Trains


def check(net: Network) -> None:
    """Refuse neurons whose membrane does not start anew at its resting potential after a spike."""
    for k, (_, lif) in enumerate(net.blocks):
        if not bool((lif.v_reset == lif.v_leak).all()):
            raise InputError(
                f"layer {2 * k + 1} (LIF): v_reset differs from v_leak; HM2-BP's kernels start from rest after a spike: "
                "set v_reset = v_leak"
            )


def forward(net: Network, inputs: Spikes | Mapping[str, Spikes], measured: Record | None) -> Record:
    """Simulate, or take the measured spikes; the readout is the output's spike counts."""
    structure = net.structure
    names = structure.populations
    if measured is None:
        run = net(inputs)
    elif len(measured) != len(names):
        raise InputError(f"the measurement has {len(measured)} populations; the network has {len(names)}")
    else:
        run = measured
    given = inputs if isinstance(inputs, Spikes) else merged([inputs[name] for name in structure.inputs])
    populations = tuple(population.detach() for population in run.populations)
    dtype = next((d for link in structure.links if (d := link.composition.dtype) is not None), torch.float32)
    return Record(populations, given.detach(), readout=populations[-1].unit_counts().to(dtype), names=names)


def gradients(net: Network, record: Record, grad: Tensor, teacher: int) -> dict[str, Tensor]:
    """Weight gradients from ``grad``, the loss gradient on the output counts."""
    if record.inputs is None:
        raise InputError("the record holds no inputs; HM2-BP needs their spikes")
    trains = [record.inputs, *record.populations]
    trains[-1] = taught(trains[-1], grad, teacher)
    names = {id(p): name for name, p in net.named_parameters()}
    found: dict[str, Tensor] = {}
    signal = grad.detach()
    for k in range(len(net.blocks) - 1, -1, -1):
        dense, lif = net.blocks[k]
        with torch.no_grad():
            pre, acting, params = dense.transmit(trains[k]), dense.acting_weight(), lif.acting_parameters()
        delta = signal / (params["v_th"] - params["v_leak"]).detach()
        below = np.zeros((len(grad), dense.n_in if k else 0), _dtype(dense.weight))
        gradient = _layer(acting.detach(), params, pre, trains[k + 1], delta, below)
        if id(dense.weight) in names:
            found[names[id(dense.weight)]] = _asked(dense, gradient)
        signal = torch.from_numpy(below)
    return found


def _asked(dense: Dense, gradient: Tensor) -> Tensor:
    """Gradient of the weights that are asked for, from that of those that act: in a device twin they differ."""
    if dense.mismatch is None:
        return gradient
    weight = dense.weight.detach().requires_grad_()
    with torch.enable_grad():
        (found,) = torch.autograd.grad(dense.transmitted(weight), weight, gradient)
    return found


def effects(pre: Spikes, post: Spikes, lif: LIF) -> FloatArray:
    """``e [batch, n_out, n_in]`` float64 of every pair of trains."""
    from .event_kernels import effects_of

    found = np.zeros((len(pre), lif.n, pre.n_units))
    for b in range(len(pre)):
        effects_of(sorted_trains(pre, b), sorted_trains(post, b), constants_of(lif.acting_parameters()), found[b])
    return found


def taught(output: Spikes, grad: Tensor, teacher: int) -> Spikes:
    """``output`` with ``teacher`` regular spikes for every neuron that is silent and is asked for more (``grad < 0``)."""
    wanted = (output.unit_counts() == 0) & (grad < 0)
    if not teacher or not bool(wanted.any()):
        return output
    beats = output.t_stop * torch.arange(1, teacher + 1, dtype=torch.float64) / teacher
    pairs = []
    for (times, units), row in zip(output.to_events(), wanted, strict=True):
        new = torch.nonzero(row)[:, 0].numpy()
        all_times = np.concatenate([times, np.repeat(beats.numpy(), len(new))])
        all_units = np.concatenate([units, np.tile(new, teacher)])
        order = np.argsort(all_times, kind="stable")
        pairs.append((all_times[order], all_units[order]))
    return Spikes.from_events(pairs, output.n_units, output.t_stop, output.times.dtype)


def _layer(
    weight: Tensor, params: Mapping[str, Tensor], pre: Spikes, post: Spikes, delta: Tensor, below: FloatArray
) -> Tensor:
    """Gradient of one layer's weight; writes ``sum_i delta_i w_ij e_i|j / o_j`` where ``below`` has columns."""
    from .event_kernels import layer_gradient

    w = np.ascontiguousarray(weight.numpy())
    gradient = np.zeros(w.shape)
    threshold = (params["v_th"] - params["v_leak"]).detach().numpy().astype(np.float64)
    rows = np.ascontiguousarray(delta.numpy().astype(np.float64))
    effect = np.empty(w.shape)
    for b in range(len(pre)):
        layer_gradient(
            sorted_trains(pre, b),
            sorted_trains(post, b),
            constants_of(params),
            w,
            threshold,
            rows[b],
            effect,
            gradient,
            below[b],
        )
    return torch.from_numpy(gradient).to(weight.dtype)


def sorted_trains(spikes: Spikes, sample: int) -> Trains:
    """Spike times of one sample grouped by unit, float64."""
    from .event_kernels import Trains

    n = int(spikes.counts[sample])
    units, times = spikes.units[sample, :n].numpy(), spikes.times[sample, :n].detach().numpy().astype(np.float64)
    order = np.argsort(units, kind="stable")
    starts = np.zeros(spikes.n_units + 1, np.int64)
    np.cumsum(np.bincount(units, minlength=spikes.n_units), out=starts[1:])
    return Trains(times[order], starts)


def constants_of(params: Mapping[str, Tensor]) -> Constants:
    """Time constants and hold of each neuron (s), float64."""
    from .event_kernels import Constants

    names = ("tau_mem", "tau_syn", "t_ref")
    return Constants(*(params[name].detach().numpy().astype(np.float64) for name in names))


def _dtype(weight: Tensor) -> np.dtype[np.float64]:
    return weight.detach().numpy().dtype
