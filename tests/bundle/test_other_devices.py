"""A bundle on devices that it was not made on, and files that are nearly one."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import hwloop as hl
from hwloop.bundle import verify_bundle
from hwloop.bundle.archive import MANIFEST, Manifest, pack_members, unpack_members
from hwloop.bundle.files import MEMBERS
from hwloop.device.registry import find
from hwloop.errors import DataError, TargetError
from tests.session_log.test_replay import Unseekable

from .conftest import Made, chain, inputs, make


def test_a_device_whose_noise_cannot_be_sent_back_is_compared_within_a_tolerance_and_says_so(made: Made) -> None:
    found = verify_bundle(made.bundle, Unseekable(hl.open("emulator:7", session=4)), tolerance=1.0)  # type: ignore[arg-type]
    assert not found.placed
    assert "cannot be sent back to where it stood: compare with --tolerance" in str(found)
    assert "within 1 s" in str(found)


def test_what_compiles_to_another_program_although_its_limits_are_the_same_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path / "x.hwb", "loihi", chain().requires_grad_(False))
    bundle = hl.load_bundle(made.path)
    target: Any = find("loihi")
    assert bundle.program(target).digest == made.program.digest
    other = chain()
    with torch.no_grad():
        other.blocks[0][0].weight.neg_()
    message = "the bundle holds .*, made with .*numpy .*Install those versions, or make the bundle anew"
    with (
        mock.patch.object(target, "compile", lambda net, **options: find("loihi").compile(other, **options)),
        pytest.raises(TargetError, match=message),
    ):
        bundle.program(target)


def test_a_program_that_was_placed_elsewhere_is_put_where_it_was(tmp_path: Path) -> None:
    with hl.open("loihi") as device:
        program: Any = hl.compile(chain(), device)
        moved = program.placed([layer.neurons + 5 for layer in program.layers])
        hl.save_bundle(tmp_path / "x.hwb", chain(), moved, device, inputs())
    bundle = hl.load_bundle(tmp_path / "x.hwb")
    with bundle.open() as device:
        assert bundle.load_on(device).digest == moved.digest
        assert verify_bundle(bundle, device).passed


def test_a_device_that_takes_no_calibration_is_refused(made: Made) -> None:
    from hwloop.bundle.contents import apply_calibration

    with pytest.raises(TargetError, match="takes no calibration; leave it out"):
        apply_calibration(mock.Mock(spec=["device_id"], device_id="x"), mock.Mock())


def members(made: Made) -> dict[str, bytes]:
    return unpack_members(made.path.read_bytes(), "x", MEMBERS)


def with_calibration(path: Path) -> bytes:
    with hl.open("emulator:7", preset="ideal") as device:
        program = hl.compile(chain(), device)
        hl.calibrate(device, program, repeats=4, synapses=False)
        hl.save_bundle(path, chain(), program, device, inputs())
    return path.read_bytes()


def test_a_calibration_that_was_edited_is_refused(tmp_path: Path) -> None:
    found = unpack_members(with_calibration(tmp_path / "x.hwb"), "x", MEMBERS)
    old, new = b'"device_id": "emulator:7', b'"device_id": "emulator:8'
    assert old in found["calibration.json"]
    edited = {**found, "calibration.json": found["calibration.json"].replace(old, new, 1)}
    (tmp_path / "x.hwb").write_bytes(pack_members(edited))
    with pytest.raises(DataError, match="calibration.json: the calibration is .*allowed: one that was not edited"):
        hl.load_bundle(tmp_path / "x.hwb")


def zipped(parts: dict[str, bytes], **options: Any) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return content.getvalue()


def lying(data: bytes) -> bytes:
    """Another checksum of the first member, in both places."""
    at = data.index(b"PK\x03\x04") + 14
    crc = data[at : at + 4]
    return data.replace(crc, bytes([crc[0] ^ 1]) + crc[1:])


def manifest(parts: dict[str, bytes]) -> bytes:
    import hashlib

    entries = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()}
    return Manifest.model_validate({"format": "hwloop-bundle", "version": 1, "members": entries}).to_bytes()


NEARLY: list[tuple[str, Callable[[dict[str, bytes]], bytes]]] = [
    ("packed", lambda parts: zipped({MANIFEST: manifest(parts), **parts}, compression=zipfile.ZIP_DEFLATED)),
    ("damaged .*allowed: what its manifest says", lambda parts: lying(pack_members(parts))),
    ("what stands around the members", lambda parts: zipped({MANIFEST: manifest(parts), **parts})),
    (
        "member golden.json is missing",
        lambda parts: zipped({MANIFEST: manifest(parts), **{k: v for k, v in parts.items() if k != "golden.json"}}),
    ),
    (
        "member golden.json is not in the manifest",
        lambda parts: zipped({MANIFEST: manifest({k: v for k, v in parts.items() if k != "golden.json"}), **parts}),
    ),
    (
        "edited or damaged",
        lambda parts: zipped({MANIFEST: manifest(parts), **parts, "golden.json": parts["golden.json"] + b" "}),
    ),
    ("manifest.json", lambda parts: zipped(parts)),
    ("manifest.json", lambda parts: b"PK\5\6" + bytes(30)),
    ("no bundle", lambda parts: huge(pack_members(parts))),
]


def huge(data: bytes) -> bytes:
    """The end of the file says that its list of members is somewhere else."""
    at = data.rindex(b"PK\5\6")
    return data[: at + 12] + struct.pack("<I", 0xFFFFFF00) + data[at + 16 :]


@pytest.mark.parametrize(("said", "build"), NEARLY, ids=[said for said, _ in NEARLY])
def test_a_file_that_is_nearly_a_bundle_is_refused(
    tmp_path: Path, made: Made, said: str, build: Callable[[dict[str, bytes]], bytes]
) -> None:
    (tmp_path / "x.hwb").write_bytes(build(members(made)))
    with pytest.raises(DataError, match=f"x.hwb.*{said}" if said != "no bundle" else "x.hwb.*no (whole )?bundle"):
        hl.load_bundle(tmp_path / "x.hwb")
