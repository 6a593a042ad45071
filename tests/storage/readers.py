"""Every reader of the project, with a good file for each."""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch

import hwloop as hl
from hwloop import files, storage
from hwloop.bundle.archive import pack_members, unpack_members
from hwloop.bundle.files import MEMBERS
from hwloop.checkpoint import _unpack_state, load_checkpoint, save_checkpoint
from hwloop.command.data_provenance import keep
from hwloop.command.data_provenance import stored as kept_digests
from hwloop.conformance import load_expectations
from hwloop.event_files import read_events, write_events
from hwloop.experiment import Experiment
from hwloop.mapping import stored
from hwloop.own_data import Source, digests_of
from hwloop.own_data.event_folders import labelled_files
from hwloop.results import read_summary, write_summary
from hwloop.session_log import read_log, record_session
from hwloop.session_log.records import _HEADER, MAGIC, encode_record
from hwloop_calibration.yield_ import study
from hwloop_emulator.preset import Preset
from hwloop_loihi import read_netx, write_netx

TINY = Path(__file__).parents[1] / "tiny.toml"
Damage = Callable[[bytes], bytes]


def nothing(content: bytes, damage: Damage) -> bytes:
    return damage(content)


@dataclass(frozen=True)
class Reader:
    """``read(path)`` of a good file ``content``; ``reseal`` damages its inside and makes its sums right again.

    ``name``: of the file; ``beside``: what else has to be in its folder; ``sealed``: no changed byte may be accepted.
    """

    content: bytes
    read: Callable[[Path], Any]
    name: str = "file"
    beside: Mapping[str, bytes] | None = None
    sealed: bool = False
    damaged: Callable[[bytes, Damage], bytes] = nothing


def network() -> hl.Network:
    torch.manual_seed(0)
    return hl.Network([hl.Dense(5, 4), hl.LIF(4, 10e-3, 5e-3), hl.Dense(4, 2), hl.LIF(2, 10e-3, 5e-3)])


def spikes() -> hl.Spikes:
    return hl.Spikes.from_events([([0.001, 0.002], [0, 1]), ([0.004], [3])], 5, 0.03)


def resealed_bundle(content: bytes, damage: Damage) -> bytes:
    members = unpack_members(content, "x", MEMBERS)
    chosen = sorted(members)[int.from_bytes(damage(b"\0\0\0\0\0\0\0\0")[-2:] or b"\0", "little") % len(members)]
    return pack_members({**members, chosen: damage(members[chosen])})


def resealed_log(content: bytes, damage: Damage) -> bytes:
    """One record damaged inside, its sums right."""
    place, records = len(MAGIC), []
    while place < len(content):
        _, kind, length, _, _ = _HEADER.unpack_from(content, place)
        records.append((kind, content[place + _HEADER.size : place + _HEADER.size + length]))
        place += _HEADER.size + length
    chosen = int.from_bytes(damage(b"\0\0\0\0\0\0\0\0")[-2:] or b"\0", "little") % len(records)
    kind, body = records[chosen]
    (length,) = struct.unpack_from("<I", body)
    text, arrays = body[4 : 4 + length], body[4 + length :]
    if damage(b"\0\0\0\0")[:1] == b"\0":
        text = damage(text)
    else:
        arrays = damage(arrays)
    records[chosen] = (kind, struct.pack("<I", len(text)) + text + arrays)
    return MAGIC + b"".join(encode_record(k, b) for k, b in records)


def use_log(path: Path) -> Any:
    found = read_log(path)
    return [found.events(k) for k in range(len(found.runs))]


def calibrated(path: Path) -> bytes:
    """A calibration of two neurons, made in a process of its own: what its threads leave behind would hang later forks."""
    child = os.fork()
    if child == 0:
        try:
            with hl.open("emulator:7", session=1) as device:
                program = hl.compile(network(), device.target)
                device.load(program)
                hl.calibrate(device, program, neurons=[0, 1], trim=False, synapses=False, repeats=4).save(path)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return path.read_bytes()


