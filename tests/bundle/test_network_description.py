"""Networks as documents: structure, options and tensors, whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.array_file import ArrayReader, dump_arrays, load_arrays
from hwloop.errors import DataError, InputError
from hwloop.network.description import KINDS, NetworkText, build_network, describe_network
from hwloop.strict_documents import parse_document


def graph() -> hl.Network:
    nodes = {"in": hl.Input(4), "a": hl.LIF(3, 1e-2, 5e-3), "b": hl.IF(2), "c": hl.DeltaLIF(2, 1e-2)}
    maps = [
        ("in", "a", [hl.Delay(4, 1e-3), hl.Dense(4, 3)]), ("a", "a", hl.Dense(3, 3, delay=torch.full((3, 3), 2e-3))),
        ("a", "b", hl.Sparse(3, 2, [0, 1], [1, 0], [0.5, 0.2])), ("b", "c", [hl.Scale(2, 0.5), hl.Dense(2, 2)]),
    ]  # fmt: skip
    return hl.Network.graph(nodes, [hl.Projection(*one) for one in maps])


NETS = {
    "chain": lambda: hl.Network(
        [hl.Dense(5, 9, bias=True, delay=1e-3), hl.LIF(9, 10e-3, 5e-3, max_spikes=1), hl.Dense(9, 3), hl.LIF(3, 1e-2, 5e-3)]
    ),
    "maps": lambda: hl.Network(
        [hl.Conv2d(2, 4, 3, padding=1, bias=True), hl.LIF((4, 8, 8), 1e-2, 5e-3, reset="subtract"), hl.SumPool2d(2),
         hl.Conv2d(4, 4, 1, groups=2), hl.LIF((4, 4, 4), 1e-2, 5e-3), hl.AvgPool2d(2), hl.Flatten(), hl.Dense(16, 3),
         hl.LI(3, 1e-2, 5e-3)], in_shape=(2, 8, 8),
    ),
    "graph": graph,
}  # fmt: skip


def stored(net: hl.Network) -> tuple[bytes, bytes]:
    arrays: dict[str, Any] = {}
    return describe_network(net, arrays).to_bytes(), dump_arrays(arrays)


def built(text: bytes, data: bytes) -> hl.Network:
    reader = ArrayReader(load_arrays(data, "a"), "a")
    net = build_network(parse_document(NetworkText, text, "n"), reader, "n")
    reader.finish()
    return net


@pytest.mark.parametrize("kind", NETS)
def test_a_network_is_built_again_with_every_bit_and_its_layout(kind: str) -> None:
    net = NETS[kind]()
    for parameter in list(net.parameters())[:1]:
        parameter.requires_grad_(False)
    before = torch.get_rng_state()
    found = built(*stored(net))
    assert torch.equal(before, torch.get_rng_state())  # reading draws no weights
    ours, theirs = net.state_dict(), found.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[n], theirs[n]) and ours[n].stride() == theirs[n].stride() for n in ours)
    assert torch.nn.Module.__repr__(net) == torch.nn.Module.__repr__(found)
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in found.parameters()]


def test_the_kinds_are_all_layers_there_are() -> None:
    from hwloop import network

    assert set(KINDS) == set(network.__all__) - {"Network", "Projection"}


@pytest.mark.parametrize(
    ("layer", "key", "value", "message"),
    [
        (0, "kind", "os.system", "unknown kind"),
        (0, "options", {"n_in": 10**7}, "options"),
        (1, "options", {"n": [9], "reset": "boom", "max_spikes": 1, "filtered_bias": False}, "reset"),
        (1, "tensors", ["tau_mem"], "layers.1"),
        (1, "trained", ["nothing"], "trained"),
        (2, "tensors", [], "trained is weight"),
    ],
)
def test_layers_that_are_none_are_refused_by_name(layer: int, key: str, value: Any, message: str) -> None:
    text, data = stored(NETS["chain"]())
    document = json.loads(text)
    document["layers"][layer][key] = value
    with pytest.raises(DataError, match=message):
        built(json.dumps(document).encode(), data)


def test_a_layer_of_somebody_else_is_refused() -> None:
    class Mine(hl.LIF):
        pass

    with pytest.raises(InputError, match="layers.1 is a Mine"):
        describe_network(hl.Network([hl.Dense(2, 2), Mine(2, 1e-2, 5e-3)]), {})
