"""A NIR graph read from its file, checked before a parser sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...arguments import shown
from ...errors import DataError, InputError

if TYPE_CHECKING:
    from nir import NIRGraph

#: First bytes of an HDF5 file, and of what is taken for one: an archive, which may hold one.
HDF5, ZIP, GZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x1f\x8b"
#: Largest file read (bytes): a network of 250 million weights.
MAX_BYTES = 2**30


def read_graph(graph: Any) -> NIRGraph:
    """``graph`` itself if it is one, else the graph in the file of this path.

    Raises
    ------
    DataError
        The file is missing, empty, too large, no HDF5 or no NIR graph.
    InputError
        ``graph`` is neither a graph nor a path.
    """
    import nir

    if isinstance(graph, nir.NIRGraph):
        return graph
    if not isinstance(graph, (str, Path)):
        raise InputError(f"graph is {shown(graph)}; allowed: a nir.NIRGraph, or the path of a .nir file")
    path = Path(graph).expanduser()
    _check_file(path)
    try:
        read = nir.read(path, type_check=False)  # :func:`hwloop.network.nir.graphs.from_nir` checks, with better words
    # the parser trusts its file: it may fail in any way
    except Exception as error:
        if isinstance(error, TypeError) and "type_check" in str(error):  # an option of graphs that no other node takes
            raise DataError(
                f"{path} holds a node alone; allowed: a NIRGraph. Put it between Input and Output"
            ) from error
        raise DataError(
            f"{path} holds no NIR graph: {type(error).__name__}: {error}; export it again with nir.write"
        ) from error
    if not isinstance(read, nir.NIRGraph):
        raise DataError(
            f"{path} holds a {type(read).__name__} alone; allowed: a NIRGraph. Put it between Input and Output"
        )
    return read


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder; allowed: the path of a .nir file in it")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(len(HDF5))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path and its permissions") from error
    if size > MAX_BYTES:
        raise DataError(f"{path} has {size} bytes; allowed: at most {MAX_BYTES}")
    if head.startswith((ZIP, GZIP)):
        raise DataError(
            f"{path} is a packed archive; allowed: HDF5 as nir.write writes it. Unpack it and give the file inside"
        )
    if head != HDF5:
        what = "is no HDF5 file" if size else "is empty"
        raise DataError(f"{path} {what}; allowed: HDF5 as nir.write writes it. Export the graph again")