def readers(folder: Path) -> dict[str, Reader]:
    """All of them; good files are made in ``folder``."""
    calibration = calibrated(folder / "calibration.json")
    net = network()
    with record_session(hl.open("emulator:7", session=1), folder / "x.log") as device:
        program = hl.compile(net, device.target)
        device.load(program)
        device.run(spikes())
        hl.save_bundle(folder / "x.hwb", net, program, device, spikes())
        limits = device.capabilities
    manifest = save_checkpoint(
        folder / "run", net, {"weights": dict(net.state_dict()), "history": [(1, 0.5, None)]}, step=3
    )
    data = next((folder / "run").glob("*.safetensors"))
    write_summary(folder, "train", status="finished", seed=0)
    write_events(folder / "out.npz", {"0": spikes()}, {})
    valid = spikes().valid
    np.savez(
        folder / "x.npz", times=spikes().times[valid].numpy(), units=spikes().units[valid].numpy(),
        counts=spikes().counts.numpy(), n_units=5, t_stop=0.03,
    )  # fmt: skip
    nir.write_data(folder / "x_data.nir", nir.NIRGraphData({"in": nir.NIRNodeData({"s": spikes().to_nir_data()})}))
    nir.write(folder / "x.nir", net.to_nir())
    write_netx(folder / "x.net", net, dt=1e-4)
    np.save(folder / "x.npy", np.arange(12.0).reshape(3, 4))
    np.save(folder / "aer.npy", np.array([(10, 1), (25, 3)], dtype=[("t", "<i8"), ("x", "<i2")]))
    (folder / "data").mkdir()
    keep(folder / "data", digests_of({"train": [folder / "x.npy"]}))
    idx = bytes([0, 0, 8, 3]) + struct.pack(">3I", 4, 28, 28) + bytes(4 * 784)
    stored_program = stored.dump(program)
    checkpoint = {manifest.name: manifest.read_bytes(), data.name: data.read_bytes()}

    def of(name: str) -> bytes:
        return (folder / name).read_bytes()

    def checkpoints(path: Path) -> Any:
        return load_checkpoint(path.parent, net)

    tree = json.loads(manifest.read_bytes())["state"]

    def idx_of(path: Path) -> Any:
        return files.read_idx(path, (28, 28))

    return {
        "bundle": Reader(of("x.hwb"), hl.load_bundle, sealed=True),
        "bundle with right sums": Reader(of("x.hwb"), hl.load_bundle, damaged=resealed_bundle),
        "log": Reader(of("x.log"), use_log),
        "log with right sums": Reader(of("x.log"), use_log, damaged=resealed_log),
        "checkpoint manifest": Reader(checkpoint[manifest.name], checkpoints, manifest.name, checkpoint),
        "checkpoint data": Reader(checkpoint[data.name], checkpoints, data.name, checkpoint, sealed=True),
        "checkpoint data with right sums": Reader(
            checkpoint[data.name], lambda path: _unpack_state(path, tree, path.read_bytes())
        ),
        "calibration": Reader(calibration, hl.Calibration.load, "file.json"),
        "calibration, edited": Reader(calibration, lambda path: hl.Calibration.load(path, allow_edited=True), "file.json"),
        "hardened weights": Reader(
            study._saved(net), lambda path: net.load_state_dict(study._weights(storage.read_bytes(path, 2**20), str(path)), strict=False)
        ),
        "summary": Reader(of("summary.json"), lambda path: read_summary(path.parent), "summary.json"),
        "document": Reader(json.dumps({"format": "k", "version": 1, "a": [1, {"b": 2.5}]}).encode(),
                           lambda path: storage.read_json(path, kind="k", version=1)),
        "experiment": Reader(TINY.read_bytes(), Experiment.load, "file.toml"),
        "known failures": Reader(
            b'format = "hwloop-conformance-expected"\nversion = 1\n[[expected]]\nclaim = "refuses_loops"\nreason = "old"\n',
            load_expectations, "file.toml",
        ),
        "preset": Reader((Path(hl.__file__).parents[1] / "backends/hwloop_emulator/presets/bss2.toml").read_bytes(), Preset.load, "file.toml"),
        "program": Reader(stored_program, lambda path: stored.load(path.read_bytes(), limits, str(path))),
        "events (npz)": Reader(of("x.npz"), read_events),
        "events (NIRData)": Reader(of("x_data.nir"), read_events),
        "NIR graph": Reader(of("x.nir"), lambda path: hl.Network.from_nir(path), "file.nir"),
        "netx": Reader(of("x.net"), lambda path: read_netx(path, dt=1e-4)),
        "npy": Reader(of("x.npy"), lambda path: files.read_npy(path, np.dtype(float), (None, 4))),
        "address events": Reader(of("aer.npy"), lambda path: files.parse_structured_npy(path.read_bytes(), str(path))),
        "table of labels": Reader(b"file,label\na.nir,0\nb.nir,1\n", lambda path: labelled_files(Source(str(path.parent)), 2, ()),
                                  "labels.csv", {"a.nir": b"", "b.nir": b""}),
        "digests of data": Reader(of("data/data.json"), lambda path: kept_digests(path.parent), "data.json"),
        "idx": Reader(idx, idx_of),
        "idx.gz": Reader(gzip.compress(idx, mtime=0), idx_of),
    }  # fmt: skip
