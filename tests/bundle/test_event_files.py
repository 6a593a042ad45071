"""Spikes in files of other tools."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import DataError, InputError
from hwloop.event_files import read_events, write_events
from hwloop.stored_spikes import same_spikes

from .conftest import inputs


def arrays(**changes: Any) -> dict[str, Any]:
    spikes = inputs()
    events = {"times": spikes.times[spikes.valid].double().numpy(), "units": spikes.units[spikes.valid].numpy()}
    return {**events, "counts": spikes.counts.numpy(), "n_units": 5, "t_stop": 0.03, **changes}


def npz(path: Path, **changes: Any) -> Path:
    np.savez(path, **{k: v for k, v in arrays(**changes).items() if v is not None})
    return path


def test_an_npz_is_read_bit_for_bit(tmp_path: Path) -> None:
    assert same_spikes(read_events(npz(tmp_path / "x.npz")), inputs().to(torch.float64))


def test_nir_data_is_read(tmp_path: Path) -> None:
    data = nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": inputs().to_nir_data()})})
    nir.write_data(tmp_path / "x.nir", data)
    found = read_events(tmp_path / "x.nir")
    assert torch.equal(found.units[found.valid], inputs().units[inputs().valid])


def test_what_is_written_is_what_numpy_reads(tmp_path: Path) -> None:
    write_events(tmp_path / "x.npz", {"0": inputs()}, {"device_id": "emulator:7"})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as found:
        assert found["0.counts"].tolist() == inputs().counts.tolist()
        assert "emulator:7" in str(found["provenance"])
    with pytest.raises(InputError, match="name it x.npz"):
        write_events(tmp_path / "x.csv", {}, {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": np.array([object()] * 24)}, "objects|not a valid|header"),
        ({"times": np.full(24, np.nan)}, "the spikes"),
        ({"units": np.full(24, 7)}, "the spikes"),
        ({"counts": np.array([24, -1, 1])}, "counts"),
        ({"counts": np.array([], np.int64)}, "counts"),
        ({"counts": np.array([20, 3])}, "counts is 2 counts for 24 times"),
        ({"units": np.zeros(24)}, "a type is another one; allowed: whole units"),
        ({"n_units": np.array([5, 5])}, "a type is another one"),
        ({"t_stop": 3}, "a type is another one"),
        ({"counts": np.array([24, *[0] * 1_000_000])}, "samples of like size"),
        ({"n_units": 2**70}, "."),
        ({"t_stop": None}, "list of arrays"),
    ],
)
def test_an_npz_of_something_else_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = npz(tmp_path / "x.npz", **changes)
    with pytest.raises(DataError, match=message):
        read_events(path)


def gridded(node: h5py.Group) -> None:
    node.attrs["__type__"] = "TimeGriddedData"


NIR_DATA = {
    "two nodes": lambda file: file["nodes"].create_group("more"),
    "no observables": lambda file: file["nodes/input"].pop("observables"),
    "another kind": lambda file: gridded(file["nodes/input/observables/spikes"]),
    "no size": lambda file: file["nodes/input/observables/spikes"].attrs.pop("n_neurons"),
}


@pytest.mark.parametrize("name", NIR_DATA)
def test_nir_data_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.nir"
    nir.write_data(path, nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": inputs().to_nir_data()})}))
    with h5py.File(path, "a") as file:
        NIR_DATA[name](file)
    with pytest.raises(DataError, match="x.nir.*no NIRData of one batch"):
        read_events(path)


def test_gridded_nir_data_is_read(tmp_path: Path) -> None:
    spikes = hl.Spikes.from_events([([1e-3, 3e-3], [0, 2])], 3, 5e-3)
    grid = nir.TimeGriddedData(
        np.array([[[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 0]]], dtype=bool).transpose(0, 2, 1), 1e-3
    )
    nir.write_data(tmp_path / "x.nir", nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": grid})}))
    found = read_events(tmp_path / "x.nir")
    assert found.units[found.valid].tolist() == spikes.units[spikes.valid].tolist()


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-30], lambda data: b"no archive at all"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: Any) -> None:
    path = npz(tmp_path / "x.npz")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="x.npz: the file is no archive .*a file of spikes"):
        read_events(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros(10))
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("times.npy", content.getvalue() + b"\0" * 600_000_000)
    with pytest.raises(DataError, match="600000"):
        read_events(tmp_path / "x.npz")


def test_nir_files_that_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    nir.write_data(tmp_path / "x.nir", nir.NIRGraphData({"input": nir.NIRNodeData({"spikes": inputs().to_nir_data()})}))
    (tmp_path / "y.nir").write_bytes((tmp_path / "x.nir").read_bytes())
    with h5py.File(tmp_path / "y.nir", "a") as file:
        del file["nodes/input"]
        file["nodes/input"] = h5py.ExternalLink(str(tmp_path / "x.nir"), "/nodes/input")
    with pytest.raises(DataError, match="is a link"):
        read_events(tmp_path / "y.nir")


def test_a_graph_file_that_leads_elsewhere_or_declares_too_much_is_refused(tmp_path: Path) -> None:
    net = hl.Network([hl.Dense(2, 2), hl.LIF(2, 1e-2, 5e-3)])
    for name, change in {
        "link": lambda file: file.__setitem__("node/more", h5py.ExternalLink("/etc/passwd", "/")),
        "size": lambda file: file.create_dataset("node/more", shape=(2**40,), chunks=(2**10,), dtype="f8"),
        "data in another file": lambda file: file.create_dataset(
            "node/more", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)]
        ),
    }.items():
        path = tmp_path / f"{name}.nir"
        nir.write(path, net.to_nir())
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(DataError, match=r"is a link|declares|data in another file"):
            hl.Network.from_nir(path)
