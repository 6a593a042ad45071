"""A NIR graph read from its file, node by node: what is wrong there is said by node, before a parser trips over it.

``nir.read`` checks a nested graph before anybody can ask it not to, and refuses some that are readable; so the file is read
here, and :mod:`.flat` checks what it means.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...arguments import shown
from ...errors import DataError, InputError

if TYPE_CHECKING:
    from nir import NIRGraph, NIRNode

#: First bytes of an HDF5 file, and of what is taken for one: an archive, which may hold one.
HDF5, ZIP, GZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04", b"\x1f\x8b"
#: Largest file read (bytes): a network of 250 million weights.
MAX_BYTES = 2**30
#: What h5py says of a damaged file.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError, RecursionError)
#: Deepest nesting of graphs in graphs that is read.
MAX_DEPTH = 32
#: Deepest nesting of HDF5 groups: a graph has two a level, a node and its metadata some more.
MAX_CONTENT_DEPTH = 3 * MAX_DEPTH


def read_graph(graph: Any) -> NIRGraph:
    """``graph`` itself if it is one, else the graph in the file of this path.

    Raises
    ------
    DataError
        The file is missing, empty, too large, no HDF5, no NIR graph or of an old format; a node of an unknown kind.
    InputError
        ``graph`` is neither a graph nor a path.
    """
    import nir

    if isinstance(graph, nir.NIRGraph):
        return graph
    if not isinstance(graph, (str, Path)):
        raise InputError(f"graph is {shown(graph)}; allowed: a nir.NIRGraph, or the path of a .nir file")
    path = Path(graph).expanduser()
    check_file(path)
    return _read(path)


def check_file(path: Path) -> None:
    """Refuse what is no HDF5 file, or too large; :class:`DataError`."""
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


def _read(path: Path) -> NIRGraph:
    import h5py
    import nir

    try:
        with h5py.File(path, "r") as file:
            content = _content(file)
    except DAMAGE as error:
        raise DataError(f"{path} holds no NIR graph: {error}; it is damaged: export it again with nir.write") from error
    if "node" not in content:
        if "nodes" in content or "edges" in content:
            raise DataError(
                f"{path} is of a format older than NIR 0.1, without a group 'node'; read it with the nir of its time, and "
                "write it again with nir >= 1.0"
            )
        found = ", ".join(map(repr, content)) or "nothing"
        raise DataError(
            f"{path} holds no NIR graph: there is no group 'node' in it, but {found}; export it again with nir.write"
        )
    node = _node(content["node"], "", f"{path}", 0)
    if not isinstance(node, nir.NIRGraph):
        raise DataError(
            f"{path} holds a {type(node).__name__} alone; allowed: a NIRGraph. Put it between Input and Output"
        )
    return node


def _content(group: Any, left: list[int] | None = None, depth: int = 0) -> dict[str, Any]:
    """Groups and data sets as dictionaries and values; bytes as text. ``left``: bytes that may still be read."""
    import h5py

    left = [MAX_BYTES] if left is None else left
    if depth > MAX_CONTENT_DEPTH:
        raise ValueError(f"groups in groups, {depth} deep; allowed: {MAX_CONTENT_DEPTH}")
    found = {}
    for key in group:
        found[str(key)] = member = child(group, key)
        if isinstance(member, h5py.Group):
            found[str(key)] = _content(member, left, depth + 1)
        else:
            found[str(key)] = _text(values(member, left))
    return found


def check_members(group: Any, left: list[int], depth: int = 0) -> None:
    """Refuse a file whose members lead into other files, or declare more than ``left[0]`` bytes; :class:`ValueError`."""
    import h5py

    if depth > MAX_CONTENT_DEPTH:
        raise ValueError(f"groups in groups, {depth} deep; allowed: {MAX_CONTENT_DEPTH}")
    for key in group:
        member = child(group, key)
        if isinstance(member, h5py.Group):
            check_members(member, left, depth + 1)
        else:
            check_size(member, left)


def child(group: Any, key: str) -> Any:
    """The group or data set ``key`` of ``group``; :class:`ValueError` for a link, which may lead into any file."""
    import h5py

    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise ValueError(f"{key!r:.60} is a link; allowed: what stands in the file itself")
    return group[key]


def values(member: Any, left: list[int]) -> Any:
    """What the data set ``member`` holds; raises as :func:`check_size`."""
    check_size(member, left)
    return member[()]


def check_size(member: Any, left: list[int]) -> None:
    """Take the size of a data set off ``left[0]``; :class:`ValueError` where it is more, or stands in another file."""
    if member.external or member.is_virtual:
        raise ValueError(f"{member.name!r:.60} has its data in another file; allowed: in the file itself")
    size = int(member.size or 0) * int(member.dtype.itemsize)
    left[0] -= size
    if left[0] < 0:
        raise ValueError(f"{member.name!r:.60} declares {size} bytes; allowed: {MAX_BYTES} in all")


def _text(value: Any) -> Any:
    return value.decode("utf8") if isinstance(value, bytes) else value


def _node(content: Any, name: str, path: str, depth: int) -> NIRNode:
    import nir

    where = f"{path}: node {name!r}" if name else path
    if not isinstance(content, dict) or "type" not in content:
        raise DataError(f"{where} has no type; the file is of an old format or damaged: export it again with nir.write")
    kind = str(content["type"])
    if kind == "NIRGraph":
        if depth >= MAX_DEPTH:
            raise DataError(f"{where}: graphs in graphs, {depth} deep; allowed: {MAX_DEPTH}")
        return _graph(content, name, where, path, depth)
    if kind not in kinds():
        raise DataError(
            f"{where} is of the kind {kind!r}, which NIR does not have{_why_unknown(kind)}; known: {', '.join(kinds())}. "
            "Replace that module in the network and export it again"
        )
    try:
        return nir.dict2NIRNode(dict(content))
    # the parser trusts its file: a field that is missing, of another type or shape shows in any way
    except Exception as error:
        raise DataError(
            f"{where} ({kind}) cannot be read: {type(error).__name__}: {error}; export it again with nir.write"
        ) from error


def _graph(content: dict[str, Any], name: str, where: str, path: str, depth: int) -> NIRGraph:
    import nir

    if not isinstance(content.get("nodes"), dict) or "edges" not in content:
        raise DataError(f"{where} is a NIRGraph without nodes or edges; export it again with nir.write")
    edges = content["edges"]
    pairs = [tuple(map(_text, edge)) for edge in edges] if getattr(edges, "size", 1) else []
    if any(len(pair) != 2 or not all(isinstance(end, str) for end in pair) for pair in pairs):
        raise DataError(
            f"{where}: its edges are {shown(edges)}, not pairs of names; the file is of an old format: write it again with "
            "nir >= 1.0"
        )
    inside = f"{name}." if name else ""
    nodes = {key: _node(value, f"{inside}{key}", path, depth + 1) for key, value in content["nodes"].items()}
    return nir.NIRGraph(nodes, pairs, metadata=content.get("metadata", {}), type_check=False)  # {} for what is none


def kinds() -> tuple[str, ...]:
    """Names of the nodes that NIR has, besides the graph itself."""
    import nir

    return tuple(
        name
        for name, kind in vars(nir).items()
        if isinstance(kind, type) and issubclass(kind, nir.NIRNode) and kind not in (nir.NIRNode, nir.NIRGraph)
    )


def _why_unknown(kind: str) -> str:
    return ": its exporter met a module that it did not know" if kind == "NoneType" else ""
