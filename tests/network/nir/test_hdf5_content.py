"""What is taken out of an HDF5 file, member by member: to which size and depth, from no other file, in which types."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import hwloop as hl
from hwloop.errors import DataError
from hwloop.network.nir import hdf5
from hwloop.network.nir.hdf5 import MAX_CONTENT_DEPTH, _content, check_file, check_members, kinds, read_graph


@pytest.fixture
def file(tmp_path: Path) -> Iterator[h5py.File]:
    with h5py.File(tmp_path / "x.nir", "w") as opened:
        yield opened


def test_the_limits_are_a_gibibyte_and_32_graphs_in_graphs_of_three_groups_each() -> None:
    assert (hdf5.MAX_BYTES, hdf5.MAX_DEPTH, MAX_CONTENT_DEPTH) == (2**30, 32, 96)


def test_groups_become_dictionaries_bytes_text_and_numbers_stay(file: h5py.File) -> None:
    file["a/b"], file["a/c"], file["d"] = np.arange(3), "näme", np.float32(0.5)
    found = _content(file)
    assert list(found) == ["a", "d"]
    assert found["a"]["b"].tolist() == [0, 1, 2]
    assert (found["a"]["c"], found["d"], found["d"].dtype) == ("näme", 0.5, np.float32)


def test_groups_are_read_to_the_deepest_that_is_allowed_and_no_deeper(file: h5py.File) -> None:
    group = file
    for depth in range(MAX_CONTENT_DEPTH):
        group = group.create_group(f"g{depth}")
    _content(file)
    group.create_group("more")
    with pytest.raises(ValueError, match=r"groups in groups, 97 deep; allowed: 96"):
        _content(file)


def test_the_sizes_of_all_members_count_together(file: h5py.File) -> None:
    file["one/values"], file["two"] = np.zeros(100), np.zeros(50, np.float32)
    _content(file, left := [1000])
    assert left == [0]
    with pytest.raises(ValueError, match=r"'/two' declares 200 bytes; allowed: 1073741824 in all"):
        _content(file, [999])


def test_an_empty_member_has_no_size(file: h5py.File) -> None:
    file["nothing"] = h5py.Empty("f8")
    check_members(file, left := [0])
    assert left == [0]


@pytest.mark.parametrize(
    "link", [h5py.SoftLink("/real"), h5py.ExternalLink("other.nir", "/real")], ids=["soft", "external"]
)
def test_a_link_is_refused_wherever_it_leads(file: h5py.File, link: Any) -> None:
    file["real"] = np.zeros(1)
    file["a/linked"] = link
    for read in (_content, lambda group: check_members(group, [10**6])):
        with pytest.raises(ValueError, match=r"'linked' is a link; allowed: what stands in the file itself"):
            read(file)


def test_values_that_stand_in_another_file_are_refused(file: h5py.File, tmp_path: Path) -> None:
    (tmp_path / "raw").write_bytes(bytes(8))
    file.create_dataset("outside", (1,), "f8", external=[(str(tmp_path / "raw"), 0, 8)])
    file["real"] = np.zeros(1)
    layout = h5py.VirtualLayout((1,), "f8")
    layout[:] = h5py.VirtualSource(file["real"])
    file.create_virtual_dataset("virtual", layout)
    for name in ("outside", "virtual"):
        with pytest.raises(ValueError, match=rf"'/{name}' has its data in another file; allowed: in the file itself"):
            hdf5.values(file[name], [10**6])


def network_file(folder: Path, change: Any = lambda node: None) -> Path:
    path = folder / "x.nir"
    nir.write(path, hl.Network([hl.Dense(3, 2), hl.LIF(2, 10e-3, 5e-3)]).to_nir())
    with h5py.File(path, "a") as opened:
        change(opened["node"])
    return path


def test_a_file_as_large_as_is_allowed_is_read_and_a_larger_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = network_file(tmp_path)
    size = path.stat().st_size
    monkeypatch.setattr(hdf5, "MAX_BYTES", size)
    read_graph(path)
    monkeypatch.setattr(hdf5, "MAX_BYTES", size - 1)
    with pytest.raises(DataError, match=rf"x.nir has {size} bytes; allowed: at most {size - 1}"):
        read_graph(path)


def test_a_packed_graph_is_told_from_no_hdf5_file(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    path.write_bytes(gzip.compress(b"graph"))
    with pytest.raises(DataError, match="x.nir is a packed archive; allowed: HDF5 as nir.write writes it. Unpack it"):
        check_file(path)


def test_a_file_that_may_not_be_read_is_refused_with_the_systems_word_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = network_file(tmp_path)

    def closed(*_args: Any, **_options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(DataError) as caught:
        check_file(path)
    assert str(caught.value) == f"cannot read {path}: Permission denied; check the path and its permissions"


def test_a_home_folder_is_written_as_people_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network_file(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sorted(read_graph("~/x.nir").nodes) == ["dense_0", "input", "lif_0", "output"]


def replaced(name: str, value: Any) -> Any:
    def change(group: h5py.Group) -> None:
        if name in group:
            del group[name]
        group[name] = value

    return change


def test_a_graph_of_nodes_alone_has_no_edges_and_odd_metadata_are_none(tmp_path: Path) -> None:
    assert read_graph(network_file(tmp_path, replaced("edges", np.zeros((0,))))).edges == []
    (tmp_path / "x.nir").unlink()
    assert read_graph(network_file(tmp_path, replaced("metadata", "text"))).metadata == {}


@pytest.mark.parametrize("name", ["nodes", "edges"])
def test_a_graph_without_the_group_of_later_versions_is_an_old_one(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "x.nir", "w") as opened:
        opened[name] = np.zeros(2)
    with pytest.raises(DataError, match="is of a format older than NIR 0.1, without a group 'node'"):
        read_graph(tmp_path / "x.nir")


@pytest.mark.parametrize("edges", [np.array([[b"input", b"dense_0", b"lif_0"]]), np.array([[b"input"]])])
def test_edges_are_pairs(tmp_path: Path, edges: Any) -> None:
    path = network_file(tmp_path, replaced("edges", edges))
    with pytest.raises(DataError, match="its edges are .*, not pairs of names; the file is of an old format"):
        read_graph(path)


def test_nodes_that_are_no_group_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a NIRGraph without nodes or edges; export it again"):
        read_graph(network_file(tmp_path, replaced("nodes", np.zeros(2))))


def test_a_node_within_graphs_is_named_by_its_way(tmp_path: Path) -> None:
    inner = hl.Network([hl.Dense(3, 2), hl.LIF(2, 10e-3, 5e-3)]).to_nir()
    for name in ("mid", "top"):
        ends = {"input": nir.Input(np.array([3])), "output": nir.Output(np.array([2]))}
        inner = nir.NIRGraph({**ends, name: inner}, [("input", name), (name, "output")], type_check=False)
    path = tmp_path / "x.nir"
    nir.write(path, inner)
    with h5py.File(path, "a") as opened:
        opened["node/nodes/top/nodes/mid/nodes/lif_0/type"][()] = "ALIF"
    with pytest.raises(DataError, match=r"x.nir: node 'top.mid.lif_0' is of the kind 'ALIF'"):
        read_graph(path)


def test_every_node_that_nir_has_is_known_and_the_graph_is_none_of_them() -> None:
    assert {"CubaLIF", "LIF", "LI", "IF", "Linear", "Affine", "Conv2d", "Input", "Output", "Delay"} <= set(kinds())
    assert not {"NIRGraph", "NIRNode"} & set(kinds())
    assert all(issubclass(getattr(nir, name), nir.NIRNode) for name in kinds())
