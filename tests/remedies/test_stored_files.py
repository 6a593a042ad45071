"""Bundles, logs and their files: what to do about those that are damaged, of another device, or not what is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwloop as hl
from hwloop import storage
from hwloop.bundle.archive import pack_members, unpack_members
from hwloop.bundle.contents import apply_calibration
from hwloop.bundle.files import MEMBERS
from hwloop.datasets.recordings import read_recordings
from hwloop.errors import DataError
from hwloop.event_files import read_events, write_events
from hwloop.session_log import read_log, record_session, records
from hwloop.stored_spikes import pack_spikes

from .data_files import written
from .support import Case, refused


def net(n: int = 4) -> hl.Network:
    generator = np.random.default_rng(0)
    layers = [hl.Dense(5, n), hl.LIF(n, 10e-3, 5e-3), hl.Dense(n, 2), hl.LIF(2, 10e-3, 5e-3)]
    for dense in layers[::2]:
        dense.weight.data[:] = dense.weight.new_tensor(generator.normal(1.0, 0.3, tuple(dense.weight.shape)))
    return hl.Network(layers)


def spikes(time: float = 0.002) -> hl.Spikes:
    return hl.Spikes.from_events([([0.001, time], [0, 1]), ([0.004], [3])], 5, 0.03)


def bundle(path: Path, target: str = "emulator:7") -> Path:
    with hl.open(target) as device:
        hl.save_bundle(path, net(), hl.compile(net(), device), device, spikes())
    return path


def recorded(path: Path) -> Path:
    with record_session(hl.open("emulator:7", session=1), path) as device:
        device.load(hl.compile(net(), device.target))
        device.run(spikes())
    return path


def events(path: Path) -> Path:
    valid = spikes().valid
    np.savez(
        path, times=spikes().times[valid].numpy(), units=spikes().units[valid].numpy(), counts=spikes().counts.numpy(), n_units=5, t_stop=0.03
    )  # fmt: skip
    return path


FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any]]] = {
    "x.hwb": (bundle, hl.load_bundle), "x.log": (recorded, read_log), "x.npz": (events, read_events),
    "spoken_digits.npz": (lambda path: written(path.parent) / path.name, read_recordings),
}  # fmt: skip


@pytest.mark.parametrize("remedy", ["get", "make"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_read_once_it_is_got_again_or_made_anew(tmp_path: Path, name: str, remedy: str) -> None:
    make, read = FILES[name]
    path = make(tmp_path / name)
    whole = path.read_bytes()
    path.write_bytes(b"x" + whole[1:])
    with pytest.raises(DataError, match="Get the file again, or make it anew") as caught:
        read(path)
    assert str(path) in str(caught.value)
    path.unlink()
    if remedy == "get":
        path.write_bytes(whole)
    else:
        make(path)
    read(path)


# -- bundles --------------------------------------------------------------------------------------


def test_a_program_that_compiles_otherwise_is_bundled_anew(tmp_path: Path) -> None:
    path = bundle(tmp_path / "x.hwb", "loihi")
    members = unpack_members(path.read_bytes(), "x", MEMBERS)
    network = json.loads(members["network.json"])
    found = hl.load_bundle(path)
    assert network["layers"]
    # the same file, read by a version that compiles otherwise: here a network that moved on after it was bundled
    found.network.blocks[0][0].weight.data *= 1.5
    device = found.open()
    refused("Bundle.program", "make the bundle anew", lambda: found.load_on(device))
    hl.load_bundle(bundle(tmp_path / "y.hwb", "loihi")).load_on(device)
    path.write_bytes(pack_members(members))
    hl.load_bundle(path).load_on(device)


def test_a_device_that_takes_no_calibration_is_left_without(tmp_path: Path) -> None:
    class Plain:
        device_id = "a device"

    refused("apply_calibration", "leave it out", lambda: apply_calibration(Plain(), None))  # type: ignore[arg-type]
    with bundle_device(tmp_path) as device:
        assert device.program is not None


def bundle_device(folder: Path) -> Any:
    found = hl.load_bundle(bundle(folder / "x.hwb"))
    device: Any = found.open()
    found.load_on(device)
    return device


def test_the_network_that_is_bundled_is_the_one_that_was_compiled(tmp_path: Path) -> None:
    with hl.open("emulator:7") as device:
        program = hl.compile(net(), device)
        message = "compile this network: program = hl.compile(net, device)"
        refused("_check_together", message, lambda: hl.save_bundle(tmp_path / "x", net(3), program, device, spikes()))
        hl.save_bundle(tmp_path / "x", net(3), hl.compile(net(3), device), device, spikes())


def test_layers_of_a_file_are_those_that_are_named(tmp_path: Path) -> None:
    class Mine(hl.LIF):
        pass

    def save(layer: Any) -> None:
        with hl.open("emulator:7") as device:
            made = hl.Network([hl.Dense(5, 3), layer])
            made.blocks[0][0].weight.data[:] = 1.0
            hl.save_bundle(tmp_path / "x", made, hl.compile(made, device), device, spikes())

    Case(
        "_describe", "allowed in a file: {}", lambda: save(Mine(3, 1e-2, 5e-3)), lambda: save(hl.LIF(3, 1e-2, 5e-3))
    ).follow()


def test_of_a_device_twin_the_network_is_stored(tmp_path: Path) -> None:
    with hl.open("emulator:7") as device:
        program = hl.compile(net(), device)
        twin = net()
        twin.blocks[0][0].mismatch = twin.blocks[0][0].weight.detach() * 0 + 1.1
        message = "store the network that it was made of, and the calibration"
        refused("_describe", message, lambda: hl.save_bundle(tmp_path / "x", twin, program, device, spikes()))
        hl.save_bundle(tmp_path / "x", net(), program, device, spikes())


def test_spikes_are_written_under_the_name_that_is_given(tmp_path: Path) -> None:
    said = refused("write_events", "name it {}", lambda: write_events(tmp_path / "x.csv", {"0": spikes()}, {}))
    write_events(tmp_path / said.rsplit("name it ", 1)[1], {"0": spikes()}, {})


def test_samples_that_have_most_events_are_stored_by_themselves() -> None:
    many, none = ([k * 1e-6 for k in range(2_000)], [0] * 2_000), ([], [])
    wide = hl.Spikes.from_events([many, *[none] * 4_000], 5, 0.03)
    refused("pack_spikes", "Store the samples that have most events by themselves", lambda: pack_spikes(wide, "x", {}))
    for part in (wide[:1], wide[1:]):
        pack_spikes(part, "x", {})


# -- logs -----------------------------------------------------------------------------------------


def test_a_log_that_is_not_there_is_found_at_its_path(tmp_path: Path) -> None:
    refused("read_log", "check the path and its permissions", lambda: read_log(tmp_path / "none"))
    found = read_log(recorded(tmp_path / "x.log"))
    (tmp_path / "x.log").rename(tmp_path / "y.log")
    refused("LogContent._body", "check the path and its permissions", lambda: found.events(0))
    (tmp_path / "y.log").rename(tmp_path / "x.log")
    found.events(0)


def test_a_log_is_recorded_where_it_can_be(tmp_path: Path) -> None:
    message = "name a log in a folder that is writable"
    with hl.open("emulator:7") as device:
        refused("SessionLog.__init__", message, lambda: record_session(device, tmp_path / "none" / "x.log"))
        (tmp_path / "loop.log").symlink_to("nowhere/x.log")
        refused("SessionLog._begun", message, lambda: record_session(device, tmp_path / "loop.log"))
        record_session(device, tmp_path / "x.log").close()


def test_a_damaged_log_or_one_of_another_device_is_left_for_another_file(tmp_path: Path) -> None:
    path = recorded(tmp_path / "x.log")
    whole = path.read_bytes()
    with hl.open("emulator:8") as device:
        refused("RecordedDevice.__init__", "allowed: {}, or another file", lambda: record_session(device, path))
        record_session(device, tmp_path / "y.log").close()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    with hl.open("emulator:7") as device:
        refused("SessionLog._begun", "restore it, or record into another file", lambda: record_session(device, path))
        path.write_bytes(whole)
        record_session(device, path).close()


def test_a_recorded_device_runs_what_it_was_given(tmp_path: Path) -> None:
    with hl.open("emulator:7") as device:
        program = hl.compile(net(), device)
        device.load(program)
        watched = record_session(device, tmp_path / "x.log")
        refused("RecordedDevice.run", "call load(program) first", lambda: watched.run(spikes()))
        watched.load(program)
        watched.run(spikes())
        watched.close()


def test_a_log_answers_what_was_recorded_and_another_one_the_rest(tmp_path: Path) -> None:
    path = recorded(tmp_path / "x.log")
    with record_session(hl.open("emulator:7"), path) as device:
        device.seek(logged=0)
        device.load(hl.compile(net(), device.target))
        message = "Resume with the same options and data, or begin a new run and a new log"
        refused("RecordedDevice._from_log", message, lambda: device.run(spikes(0.003)))
        device.run(spikes())


def test_a_record_of_the_allowed_size_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_BODY", 100)
    writer = records.RecordWriter(tmp_path / "x", 0)
    refused("RecordWriter.append", "run smaller batches", lambda: writer.append(1, b"x" * 101, lasting=False))
    writer.append(1, b"x" * 100, lasting=False)
    writer.close()


# -- replay ---------------------------------------------------------------------------------------


def test_a_replay_does_what_its_refusals_say(tmp_path: Path) -> None:
    path = recorded(tmp_path / "x.log")
    refused("ReplayTarget.__init__", "such as replay:session.log", lambda: hl.open("replay:"))
    device: Any = hl.open(f"replay:{path}")
    program = hl.compile(net(), device.target)
    refused("ReplayDevice.run", "call load(program) first", lambda: device.run(spikes()))
    refused("ReplayDevice.load", "was not recorded; {}", lambda: device.load(hl.compile(net(3), device.target)))
    device.load(program)
    refused("ReplayDevice.run", "Use the same data, seed and options", lambda: device.run(spikes(0.003)))
    device.run(spikes())
    refused("ReplayDevice.run", "ask for less, or record more", lambda: device.run(spikes()))
    refused("ReplayDevice.seek", "allowed: to go on after 0..{}", lambda: device.seek(logged=2))
    device.seek(logged=0)
    device.run(spikes())
    refused(
        "ReplayTarget.partition",
        "leave partition out",
        lambda: hl.open(f"replay:{recorded_on_loihi(tmp_path)}").target.partition(net()),
    )
    device.close()
    refused("ReplayDevice._check_open", "open it again with hwloop.open({}, ...)", lambda: device.run(spikes()))
    with hl.open(device.target.name) as again:
        again.load(program)


def recorded_on_loihi(folder: Path) -> Path:
    with record_session(hl.open("loihi"), folder / "loihi.log") as device:
        device.load(hl.compile(net(), device.target))
    return folder / "loihi.log"


def test_a_replay_takes_the_calibration_that_was_recorded_or_none(tmp_path: Path) -> None:
    device: Any = hl.open(f"replay:{recorded(tmp_path / 'x.log')}")

    class Other:
        id = "0123456789ab"

    refused("ReplayDevice.apply", "give that one, or none", lambda: device.apply(Other()))
    device.load(hl.compile(net(), device.target))  # with none
    device.run(spikes())


def test_a_damaged_log_is_restored_and_a_compiler_named(tmp_path: Path) -> None:
    path = recorded(tmp_path / "x.log")
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    refused("ReplayTarget.__init__", "restore it, or record anew", lambda: hl.open(f"replay:{path}"))
    path.write_bytes(whole)
    message = "name the target with compiler=..."
    refused("ReplayTarget._compiling", message, lambda: hl.open(f"replay:{path}", compiler="loihi"))
    hl.open(f"replay:{path}", compiler="emulator:0")


# -- storage --------------------------------------------------------------------------------------


def test_a_file_whose_folder_could_not_be_synced_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr(storage, "sync_folder", fail)
        refused("write_bytes", "write it again", lambda: storage.write_bytes(tmp_path / "x", b"1"))
    storage.write_bytes(tmp_path / "x", b"1")


def test_a_file_is_read_and_a_folder_is_not(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    refused("read_bytes", "allowed: a file, not a folder, pipe or device", lambda: storage.read_bytes("/dev/null", 9))
    storage.read_bytes(tmp_path / "x", 9)
