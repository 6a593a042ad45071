"""What users write out of habit, and what the message says to write instead."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from hwloop import LIF, Dataset, Dense, Network, Spikes
from hwloop import machine_memory as memory
from hwloop.exchange import from_nir_data
from hwloop.network.nir.hdf5 import MAX_BYTES
from hwloop.toml_text import toml_text

from .support import Case, Said, option, refused

TAUS = {"tau_mem": 10e-3, "tau_syn": 5e-3}
SPIKES = Spikes.from_events([([1e-3, 2e-3], [0, 1]), ([3e-3], [2])], n_units=3, t_stop=0.05)


def lif(n: Any = 2, **options: Any) -> LIF:
    return LIF(n, **{**TAUS, **options})


def net() -> Network:
    return Network([Dense(3, 2), lif()])


def events(times: Any, units: Any = (0, 1), **options: Any) -> Spikes:
    return Spikes.from_events([(times, units)], **{"n_units": 3, "t_stop": 1.0, **options})


def half(dtype: torch.dtype) -> LIF:
    return lif(tau_mem=torch.nn.Parameter(torch.full((2,), 1e-2, dtype=dtype)))


def raster(values: Any) -> Spikes:
    return Spikes.from_dense(values, 1e-3)


ONES = torch.ones(1, 4, 3)
TIMES, UNITS, COUNTS = torch.tensor([[0.1, 0.3]]), torch.tensor([[0, 2]]), torch.tensor([2])


class Quantity(np.ndarray):
    """An array with a unit."""

    units = "ms"


def with_unit() -> Any:
    return np.array([1.0, 2.0]).view(Quantity)


HABITS = [
    option("seconds", "{} = {}{}; allowed: finite and {} 0{}", lambda t_stop: events([0.1, 0.2], t_stop=t_stop), "t_stop", "10ms", 10e-3 * 100),
    Case("floats", "allowed: float32 or float64 numbers", lambda: lif(v_th=torch.tensor([True, True])), lambda: lif(v_th=torch.tensor([1.0, 1.0]))),
    Case("real_array", "which would be dropped; allowed: plain numbers in seconds{}", lambda: events(with_unit()), lambda: events(np.asarray(with_unit()).view(np.ndarray) * 1e-3)),
    Case("real_array", "is no array of numbers ({}); allowed: numbers", lambda: events([[0.1], [0.1, 0.2]]), lambda: events([0.1, 0.2])),
    Case("real_array", "{} = {}; allowed: numbers{}", lambda: events(["a", "b"]), lambda: events([0.1, 0.2])),
    option("allowed_dtype", "allowed: torch.float32 or torch.float64", lambda dtype: events([0.1, 0.2], dtype=dtype), "dtype", torch.float16, torch.float32, torch.float64),
    Case("Dataset.__init__", "inputs are {}; allowed: Spikes. {}", lambda: Dataset(ONES, [1]), lambda: Dataset(raster(ONES), [1])),
    Case("_as_labels", "label {}; allowed: whole numbers >= 0", lambda: Dataset(SPIKES, [0, -1]), lambda: Dataset(SPIKES, [0, 1])),
    Case("_as_labels", "expected one for each of {} samples{}", lambda: Dataset(SPIKES, torch.eye(2)), lambda: Dataset(SPIKES, torch.eye(2).argmax(1))),
    Case("from_nir_data", "allowed: [n_samples, n_events], or [n_events] of one sample", lambda: from_nir_data(data((1, 1, 2))),
         (lambda: from_nir_data(data((1, 2))), lambda: from_nir_data(data((2,))))),
    Case("Dense.forward", "Dense: {}", lambda: torch.nn.Sequential(Dense(3, 2), lif())(SPIKES), lambda: Network([Dense(3, 2), lif()])(SPIKES)),
    Case("LIF.forward", "LIF: {}", lambda: lif()(SPIKES), lambda: Network([Dense(3, 2), lif()])(SPIKES)),
    Case("check_input", "the input is a record; allowed: Spikes. Those of its last layer are record.output", lambda: net()(net()(SPIKES)),
         lambda: Network([Dense(2, 2), lif()])(net()(SPIKES).output)),
    Case("check_input", "the input is {}; allowed: Spikes of {} units. {}", lambda: net()(ONES), lambda: net()(raster(ONES))),
    Case("as_layers", "allowed: one list, Network([Dense, LIF])", lambda: Network(Dense(3, 2), lif()), lambda: Network([Dense(3, 2), lif()])),
    Case("LIF.__init__", "is missing; allowed: a number, or one per neuron. Write {}", lambda: LIF(4, 10e-3), lambda said: eval_example(said)),
    Case("Population.hold", "allowed: an nn.Parameter of shape ({},), which is trained, or value.detach()", lambda: lif(tau_mem=grown()),
         (lambda: lif(tau_mem=torch.nn.Parameter(grown().detach())), lambda: lif(tau_mem=grown().detach()))),
    Case("_size", "is no number of neurons, which comes first; {} should read {}", lambda: LIF(10e-3, 5e-3), lambda said: eval_example(said)),
    Case("as_parameter", "is a parameter of {}; allowed: float32 or float64", lambda: half(torch.float16), (lambda: half(torch.float32), lambda: half(torch.float64))),
    Case("rasters.from_dense", "expected numbers or booleans [batch, steps, n_units]", lambda: raster([["a"]]), lambda: raster([[[True, False]]])),
    Case("rasters.from_dense", "give raster.detach()", lambda: raster(ONES.clone().requires_grad_()), lambda: raster(ONES.clone().requires_grad_().detach())),
    Case("event_pair", "expected two lists of equal length", lambda: events([0.1]), lambda: events([0.1, 0.2])),
    Case("whole_numbers", "are booleans; allowed: whole numbers (of a mask: its positions, mask.nonzero())", lambda: events([0.1, 0.2], np.array([True, True])),
         lambda: events([0.1, 0.2], np.flatnonzero([True, True]))),
    Case("check_shapes", "{} are {}; expected tensors. Lists of events: Spikes.from_events", lambda: Spikes([[0.1]], [[0]], [1], 3, 1.0), lambda: events([0.1], [0])),
    Case("Spikes.__getitem__", "index {} of a batch of {}: {}", lambda: SPIKES[[5]], lambda: SPIKES[[1]]),
    Case("spikes._rows", "allowed: a sample's number, a slice, a list, array or tensor of numbers", lambda: SPIKES["a"],
         (lambda: SPIKES[0], lambda: SPIKES[:1], lambda: SPIKES[[0]], lambda: SPIKES[np.array([0])], lambda: SPIKES[torch.tensor([0])])),
    Case("toml_text._value", "allowed: text, booleans, numbers, lists of these, tables", lambda: toml_text({"a": {1}}), lambda: toml_text({"a": ["x", True, 1.5]})),
]  # fmt: skip


def data(shape: tuple[int, ...]) -> nir.EventData:
    result = nir.EventData.__new__(nir.EventData)
    result.idx, result.time = np.zeros(shape, int), np.full(shape, 1e-3)
    result.n_neurons, result.t_max = 3, 1.0
    return result


def grown() -> torch.Tensor:
    return torch.full((2,), 5e-3, requires_grad=True) * 2


def eval_example(said: str) -> LIF:
    """The line that the message says to write."""
    numbers = re.findall(r"LIF\(([^)]*)\)", said)[-2].split(", ")  # the last explains it
    return LIF(int(numbers[0]), *map(float, numbers[1:]))


@pytest.mark.parametrize("case", HABITS, ids=str)
def test_what_the_message_says_to_write_is_taken(case: Case) -> None:
    case.follow()


def test_what_fits_memory_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    message = "{} takes {} GB of memory; this machine has {} GB; allowed: {}"
    monkeypatch.setattr(memory, "physical", lambda: 10**6)
    said = refused("check_fits", message, lambda: SPIKES.to_dense(1e-9))
    assert said.endswith("coarser steps, fewer samples at once")
    SPIKES.to_dense(1e-4)
    Dense(100, 100)
    refused("check_fits", message, lambda: Dense(10**4, 10**4))


def test_a_clock_that_float32_cannot_tell_apart_is_kept_in_float64_or_a_shorter_window() -> None:
    def seen(dtype: torch.dtype, steps: int) -> Spikes:
        return Spikes.from_dense(torch.ones(1, steps, 1), 1e-6, dtype=dtype)

    message = "allowed: dtype=torch.float64, or a shorter window"
    refused("clock_dtype", message, lambda: seen(torch.float32, 9_000_000))
    seen(torch.float64, 9_000_000)
    seen(torch.float32, 1000)


# -- graphs in files ------------------------------------------------------------------------------


def graph() -> nir.NIRGraph:
    return net().to_nir()


def written(path: Path, content: bytes | None) -> Path:
    if content is None:
        nir.write(path, graph())
    else:
        path.write_bytes(content)
    return path


#: What a file may be instead of a graph; each text asks for the graph as ``nir.write`` writes it.
FILES = [
    (Said("hdf5.check_file", "is a packed archive; allowed: HDF5 as nir.write writes it. Unpack it"), b"PK\x03\x04 and so on"),
    (Said("hdf5.check_file", "Export the graph again"), b"a picture"),
    (Said("hdf5._read", "it is damaged: export it again with nir.write"), b"\x89HDF\r\n\x1a\n and so on"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "content"), FILES, ids=lambda value: getattr(value, "text", None))
def test_a_graph_exported_again_is_read(tmp_path: Path, error: Said, content: bytes) -> None:
    path = tmp_path / "net.nir"
    refused(*error, lambda: Network.from_nir(written(path, content)))
    path.unlink()
    Network.from_nir(written(path, None))


def test_a_path_that_is_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.nir"
    refused("hdf5.check_file", "check the path and its permissions", lambda: Network.from_nir(path))
    refused(
        "hdf5.check_file", "is a folder; allowed: the path of a .nir file in it", lambda: Network.from_nir(tmp_path)
    )
    refused("read_graph", "allowed: a nir.NIRGraph, or the path of a .nir file", lambda: Network.from_nir(3))
    written(path, None)
    Network.from_nir(graph())
    Network.from_nir(path)
    Network.from_nir(str(path))
    monkeypatch.setattr("hwloop.network.nir.hdf5.MAX_BYTES", 100)
    refused("hdf5.check_file", "has {} bytes; allowed: at most {}", lambda: Network.from_nir(path))
    monkeypatch.setattr("hwloop.network.nir.hdf5.MAX_BYTES", path.stat().st_size)
    Network.from_nir(path)
    assert MAX_BYTES > 100


def test_a_node_alone_is_put_between_input_and_output(tmp_path: Path) -> None:
    path = tmp_path / "net.nir"
    nir.write(path, nir.Linear(np.ones((2, 3))))
    refused("hdf5._read", "alone; allowed: a NIRGraph. Put it between Input and Output", lambda: Network.from_nir(path))
    nir.write(path, graph())
    Network.from_nir(path)
