"""Digests of data files: what a run was trained on, so that it is not gone on with on other data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError

#: Read at once (bytes).
_BLOCK = 2**20


@dataclass(frozen=True)
class FileDigest:
    """One file of the data.

    Attributes
    ----------
    part : what it is for: train, validation, test, or data where one file holds several
    path : as it was found
    name : of a file in a folder that was named, its name from there; else empty
    bytes : its size
    sha256 : of its content
    """

    part: str
    path: str
    name: str
    bytes: int
    sha256: str


def digests_of(parts: Mapping[str, Iterable[Path]]) -> list[FileDigest]:
    """Digests of the files of each part; of a folder, of every file below it that is not hidden.

    Raises :class:`DataError` where one cannot be read.
    """
    return [_digest(part, given, path) for part, paths in parts.items() for given in paths for path in _files(given)]


def changed_files(before: Sequence[FileDigest], now: Sequence[FileDigest]) -> list[str]:
    """What differs between the data then and now, one sentence for each file; empty where nothing does.

    Files are told apart by part, order and their name in a folder, not by path: data may be moved.
    """
    said = []
    old, new = _by_part(before), _by_part(now)
    for part in dict.fromkeys((*old, *new)):
        one, other = old.get(part, []), new.get(part, [])
        if len(one) != len(other):
            said.append(f"{part}: {len(one)} files then, {len(other)} now")
        for a, b in zip(one, other, strict=False):
            if a.name != b.name:
                said.append(f"{part}: {a.name or a.path} then, {b.name or b.path} now")
            elif a.sha256 != b.sha256:
                said.append(
                    f"{part}: {b.path} had sha256 {a.sha256[:12]} ({a.bytes} bytes), has {b.sha256[:12]} ({b.bytes} bytes)"
                )
    return said


def _by_part(digests: Sequence[FileDigest]) -> dict[str, list[FileDigest]]:
    found: dict[str, list[FileDigest]] = {}
    for digest in digests:
        found.setdefault(digest.part, []).append(digest)
    return found


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    inside = [file for file in path.rglob("*") if file.is_file()]
    return sorted(file for file in inside if not any(part.startswith(".") for part in file.relative_to(path).parts))


def _digest(part: str, given: Path, path: Path) -> FileDigest:
    found, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                found.update(block)
                size += len(block)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path and its permissions") from error
    name = "" if path == given else path.relative_to(given).as_posix()
    return FileDigest(part, str(path), name, size, found.hexdigest())
