"""Network to Program: check, quantise, place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import CompileError, InputError
from ..neurons import PARAMETERS, check_parameters
from .capabilities import Capabilities
from .constraints import LayerValues, check_layer, dense_name, lif_name
from .loss import weight_losses
from .placement import place
from .program import LayerProgram, Program
from .quantise import Array, Quantised, ScaleRule, quantise, scale_of, scale_rules

if TYPE_CHECKING:
    from ..network import LIF, Dense, Network


def compile_network(
    net: Network,
    capabilities: Capabilities,
    *,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
    like: Program | None = None,
) -> Program:
    """Compile ``net`` for a target with ``capabilities``.

    Parameters
    ----------
    net : Network
    capabilities : Capabilities
    weight_scale : rule, or one rule a layer
        ``"max"``, ``"quantile:Q"``, or the model weight of 1 LSB.
    mask : physical neurons not to use
    like : Program, optional
        Reuse its placement and scales (``weight_scale`` and ``mask`` are then not looked at).

    Raises
    ------
    CompileError
        The target cannot carry the network: names limit, value, layer and the cheapest fix.
    InputError
        A parameter, scale or mask is outside its bounds, or ``like`` has another shape.
    """
    layers = network_values(net, like)
    for index, layer in enumerate(layers):
        check_layer(index, layer, capabilities, layers, None if like is None else like.layers[index].parameters)
    rules, placement = rules_and_placement(layers, capabilities, weight_scale, mask, like)
    programs = tuple(map(layer_program, layers, rules, placement, [capabilities.max_code] * len(layers)))
    lost: list[str] = []
    if like is None and capabilities.max_code is not None:
        lost = weight_losses(
            layers, programs, rules,
            lambda index, rule: layer_program(layers[index], rule, placement[index], capabilities.max_code),
        )  # fmt: skip
    found = Program(capabilities, programs, notes=_notes(layers, capabilities), warnings=tuple(lost))
    return found if net.is_plain_chain else replace(found, inputs=inputs_of(net))


def inputs_of(net: Network) -> tuple[tuple[str, int], ...]:
    """Name and units of each input of ``net``."""
    return tuple((name, net.structure.nodes[name].n) for name in net.structure.inputs)


def network_values(net: Network, like: Program | None = None) -> list[LayerValues]:
    """Weights and parameters of every population of ``net`` as arrays; raises as :func:`compile_network`.

    Of a chain, parameters that are those of ``like`` are its own arrays, checked when it was compiled.
    """
    if net.is_plain_chain:
        blocks = net.blocks
        held = [{}] * len(blocks) if like is None else [layer.parameters for layer in like.layers]
        if len(held) != len(blocks):
            held = [{}] * len(blocks)  # which is refused later on
        return [_values(index, *block, known) for index, (block, known) in enumerate(zip(blocks, held, strict=True))]
    from .graph import graph_values

    return graph_values(net)


def rules_and_placement(
    layers: list[LayerValues],
    capabilities: Capabilities,
    weight_scale: ScaleRule | Sequence[ScaleRule],
    mask: Iterable[int],
    like: Program | None,
) -> tuple[Sequence[ScaleRule], tuple[Array, ...]]:
    """Scale rule and physical neurons of each layer, those of ``like`` where given; raises as :func:`compile_network`."""
    if like is None:
        sizes = [layer.weight.shape[0] for layer in layers]
        return scale_rules(weight_scale, len(layers)), place(
            sizes, capabilities.n_neurons, mask, [layer.neurons_at for layer in layers]
        )
    _check_like(like, layers, capabilities)
    return like.scales, tuple(layer.neurons for layer in like.layers)


def layer_program(
    layer: LayerValues, rule: ScaleRule, neurons: Array, max_code: int | None, gain: Array | None = None
) -> LayerProgram:
    """One layer quantised by ``rule``; ``gain [n_out]`` is divided out of the weights first, see :class:`LayerProgram`."""
    if max_code is None:
        scale, result = 1.0, Quantised(layer.weight, 0, 0, 0.0)
    else:
        weight = layer.weight if gain is None else layer.weight / gain[:, None]
        scale = scale_of(weight, rule, max_code)
        result = quantise(weight, scale, max_code)
    return LayerProgram(
        codes=result.codes,
        scale=scale,
        max_code=max_code,
        neurons=neurons,
        parameters=layer.parameters,
        reset=layer.reset,
        max_spikes=layer.max_spikes,
        delay=layer.delay,
        saturated=result.saturated,
        zeroed=result.zeroed,
        rounding_rms=result.rounding_rms,
        dtype=str(layer.weight.dtype),
        gain=gain,
        blocks=layer.blocks,
        synapses=layer.synapses,
        bias=layer.bias,
        filtered=layer.filtered,
        v_init=layer.v_init,
        kind=layer.kind,
        name=layer.name,
    )


def _values(index: int, dense: Dense, lif: LIF, known: dict[str, Array]) -> LayerValues:
    return LayerValues(
        weight=as_array(dense.weight, f"{dense_name(index)}: weight"),
        parameters=_parameters(index, lif, known),
        reset=lif.reset,
        max_spikes=lif.max_spikes,
        delay=None if dense.delay is None else as_array(dense.delay, f"{dense_name(index)}: delay"),
        index=index,
    )


def _parameters(index: int, lif: LIF, known: dict[str, Array]) -> dict[str, Array]:
    """``known`` where the neurons have these values, else a checked copy of theirs."""
    asked = lif.parameters_dict()
    if known and all(_same(asked[name], known[name]) for name in PARAMETERS):
        return known
    check_parameters(asked, lif_name(index))
    return {name: as_array(asked[name], f"{lif_name(index)}: {name}") for name in PARAMETERS}


def _same(tensor: Tensor, array: Array) -> bool:
    found = tensor.detach().cpu().numpy()
    return found.dtype == array.dtype and found.shape == array.shape and bool((found == array).all())


def as_array(tensor: Tensor, what: str) -> Array:
    """A copy of ``tensor``; :class:`InputError` naming ``what`` for another dtype than float32 or float64."""
    if tensor.dtype not in (torch.float32, torch.float64):
        raise InputError(f"{what} has dtype {tensor.dtype}; allowed: float32 or float64, convert with .float()")
    # a copy: the network trains on, a program stays what it was
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _notes(layers: list[LayerValues], limits: Capabilities) -> tuple[str, ...]:
    held = limits.refractory_min * limits.speedup
    short = [layer.neurons_at for layer in layers if float(layer.parameters["t_ref"].min()) < held]
    if not short:
        return ()
    return (f"{', '.join(short)}: t_ref below {held:g} s asked; the device holds at least {held:g} s",)


def _check_like(like: Program, layers: list[LayerValues], limits: Capabilities) -> None:
    if like.capabilities != limits:
        raise CompileError(
            limit=f"a program for {limits.name} with these limits",
            value=f"a program for {like.target}",
            layer="like",
            fix="compile once without like= for this target",
        )
    found, wanted = [layer.weight.shape for layer in layers], [layer.codes.shape for layer in like.layers]
    if found != wanted:
        raise InputError(f"like has layers {wanted}, the network {found}; compile it once without like=")
