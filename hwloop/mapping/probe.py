"""A probe: does a layer fall silent or saturate because of what its weights became?

The network is simulated with the weights that the codes stand for, and each layer's spikes are counted against the model's own:
what is left of the loss is the target's, which a run there shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import CompileError
from ..spikes import Spikes
from .constraints import lif_name
from .held import held_values
from .loss import SCALE_RULES
from .program import Program
from .quantise import ScaleRule

if TYPE_CHECKING:
    from ..network import Network

#: A neuron counts as silenced below this share of the model's spikes, and as saturated above; a layer is told where that is so
#: for more than :data:`NEURONS` of its neurons, and has at least so many spikes that it means something.
FEWEST, MOST, NEURONS, LEAST_SPIKES = 0.5, 2.0, 0.5, 20
#: Samples of a probe that are simulated.
SAMPLES = 200


def probe_losses(
    net: Network, program: Program, spikes: Spikes, compiling: Callable[[ScaleRule], Program]
) -> list[str]:  # fmt: skip
    """One sentence for each layer that fires far less or more than the model on ``spikes``, with a scale rule as tried.

    ``compiling(rule)`` compiles ``net`` by another scale rule.
    """
    probe = spikes[:SAMPLES].detach()
    model, found = counts(net, probe), quantised_counts(net, program, probe)
    texts = [text for k in range(len(model)) if (text := _told(_called(net, k), model[k], found[k])) is not None]
    if not texts:
        return []
    advice = "no scale rule helps: fine-tune on the target"
    for rule in SCALE_RULES:
        try:
            other = quantised_counts(net, compiling(rule), probe)
        except CompileError:
            continue
        if not any(map(_change, model, other)):
            advice = f"compile with weight_scale={rule!r} (tried: {', '.join(str(int(layer.sum())) for layer in other)} spikes)"
            break
    return [*texts[:-1], f"{texts[-1]}: {advice}"]


@torch.no_grad()
def counts(net: Network, spikes: Spikes) -> list[Tensor]:
    """Spikes of each neuron, ``[n]`` a layer."""
    return [population.unit_counts().sum(0).cpu() for population in net(spikes).populations]


def quantised_counts(net: Network, program: Program, spikes: Spikes) -> list[Tensor]:
    """Spikes of each neuron with the weights that the codes of ``program`` stand for."""
    held = copy.deepcopy(net)
    with torch.no_grad():
        for tensor, value in held_values(held, program):
            tensor.copy_(torch.as_tensor(value))
    return counts(held, spikes)


def _change(model: Tensor, found: Tensor) -> str | None:
    """What became of a layer whose neurons fired ``model [n]`` times and now ``found [n]``; None where no more than usual."""
    if max(int(model.sum()), int(found.sum())) < LEAST_SPIKES:
        return None
    active = model > 0
    silenced = int((found[active] < FEWEST * model[active]).sum())
    if silenced > NEURONS * int(active.sum()):
        return "falls silent" if not bool(found.any()) else f"falls silent in {silenced} neurons"
    saturated = int((found > MOST * model).sum())
    return f"saturates in {saturated} neurons" if saturated > NEURONS * len(model) else None


def silent_layers(net: Network, spikes: Spikes) -> list[str]:
    """One sentence for each layer that is silent in the model itself: nothing that compiling lost."""
    model = counts(net, spikes[:SAMPLES].detach())
    return [
        f"{_called(net, k)} is silent on the probe, in the model already: train it, or raise the weights before it"
        for k, layer in enumerate(model)
        if not bool(layer.any())
    ]


def _called(net: Network, index: int) -> str:
    """What messages call population ``index``: the layer of a chain, the name in a graph."""
    if net.is_plain_chain:
        return lif_name(index)
    name = net.structure.populations[index]
    return f"population {name!r} ({type(net.structure.nodes[name]).__name__})"


def _told(called: str, model: Tensor, found: Tensor) -> str | None:
    change = _change(model, found)
    if change is None:
        return None
    return f"{called} {change} on the probe with the rounded weights: {int(found.sum())} spikes, {int(model.sum())} in the model"
