from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import hwloop as hl
from hwloop.errors import DataError, InputError


def net() -> hl.Network:
    return hl.Network([hl.Dense(3, 2), hl.LIF(2, 10e-3, 5e-3)])


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_gives_the_network_that_was_written_there(tmp_path: Path, kind: Any) -> None:
    given = net()
    nir.write(tmp_path / "x.nir", given.to_nir())
    back = hl.Network.from_nir(kind(tmp_path / "x.nir"))
    assert back.blocks[0][0].weight.tolist() == given.blocks[0][0].weight.tolist()


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.nir", b"graph")


def hdf5_of_something_else(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["other"] = np.zeros(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot read .*x.nir: No such file or directory; check the path"),
        (lambda path: path.mkdir(), "x.nir is a folder; allowed: the path of a .nir file in it"),
        (lambda path: path.write_bytes(b""), "x.nir is empty; allowed: HDF5"),
        (lambda path: path.write_bytes(b"graph"), "x.nir is no HDF5 file; allowed: HDF5"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "x.nir holds no NIR graph"),
        (zipped, "x.nir is a packed archive; allowed: HDF5.* Unpack it"),
        (hdf5_of_something_else, "x.nir holds no NIR graph: KeyError"),
        (lambda path: nir.write(path, nir.Linear(np.ones((2, 2)))), "x.nir holds a node alone; allowed: a NIRGraph"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_it_is(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "x.nir")
    with pytest.raises(DataError, match=message):
        hl.Network.from_nir(tmp_path / "x.nir")


@pytest.mark.parametrize("graph", [None, 3, {"nodes": {}}, b"x.nir"])
def test_what_is_neither_graph_nor_path_is_refused(graph: Any) -> None:
    with pytest.raises(InputError, match="allowed: a nir.NIRGraph, or the path of a .nir file"):
        hl.Network.from_nir(graph)
