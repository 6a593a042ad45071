"""NIR graphs in files: read node by node, and every file that is none refused with what it is."""

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
from hwloop.network.nir.hdf5 import MAX_CONTENT_DEPTH, check_members


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


def changed(path: Path, change: Any) -> None:
    """The file of a network in which ``change(group of the graph)`` changed something."""
    nir.write(path, net().to_nir())
    with h5py.File(path, "a") as file:
        change(file["node"])


def typed(name: str, kind: str | None) -> Any:
    def change(group: Any) -> None:
        del group["nodes"][name]["type"]
        if kind is not None:
            group["nodes"][name]["type"] = kind

    return change


def numbered(path: Path) -> None:
    """As NIR wrote lists of nodes before it had names."""
    with h5py.File(path, "w") as file:
        file["nodes/0/type"], file["edges"] = "Input", np.array([[0, 1]])


def edges_by_number(group: Any) -> None:
    del group["edges"]
    group["edges"] = np.array([[0, 1], [1, 2]])


def nested(depth: int) -> nir.NIRGraph:
    graph = net().to_nir()
    for _ in range(depth):
        ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([2]))}
        graph = nir.NIRGraph({**ends, "g": graph}, [("input", "g"), ("g", "output")], type_check=False)
    return graph


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot read .*x.nir: No such file or directory; check the path"),
        (lambda path: path.mkdir(), "x.nir is a folder; allowed: the path of a .nir file in it"),
        (lambda path: path.write_bytes(b""), "x.nir is empty; allowed: HDF5"),
        (lambda path: path.write_bytes(b"graph"), "x.nir is no HDF5 file; allowed: HDF5"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "x.nir holds no NIR graph: .*it is damaged"),
        (zipped, "x.nir is a packed archive; allowed: HDF5.* Unpack it"),
        (hdf5_of_something_else, "x.nir holds no NIR graph: there is no group 'node' in it, but 'other'; export it again"),
        (numbered, "x.nir is of a format older than NIR 0.1, .*write it again with nir >= 1.0"),
        (lambda path: nir.write(path, nir.Linear(np.ones((2, 2)))), "x.nir holds a Linear alone; allowed: a NIRGraph"),
        (lambda path: changed(path, edges_by_number), "x.nir: its edges are .*, not pairs of names; .* old format"),
        (lambda path: changed(path, lambda g: g.pop("edges")), "x.nir is a NIRGraph without nodes or edges; export it"),
        (lambda path: changed(path, typed("dense_0", None)), "x.nir: node 'dense_0' has no type; .*old format or damaged"),
        (lambda path: changed(path, typed("lif_0", "NoneType")), "node 'lif_0' is of the kind 'NoneType'.*its exporter met a module that it did not know.* Replace that module"),
        (lambda path: changed(path, typed("lif_0", "ALIF")), "node 'lif_0' is of the kind 'ALIF', which NIR does not have; known: .*CubaLIF"),
        (lambda path: changed(path, lambda g: g["nodes/lif_0"].pop("tau_mem")), "node 'lif_0' .CubaLIF. cannot be read: .*tau_mem.*export it again"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_with_what_it_is(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "x.nir")
    with pytest.raises(DataError, match=message):
        hl.Network.from_nir(tmp_path / "x.nir")


def test_nested_graphs_are_read_to_their_bottom_and_not_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nir.write(tmp_path / "x.nir", nested(3))
    assert hl.Network.from_nir(tmp_path / "x.nir", spike="delta", reset="value").is_plain_chain
    monkeypatch.setattr("hwloop.network.nir.hdf5.MAX_DEPTH", 3)
    with pytest.raises(DataError, match="graphs in graphs, 3 deep; allowed: 3"):
        hl.Network.from_nir(tmp_path / "x.nir")


@pytest.mark.parametrize("graph", [None, 3, {"nodes": {}}, b"x.nir"])
def test_what_is_neither_graph_nor_path_is_refused(graph: Any) -> None:
    with pytest.raises(InputError, match="allowed: a nir.NIRGraph, or the path of a .nir file"):
        hl.Network.from_nir(graph)


def test_groups_in_groups_are_read_to_a_depth_and_refused_beyond() -> None:
    with h5py.File("nested", "w", driver="core", backing_store=False) as file:
        group = file
        for depth in range(MAX_CONTENT_DEPTH):
            group = group.create_group(f"g{depth}")
        check_members(file, [10**6])
        group.create_group("more")
        with pytest.raises(
            ValueError, match=rf"groups in groups, {MAX_CONTENT_DEPTH + 1} deep; allowed: {MAX_CONTENT_DEPTH}"
        ):
            check_members(file, [10**6])


@pytest.mark.parametrize(("names", "said"), [((), "nothing"), (("other",), "'other'")])
def test_a_file_without_a_graph_is_told_with_what_is_in_it(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    with h5py.File(tmp_path / "x.nir", "w") as file:
        for name in names:
            file[name] = np.zeros(3)
    with pytest.raises(DataError, match=rf"no group 'node' in it, but {said}; export it again"):
        hl.Network.from_nir(tmp_path / "x.nir")


def test_a_file_declares_no_more_than_is_allowed_in_all_its_groups() -> None:
    with h5py.File("sizes", "w", driver="core", backing_store=False) as file:
        for name in ("one", "two"):
            file.create_group(name)["values"] = np.zeros(100)
        check_members(file, left := [1600])
        assert left == [0]
        with pytest.raises(ValueError, match=r"values' declares 800 bytes; allowed: \d+ in all"):
            check_members(file, [1599])
