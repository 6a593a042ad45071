"""Networks as a strict document and arrays: structure, options and every tensor, whole and without code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn

from ..array_file import Array, ArrayReader
from ..errors import InputError
from ..storage import malformed
from ..strict_documents import Name, StrictDocument
from .conv2d import Conv2d
from .dense import Dense
from .elementwise import Delay, Flatten, Scale, Sparse
from .lif import LIF
from .linear_map import LinearMap
from .model import Network
from .pools import AvgPool2d, SumPool2d
from .populations import IF, LI, DeltaLIF, Input, Population
from .structure import Projection

#: Most units of a population, and modules of a network, in a file: far above what is simulated.
MOST_UNITS, MOST_MODULES = 2**24, 10_000
_REALS = ("float32", "float64")
_Size = Annotated[int, Field(ge=0, le=MOST_UNITS)]
Option: TypeAlias = (
    bool | _Size | Literal["value", "subtract"] | Annotated[tuple[_Size, ...], Field(max_length=3)] | None
)


class ModuleText(StrictDocument):
    """A layer: its options, and the names of its tensors; those in ``trained`` are parameters that are trained."""

    kind: Name
    options: Annotated[dict[Name, Option], Field(max_length=16, default_factory=dict)]
    tensors: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    trained: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    parameters: Annotated[tuple[Name, ...], Field(max_length=16)] = ()


class ProjectionText(StrictDocument):
    """A :class:`~hwloop.network.Projection`."""

    source: Name
    target: Name
    maps: Annotated[tuple[ModuleText, ...], Field(min_length=1, max_length=100)]


class NetworkText(StrictDocument):
    """A network: ``layers`` of a chain, or ``nodes``, ``projections`` and ``output`` of a graph."""

    format: Literal["hwloop-network"]
    version: Literal[1]
    layers: Annotated[tuple[ModuleText, ...], Field(max_length=MOST_MODULES)] = ()
    in_shape: Annotated[tuple[_Size, ...], Field(min_length=1, max_length=3)] | None = None
    nodes: Annotated[dict[Name, ModuleText], Field(max_length=MOST_MODULES, default_factory=dict)]
    projections: Annotated[tuple[ProjectionText, ...], Field(max_length=MOST_MODULES)] = ()
    output: Name | None = None


Tensors: TypeAlias = Mapping[str, Tensor]
Options: TypeAlias = Mapping[str, Any]
Build: TypeAlias = Callable[[Options, Tensors], nn.Module]


def describe_network(net: Network, arrays: dict[str, Array]) -> NetworkText:
    """``net`` as a document; its tensors are added to ``arrays``.

    Raises :class:`InputError` for a layer of somebody else's class, and for a device twin.
    """
    head: dict[str, Any] = {"format": "hwloop-network", "version": 1}
    if "layers" in net._modules:
        layers = tuple(_describe(layer, f"layers.{k}", arrays) for k, layer in enumerate(net.layers))
        shape = net._in_shape
        given = None if shape is None else ((int(shape),) if isinstance(shape, int) else tuple(map(int, shape)))
        return NetworkText(**head, layers=layers, in_shape=given)
    structure = net.structure
    nodes = {name: _describe(node, f"nodes.{k}", arrays) for k, (name, node) in enumerate(structure.nodes.items())}
    projections = tuple(
        ProjectionText(
            source=projection.source,
            target=projection.target,
            maps=tuple(_describe(part, f"projections.{k}.{j}", arrays) for j, part in enumerate(projection.maps)),
        )
        for k, projection in enumerate(net.projections)
        if isinstance(projection, Projection)
    )
    return NetworkText(**head, nodes=nodes, projections=projections, output=structure.output)


def build_network(text: NetworkText, arrays: ArrayReader, where: str) -> Network:
    """The network that ``text`` and ``arrays`` describe; :class:`DataError` naming ``where`` and layer where they do not fit."""
    if bool(text.layers) == bool(text.nodes):
        raise malformed(
            where, "the network", "both a chain and a graph, or neither", "layers, or nodes and projections"
        )
    layers = [_built(part, f"layers.{k}", arrays, where) for k, part in enumerate(text.layers)]
    nodes = {name: _built(part, f"nodes.{k}", arrays, where) for k, (name, part) in enumerate(text.nodes.items())}
    maps = [
        [_built(part, f"projections.{k}.{j}", arrays, where) for j, part in enumerate(projection.maps)]
        for k, projection in enumerate(text.projections)
    ]
    try:
        if layers:
            return Network(layers, in_shape=None if text.in_shape is None else _shape(text.in_shape))
        return Network.graph(
            _populations(nodes),
            [Projection(p.source, p.target, _maps(parts)) for p, parts in zip(text.projections, maps, strict=True)],
            text.output,
        )
    except (InputError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError, OverflowError) as error:
        raise malformed(where, "the network", str(error), "layers that fit each other") from None


def _populations(nodes: Mapping[str, nn.Module]) -> dict[str, Population]:
    return {name: node for name, node in nodes.items() if isinstance(node, Population)}


def _maps(parts: Sequence[nn.Module]) -> list[LinearMap]:
    return [part for part in parts if isinstance(part, LinearMap)]


def _shape(shape: tuple[int, ...]) -> int | tuple[int, ...]:
    return shape[0] if len(shape) == 1 else shape


# -- modules --------------------------------------------------------------------------------------


def _describe(module: nn.Module, name: str, arrays: dict[str, Array]) -> ModuleText:
    kind = type(module).__name__
    if KINDS.get(kind, (None,))[0] is not type(module):
        raise InputError(f"{name} is a {kind}; allowed in a file: {', '.join(KINDS)}")
    if any(getattr(module, part, None) is not None for part in ("mismatch", "bend", "full_scale")):
        raise InputError(f"{name} is part of a device twin; store the network that it was made of, and the calibration")
    options = {option: _plain(getattr(module, attribute)) for option, attribute in KINDS[kind][1].items()}
    held = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    for part, tensor in held.items():
        arrays[f"{name}.{part}"] = tensor.detach().cpu().contiguous().numpy()
    parameters = dict(module.named_parameters(recurse=False))
    trained = tuple(part for part, tensor in parameters.items() if tensor.requires_grad)
    return ModuleText(kind=kind, options=options, tensors=tuple(held), trained=trained, parameters=tuple(parameters))


def _plain(value: Any) -> Any:
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else value


def _built(text: ModuleText, name: str, arrays: ArrayReader, where: str) -> nn.Module:
    place = f"{name} ({text.kind})"
    if text.kind not in KINDS:
        raise malformed(where, place, "of an unknown kind", ", ".join(KINDS))
    _, options, build = KINDS[text.kind]
    if set(text.options) != set(options):
        raise malformed(where, f"{place}: options", ", ".join(text.options) or "none", ", ".join(options) or "none")
    if not set(text.trained) <= set(text.parameters) <= set(text.tensors):
        raise malformed(where, f"{place}: trained", ", ".join(text.trained), "some of parameters, and those of tensors")
    held: dict[str, Tensor] = {}
    for part in text.tensors:
        wanted = ("int64",) if part in ("sources", "targets") else _REALS
        tensor = torch.from_numpy(arrays.take(f"{name}.{part}", wanted).copy())
        held[part] = nn.Parameter(tensor, part in text.trained) if part in text.parameters else tensor
    try:
        module = build(text.options, _Taken(held))
        _fill(module, held)
    except (
        InputError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        RuntimeError,
        MemoryError,
    ) as error:
        raise malformed(where, place, str(error) or type(error).__name__, "what hwloop wrote") from None
    return module


class _Taken(dict[str, Tensor]):
    """Tensors of a module by name; one that is not there is said so."""

    def __missing__(self, name: str) -> Tensor:
        raise KeyError(f"tensor {name} is missing")


def _fill(module: nn.Module, held: Mapping[str, Tensor]) -> None:
    """Put tensors in the places that ``module`` has for them, of the same shape, laid out in memory as it lays them out."""
    own = {**dict(module.named_parameters(recurse=False)), **dict(module.named_buffers(recurse=False))}
    if set(own) != set(held):
        raise ValueError(f"tensors {', '.join(sorted(held)) or 'none'} instead of {', '.join(sorted(own)) or 'none'}")
    for name, tensor in held.items():
        if own[name].shape != tensor.shape:
            raise ValueError(f"{name} of shape {tuple(tensor.shape)} instead of {tuple(own[name].shape)}")
        laid = torch.empty_strided(tensor.shape, own[name].stride(), dtype=tensor.dtype).copy_(tensor.detach())
        if isinstance(tensor, nn.Parameter):
            module._buffers.pop(name, None)
            module.register_parameter(name, nn.Parameter(laid, tensor.requires_grad))
        else:
            module._parameters.pop(name, None)
            module.register_buffer(name, laid)


def _dense(options: Options, tensors: Tensors) -> nn.Module:
    n_out, n_in = tensors["weight"].shape
    return Dense(n_in, n_out, delay=tensors.get("delay"), bias="bias" in tensors, generator=torch.Generator())


def _conv(options: Options, tensors: Tensors) -> nn.Module:
    c_out, c_in, *kernel = tensors["weight"].shape
    return Conv2d(
        c_in * options["groups"], c_out, (kernel[0], kernel[1]), bias="bias" in tensors, generator=torch.Generator(),
        **{name: options[name] for name in ("stride", "padding", "dilation", "groups")},
    )  # fmt: skip


def _sparse(options: Options, tensors: Tensors) -> nn.Module:
    return Sparse(
        options["n_in"], options["n_out"], tensors["sources"].numpy(), tensors["targets"].numpy(), tensors["weight"],
        delay=tensors.get("delay"), bias="bias" in tensors,
    )  # fmt: skip


def _neurons(kind: type[nn.Module], *names: str) -> Build:
    """How a population is built: its shape, the options that it has, and tensors ``names`` where they are there."""

    def build(options: Options, tensors: Tensors) -> nn.Module:
        more = {name: value for name, value in options.items() if name != "n"}
        values = {name: tensors[name] for name in names if name in tensors}
        return kind(_shape(options["n"]), **values, **more)

    return build


_POTENTIALS = ("v_th", "v_leak", "v_reset", "t_ref", "v_init")
_SPIKING = {"n": "shape", "reset": "reset", "max_spikes": "max_spikes"}
_POOL = {"kernel": "kernel_size", "stride": "stride", "padding": "padding_size"}

#: Every kind of layer: its class, its options with the attribute that each is read from, and how it is built.
KINDS: dict[str, tuple[type[nn.Module], dict[str, str], Build]] = {
    "Dense": (Dense, {}, _dense),
    "Conv2d": (
        Conv2d,
        {"stride": "stride", "padding": "padding_size", "dilation": "dilation", "groups": "groups"},
        _conv,
    ),
    "SumPool2d": (SumPool2d, _POOL, lambda options, _: SumPool2d(**options)),
    "AvgPool2d": (AvgPool2d, _POOL, lambda options, _: AvgPool2d(**options)),
    "Flatten": (Flatten, {}, lambda *_: Flatten()),
    "Scale": (Scale, {}, lambda _, tensors: Scale(len(tensors["factor"]), tensors["factor"])),
    "Delay": (Delay, {}, lambda _, tensors: Delay(len(tensors["delay"]), tensors["delay"])),
    "Sparse": (Sparse, {"n_in": "n_in", "n_out": "n_out"}, _sparse),
    "Input": (Input, {"n": "shape"}, _neurons(Input)),
    "LIF": (LIF, {**_SPIKING, "filtered_bias": "filtered_bias"}, _neurons(LIF, "tau_mem", "tau_syn", *_POTENTIALS)),
    "DeltaLIF": (DeltaLIF, _SPIKING, _neurons(DeltaLIF, "tau_mem", *_POTENTIALS)),
    "IF": (IF, _SPIKING, _neurons(IF, "v_th", "v_reset", "t_ref", "v_init")),
    "LI": (
        LI,
        {"n": "shape", "filtered_bias": "filtered_bias"},
        _neurons(LI, "tau_mem", "tau_syn", "v_leak", "v_init"),
    ),
}
