"""Stored files: whole old or whole new, bounded when read, never pickled.

Writing goes to a temporary file in the same folder, then fsync, rename, fsync of the folder: after a kill at any point
the path holds the old content or the new one. Reading checks the real size against a limit before anything is
allocated. Text documents are JSON objects with ``format`` and ``version``, without inf, NaN or repeated keys.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import DataError, InputError

#: What reading a damaged zip file raises.
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    OverflowError,
    KeyError,
)

#: Largest JSON document read (bytes): far above any history or report, far below the memory of a small machine.
MAX_JSON_BYTES = 64 * 2**20

#: Most objects and lists in a document, and commas, quoted ones too: 64 and 32 bytes of memory each, and more with content.
MAX_CONTAINERS, MAX_ITEMS = 500_000, 8_000_000

#: Bytes that are read at a time where a file grows meanwhile.
_BLOCK = 2**16

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replace ``path`` by ``data`` in one step.

    Raises :class:`DataError` where the folder is missing or read-only or the disk is full; ``path`` is then unchanged.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}. What was there before is unchanged; "
            "free space, or name a folder that exists and is writable"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    try:
        sync_folder(path.parent)
    except OSError as error:
        raise DataError(
            f"{path} is written, but its folder cannot be synced ({error.strerror or error}): a power cut may bring back what was "
            "there before; write it again, to another disk where that happens again"
        ) from error


def remove_leftovers(folder: Path | str) -> None:
    """Remove temporary files that a killed process left in ``folder``; for the one that holds it."""
    for path in Path(folder).iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def read_bytes(path: Path | str, max_bytes: int) -> bytes:
    """Content of ``path``, which may hold up to ``max_bytes``.

    Raises :class:`DataError` where it is missing, unreadable, not a regular file, or larger.
    """
    path = Path(path)
    try:
        with open(path, "rb", opener=_at_once) as file:
            status = os.fstat(file.fileno())
            size = status.st_size
            if not stat.S_ISREG(status.st_mode):
                raise DataError(f"{path}: not a regular file; allowed: a file, not a folder, pipe or device")
            if size > max_bytes:
                raise DataError(f"{path}: {size} bytes; allowed: up to {max_bytes} bytes")
            data = file.read(size + 1)  # not max_bytes: that much would be allocated
            while len(data) <= max_bytes and (more := file.read(_BLOCK)):  # it grows while it is read
                data += more
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path and its permissions") from error
    if len(data) > max_bytes:
        raise DataError(f"{path}: more than {max_bytes} bytes, the most allowed")
    return data


def _at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe that nobody writes into would never open."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def write_json(path: Path | str, document: Mapping[str, Any], *, kind: str, version: int) -> None:
    """Write ``document`` as JSON, headed by ``"format": kind`` and ``"version": version``.

    Raises :class:`InputError` for inf, NaN or values that JSON does not know, :class:`DataError` as
    :func:`write_bytes`; in both cases ``path`` is unchanged.
    """
    write_bytes(path, headed(document, str(path), kind=kind, version=version))


def headed(document: Mapping[str, Any], where: str, *, kind: str, version: int) -> bytes:
    """What :func:`write_json` writes; raises :class:`InputError` as it does."""
    try:
        text = json.dumps({"format": kind, "version": version, **document}, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"cannot store this in {where}: {error}; allowed: finite numbers, text, lists, objects"
        ) from error
    return text.encode() + b"\n"


def read_json(
    path: Path | str, *, kind: str, version: int, older: tuple[int, ...] = (), max_bytes: int = MAX_JSON_BYTES
) -> dict[str, Any]:
    """The document of :func:`write_json`, its ``format`` and ``version`` checked and still in it.

    ``older``: versions that the caller reads besides. Raises :class:`DataError` naming file, found and allowed for anything
    else.
    """
    return parse_headed(read_bytes(path, max_bytes), str(path), kind=kind, versions=(*older, version))


def parse_headed(data: bytes, where: str, *, kind: str, versions: tuple[int, ...]) -> dict[str, Any]:
    """The document in ``data``, its ``format`` and ``version`` checked and still in it; raises as :func:`read_json`."""
    document = parse_json(data, where)
    for field, allowed in (("format", (kind,)), ("version", versions)):
        found = document.get(field)
        if not any(type(found) is type(one) and found == one for one in allowed):
            known = " or ".join(map(repr, allowed))
            raise DataError(f"{where}: {field} {_short(found)}; this version of hwloop reads {known}")
    return document


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """``data`` as a strict JSON object: no inf, no NaN, no repeated key, no endless nesting; else :class:`DataError`."""
    _check_parts(data, where)
    try:
        document = json.loads(
            data.decode(), parse_constant=_refuse_constant, parse_float=_finite_float, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: not a valid document ({error or type(error).__name__}); allowed: strict JSON"
        ) from None
    if not isinstance(document, dict):
        raise DataError(f"{where}: holds {type(document).__name__}; allowed: a JSON object")
    return document


def _check_parts(data: bytes, where: str) -> None:
    """Refuse text that is small and would be large in memory: empty objects by the million."""
    for signs, most in ((b"{[", MAX_CONTAINERS), (b",", MAX_ITEMS)):
        found = sum(data.count(bytes([sign])) for sign in signs)
        if found > most:
            raise DataError(
                f"{where}: {found} parts; allowed: up to {most}. It is damaged, or of more than this version of hwloop takes"
            )


def malformed(where: str, field: str, found: object, allowed: object) -> DataError:
    """The error of a file that holds what it may not: where, which field, what was found, what is allowed."""
    return DataError(
        f"{where}: {field} is {_short(found) if not isinstance(found, str) else printable(found)}; allowed: {allowed}. "
        "Get the file again, or make it anew"
    )


def printable(text: str, most: int = 200) -> str:
    """Text of a file or device as it may be shown: without control characters, and not endless."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:most])
    return shown if len(text) <= most else f"{shown}..."


def _refuse_constant(text: str) -> float:
    raise ValueError(f"number {text}; allowed: finite numbers")


def _finite_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"number {text[:40]}; allowed: finite numbers")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return document


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def sync_folder(folder: Path) -> None:
    """Make a rename last; Windows offers no handle on a folder and keeps its own journal."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
