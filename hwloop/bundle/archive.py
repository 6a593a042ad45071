"""Members with fixed names in one uncompressed zip file, whose every byte is accounted for.

A manifest names the SHA-256 of each member. What is read is put together again and compared with the file, so that a byte
that was changed anywhere, also between members, is found.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from ..storage import ZIP_DAMAGE, malformed, printable
from ..strict_documents import Count, Name, Sha256, StrictDocument, parse_document

#: Largest file (bytes): networks and events of some hundred million numbers.
MAX_BYTES = 2**30
#: Largest member that is text (bytes).
MAX_TEXT_BYTES = 64 * 2**20
MANIFEST = "manifest.json"
#: What every member is dated: the same content gives the same file.
_DATE = (1980, 1, 1, 0, 0, 0)


class MemberText(StrictDocument):
    """One member: its size (bytes) and SHA-256."""

    bytes: Count
    sha256: Sha256


class Manifest(StrictDocument):
    """What the file holds."""

    format: Literal["hwloop-bundle"]
    version: Literal[1]
    members: Annotated[dict[Name, MemberText], Field(min_length=1, max_length=64)]


def pack_members(members: Mapping[str, bytes]) -> bytes:
    """``members`` as one file, a manifest before them; the same members give the same bytes."""
    entries = {
        name: MemberText(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()) for name, data in members.items()
    }
    manifest = Manifest(format="hwloop-bundle", version=1, members=entries).to_bytes()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {MANIFEST: manifest, **members}.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system, info.external_attr = 3, 0o600 << 16
            archive.writestr(info, data)
    return content.getvalue()


def unpack_members(data: bytes, where: str, known: frozenset[str]) -> dict[str, bytes]:
    """The members of ``data``, each checked; all of them are ``known``.

    Raises :class:`DataError` naming ``where`` and the member that is damaged, missing or unknown.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = _read(archive, where, known, len(data))
    except zipfile.BadZipFile as error:
        raise malformed(
            where, "the file", f"no whole bundle ({error}), as one half-written is", "a .hwb file"
        ) from None
    except ZIP_DAMAGE as error:
        raise malformed(where, "the file", f"no bundle ({error})", "a .hwb file") from None
    manifest = parse_document(Manifest, found.pop(MANIFEST, b""), f"{where}: {MANIFEST}")
    for name in manifest.members | found:
        _check(name, manifest.members.get(name), found.get(name), where)
    if list(found) != list(manifest.members) or pack_members(found) != data:
        raise malformed(where, "what stands around the members", "not as hwloop writes it", "an unchanged bundle")
    return found


def _read(archive: zipfile.ZipFile, where: str, known: frozenset[str], size: int) -> dict[str, bytes]:
    """Contents by name; nothing is read whose name, size or packing is not allowed."""
    found: dict[str, bytes] = {}
    for info in archive.infolist():
        name = info.filename
        if name not in known or name in found:
            raise malformed(where, f"member {printable(name)}", "unknown, or twice there", ", ".join(sorted(known)))
        most = min(size, MAX_TEXT_BYTES if name.endswith(".json") else MAX_BYTES)
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.file_size > most:
            raise malformed(
                where, f"member {name}", f"{info.file_size} bytes, packed", f"up to {most} bytes, not packed"
            )
        try:
            found[name] = archive.read(info)
        except ZIP_DAMAGE as error:
            raise malformed(where, f"member {name}", f"damaged ({error})", "what its manifest says") from None
    return found


def _check(name: str, entry: MemberText | None, content: bytes | None, where: str) -> None:
    if entry is None or content is None:
        state = "missing" if content is None else "not in the manifest"
        raise malformed(where, f"member {printable(name)}", state, "what the manifest names")
    digest = hashlib.sha256(content).hexdigest()
    if (len(content), digest) != (entry.bytes, entry.sha256):
        raise malformed(
            where,
            f"member {name}",
            f"edited or damaged: sha256 {digest[:16]}",
            f"{entry.sha256[:16]}, as its manifest says",
        )
