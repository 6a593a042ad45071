"""Bundles to files and back.

manifest.json          SHA-256 and size of every other member
provenance.json        run id, digests, device, versions, whether it was emulated or measured
network.json, network.safetensors       structure, and every tensor
program.json, program.safetensors       which program, and codes, placement, scales, parameters
graph.json, graph.safetensors           of fixed-point and floating-point programs: all that runs
target.json            name, options and limits of the target
calibration.json       of the device, where it had one
golden.json, golden.safetensors         inputs, and what the device answered, times bit for bit
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import storage
from ..array_file import ArrayReader, dump_arrays, load_arrays
from ..device.registry import Device
from ..device.target_document import TargetText, target_text
from ..errors import CalibrationError, InputError
from ..mapping import Program
from ..mapping import stored as stored_program
from ..mapping.partition import PartitionedProgram
from ..network import Network
from ..network.description import NetworkText, build_network, describe_network
from ..record import Recording
from ..results import versions
from ..spikes import Spikes
from ..storage import malformed
from ..stored_spikes import pack_spikes, unpack_spikes
from ..strict_documents import parse_document
from .archive import MAX_BYTES, pack_members, unpack_members
from .contents import Bundle, Golden
from .documents import GoldenText, Position, ProgramText, ProvenanceText

#: Members that a bundle has in any case, and that it may have.
NEEDED = (
    "provenance.json", "network.json", "network.safetensors", "program.json", "program.safetensors", "target.json", "golden.json",
    "golden.safetensors",
)  # fmt: skip
OPTIONAL = ("graph.json", "graph.safetensors", "calibration.json")
MEMBERS = frozenset({"manifest.json", *NEEDED, *OPTIONAL})


def save_bundle(
    path: Path | str, net: Network, program: Program, device: Device, inputs: Spikes, *, source: str = ""
) -> Bundle:
    """Run ``inputs`` on ``device`` with ``program`` and write all that the deployment consists of to ``path``, in one step.

    Parameters
    ----------
    path : usually ``NAME.hwb``
    net : what ``program`` was compiled of
    program : it is loaded; an emulated device begins its noise anew where it stands
    device : opened
    inputs : the golden inputs (model s)
    source : where it comes from, in words; printable

    Raises
    ------
    InputError
        A layer or program of a kind that no file can hold; ``net`` and ``program`` do not belong together.
    TargetError
        The device fails.
    DataError
        ``path`` cannot be written; it is then unchanged.
    """
    _check_together(net, program)
    device.load(program)
    position = _begin_noise(device)
    recording = device.run(inputs)
    arrays: dict[str, Any] = {}
    golden = _golden_text(recording, inputs, position, arrays).to_bytes(), dump_arrays(arrays)
    members = _members(net, program, device, recording, golden, source)
    data = pack_members(members)
    # before anything is written: what no reader takes is no bundle
    bundle = _parse(unpack_members(data, str(path), MEMBERS), str(path))
    storage.write_bytes(path, data)
    return bundle


def load_bundle(path: Path | str) -> Bundle:
    """The bundle in ``path``, every member checked.

    Raises :class:`~hwloop.errors.DataError` naming file and member for a file that is missing, half-written, edited, or holds
    what is not allowed. Nothing is run, and no path or address that stands in it is used.
    """
    return _parse(unpack_members(storage.read_bytes(path, MAX_BYTES), str(path), MEMBERS), str(path))


def _check_together(net: Network, program: Program) -> None:
    sizes = [layer.n_out for layer in program.layers]
    structure = net.structure
    wanted = [structure.nodes[name].n for name in structure.populations]
    if sizes != wanted or program.n_in > net.n_in:
        raise InputError(
            f"the program has layers of {sizes} neurons and {program.n_in} inputs, the network {wanted} and {net.n_in}; "
            "compile this network: program = hl.compile(net, device)"
        )


def _begin_noise(device: Device) -> Position | None:
    """Let an emulated device begin its noise where it stands, as another one will that is sent there."""
    seek = getattr(device, "seek", None)
    session, batch = getattr(device, "session", None), getattr(device, "batch", None)
    if seek is None or session is None or batch is None:
        return None
    seek(session=int(session), batch=int(batch))
    return Position(session=int(session), batch=int(batch))


# -- writing --------------------------------------------------------------------------------------


def _members(
    net: Network, program: Program, device: Device, recording: Recording, golden: tuple[bytes, bytes], source: str
) -> dict[str, bytes]:
    network_arrays: dict[str, Any] = {}
    network = describe_network(net, network_arrays).to_bytes(), dump_arrays(network_arrays)
    calibration = getattr(device, "calibration", None)
    provenance = ProvenanceText(
        run_id=secrets.token_hex(8), created=datetime.now(UTC).isoformat(timespec="seconds"), source=source,
        network=_digest(*network), program=program.digest, target=program.target, device_id=recording.device_id,
        firmware=recording.firmware, ran_on=recording.ran_on, calibration_id=recording.calibration_id, versions=versions(),
    )  # fmt: skip
    text = ProgramText(
        kind=type(program).__name__, digest=program.digest, scales=program.scales,
        pieces=isinstance(program, PartitionedProgram), mask=getattr(program, "mask", ()),
    )  # fmt: skip
    members = {
        "provenance.json": provenance.to_bytes(),
        "network.json": network[0],
        "network.safetensors": network[1],
        "program.json": text.to_bytes(),
        "program.safetensors": stored_program.dump(_plain_program(program)),
        "target.json": target_text(device.target, device).to_bytes(),
        "golden.json": golden[0],
        "golden.safetensors": golden[1],
        **_graph_members(program),
    }
    return members if calibration is None else {**members, "calibration.json": calibration.to_bytes()}


def _plain_program(program: Program) -> Program:
    """What every program has, of one that has more."""
    return Program(**{field.name: getattr(program, field.name) for field in fields(Program)})


def _graph_members(program: Program) -> dict[str, bytes]:
    graph = getattr(program, "graph", None)
    if graph is None:
        return {}
    document, arrays = graph.to_parts()
    return {
        "graph.json": json.dumps(document, indent=1, allow_nan=False).encode(),
        "graph.safetensors": dump_arrays(arrays),
    }


def _golden_text(recording: Recording, inputs: Spikes, position: Position | None, arrays: dict[str, Any]) -> GoldenText:
    populations = tuple(pack_spikes(train, f"populations.{k}", arrays) for k, train in enumerate(recording.populations))
    return GoldenText(
        inputs=pack_spikes(inputs, "inputs", arrays), names=recording.names, populations=populations, position=position,
        lost_events=recording.lost_events, late_events=recording.late_events, wall_time=recording.wall_time,
    )  # fmt: skip


# -- reading --------------------------------------------------------------------------------------


def _parse(members: Mapping[str, bytes], path: str) -> Bundle:
    for name in NEEDED:
        if name not in members:
            raise malformed(path, f"member {name}", "missing", "there in every bundle")
    target = parse_document(TargetText, members["target.json"], f"{path}: target.json")
    text = parse_document(ProgramText, members["program.json"], f"{path}: program.json")
    provenance = parse_document(ProvenanceText, members["provenance.json"], f"{path}: provenance.json")
    arrays = ArrayReader(
        load_arrays(members["network.safetensors"], f"{path}: network.safetensors"), f"{path}: network.safetensors"
    )
    network_text = parse_document(NetworkText, members["network.json"], f"{path}: network.json")
    network = build_network(network_text, arrays, f"{path}: network.json")
    arrays.finish()
    codes = _codes(members["program.safetensors"], target, f"{path}: program.safetensors")
    bundle = Bundle(
        network,
        codes,
        text,
        target,
        provenance,
        _golden(members, path),
        _calibration(members, path),
        _graph(members, path),
    )
    _check_digests(bundle, _digest(members["network.json"], members["network.safetensors"]), path)
    return bundle


def _codes(data: bytes, target: TargetText, where: str) -> Program:
    try:
        return stored_program.load(data, target.limits.capabilities(), where)
    except (ValueError, OverflowError, MemoryError) as error:
        raise malformed(where, "the program", str(error), "what hwloop wrote") from None


def _golden(members: Mapping[str, bytes], path: str) -> Golden:
    text = parse_document(GoldenText, members["golden.json"], f"{path}: golden.json")
    where = f"{path}: golden.safetensors"
    arrays = ArrayReader(load_arrays(members["golden.safetensors"], where), where)
    inputs = unpack_spikes(text.inputs, "inputs", arrays, where)
    found = [unpack_spikes(train, f"populations.{k}", arrays, where) for k, train in enumerate(text.populations)]
    arrays.finish()
    return Golden(text, inputs, tuple(found))


def _calibration(members: Mapping[str, bytes], path: str) -> Any:
    data = members.get("calibration.json")
    if data is None:
        return None
    from hwloop_calibration import Calibration

    where = f"{path}: calibration.json"
    try:
        return Calibration.from_bytes(data, where)
    except CalibrationError as error:
        raise malformed(where, "the calibration", str(error), "one that was not edited") from None


def _graph(members: Mapping[str, bytes], path: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    present = [name for name in ("graph.json", "graph.safetensors") if name in members]
    if not present:
        return None
    if len(present) == 1:
        raise malformed(path, "the graph", f"{present[0]} alone", "graph.json and graph.safetensors")
    document = storage.parse_json(members["graph.json"], f"{path}: graph.json")
    return document, load_arrays(members["graph.safetensors"], f"{path}: graph.safetensors")


def _check_digests(bundle: Bundle, network: str, path: str) -> None:
    """Refuse members that are each whole and do not belong together."""
    text, provenance, golden = bundle.program_text, bundle.provenance, bundle.golden
    plain = text.kind == Program.__name__
    held = bundle.codes if bundle.graph is None else _with_content(bundle.codes, _graph_digest(*bundle.graph).encode())
    sizes, found = [layer.n_out for layer in bundle.codes.layers], [train.n_units for train in golden.populations]
    allowed = {
        "network": (provenance.network, network),
        "program": (provenance.program, text.digest),
        "program.safetensors": (text.digest if text.pieces else held.digest, text.digest),
        "scales": (text.scales, bundle.codes.scales),
        "device": (provenance.device_id, bundle.target.device_id),
        "kind of the program": (plain or bundle.graph is not None or text.pieces, True),
        "golden populations": (found, sizes),
        "golden names": (len(golden.names), len(sizes)),
        "golden inputs": (golden.inputs.n_units >= bundle.codes.n_in, True),
        "golden samples": ({len(train) for train in golden.populations}, {len(golden.inputs)}),
    }
    for name, (one, other) in allowed.items():
        if one != other:
            raise malformed(path, name, f"{one}", f"{other}, as another member says")


@dataclass(frozen=True, eq=False)
class _WithContent(Program):
    """A program whose digest covers ``content`` too, as that of a graph does."""

    content: bytes = b""

    def _content(self) -> bytes:
        return self.content


def _with_content(program: Program, content: bytes) -> Program:
    return _WithContent(**{field.name: getattr(program, field.name) for field in fields(Program)}, content=content)


def _graph_digest(document: dict[str, Any], arrays: Mapping[str, Any]) -> str:
    """As :attr:`hwloop_fixed_point.graph.FixedGraph.digest`: of its document and its arrays."""
    result = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        result.update(f"{name}{little.dtype.str}{little.shape}".encode() + little.tobytes())
    return result.hexdigest()


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
