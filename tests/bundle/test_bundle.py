"""Bundles: all of a deployment in one file, which proves itself on the device and trusts nothing."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.bundle import archive, verify_bundle
from hwloop.bundle.archive import pack_members, unpack_members
from hwloop.bundle.files import MEMBERS
from hwloop.errors import DataError, InputError, TargetError
from hwloop.stored_spikes import same_spikes

from .conftest import Made, chain, inputs, loop, make

TARGETS = [
    ("emulator:7", {"session": 4}, chain),
    ("emulator:3", {"preset": "ideal"}, loop),
    ("loihi", {"dt": 1e-4}, chain),
    ("loihi", {"dt": 2e-4}, loop),
]


@pytest.mark.parametrize(
    ("target", "options", "build"), TARGETS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_a_bundle_holds_the_deployment_bit_for_bit(
    tmp_path: Path, target: str, options: dict[str, Any], build: Callable[[], hl.Network]
) -> None:
    made = make(tmp_path / "x.hwb", target, build(), **options)
    found = hl.load_bundle(made.path)
    before, after = made.net.state_dict(), found.network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert same_spikes(found.golden.inputs, inputs())
    assert all(same_spikes(a, b) for a, b in zip(found.golden.populations, made.recording, strict=True))
    assert sum(int(train.counts.sum()) for train in found.golden.populations) > 20
    with found.open() as device:
        assert found.program(device.target).digest == made.program.digest
        assert verify_bundle(found, device).passed
    text = found.provenance
    assert (text.program, text.ran_on, text.source) == (made.program.digest, "emulator", "a test")


def test_another_chip_does_not_pass_and_the_first_difference_is_named(made: Made) -> None:
    with made.bundle.open("emulator:8", session=4) as device:
        found = verify_bundle(made.bundle, device)
    assert not found.passed
    assert found.first is not None
    golden = made.bundle.golden.populations[found.first.population]
    times, units = golden.to_events()[found.first.sample]
    if found.first.expected is not None:
        assert found.first.expected in times[units == found.first.neuron]
    assert f"sample {found.first.sample}, neuron {found.first.neuron}" in str(found)
    for sample in range(found.first.sample):  # no sample of that layer before it differs: each was compared
        assert len(golden.to_events()[sample]) == 2


def test_noise_of_other_runs_passes_within_a_tolerance_alone(made: Made) -> None:
    with made.bundle.open(session=5) as device:
        exact = verify_bundle(made.bundle, device)
        assert exact.passed  # it was sent back to the noise of the golden run
    with hl.open("emulator:7", trial_noise=False, session=5) as quiet:
        quiet.load(made.program)
        assert not same_spikes(quiet.run(inputs()).output, made.bundle.golden.populations[-1])


def test_the_same_deployment_gives_the_same_bytes_but_for_run_and_time(tmp_path: Path, made: Made) -> None:
    again = make(tmp_path / "x.hwb", "emulator:7", chain(), session=4)
    first, second = (unpack_members(m.path.read_bytes(), "x", MEMBERS) for m in (made, again))
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= {"provenance.json", "golden.json"}  # run id and time; how long the run took
    assert pack_members(first) == made.path.read_bytes()


def test_a_calibration_goes_along(tmp_path: Path) -> None:
    net = chain()
    with hl.open("emulator:5", session=1) as device:
        program = hl.compile(net, device)
        device.load(program)
        calibration = hl.calibrate(device, program, neurons=list(range(14)), trim=False, synapses=False, repeats=4)
        device.apply(calibration)
        hl.save_bundle(tmp_path / "x.hwb", net, program, device, inputs())
    found = hl.load_bundle(tmp_path / "x.hwb")
    assert found.calibration is not None
    assert found.provenance.calibration_id == found.calibration.id == calibration.id
    with found.open() as device:
        found.load_on(device)
        assert device.calibration.id == calibration.id


# -- damage ---------------------------------------------------------------------------------------


def test_every_changed_byte_is_refused_and_the_member_is_named(tmp_path: Path, made: Made) -> None:
    whole, path = made.path.read_bytes(), tmp_path / "x.hwb"
    members = unpack_members(whole, "x", MEMBERS)
    places = {name: whole.index(data) for name, data in members.items()}
    chance = random.Random(0)
    for name, place in places.items():
        for position in {place, place + len(members[name]) - 1, chance.randrange(place, place + len(members[name]))}:
            path.write_bytes(
                whole[:position] + bytes([whole[position] ^ 1 << chance.randrange(8)]) + whole[position + 1 :]
            )
            with pytest.raises(DataError, match=f"x.hwb: member {name}"):
                hl.load_bundle(path)
    for position in [*range(40), *chance.sample(range(len(whole)), 150)]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << chance.randrange(8)]) + whole[position + 1 :])
        with pytest.raises(DataError, match="x.hwb"):
            hl.load_bundle(path)


def test_a_half_written_bundle_is_refused(tmp_path: Path, made: Made) -> None:
    whole, path = made.path.read_bytes(), tmp_path / "x.hwb"
    for length in [0, 1, 22, *random.Random(0).sample(range(len(whole)), 40), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="x.hwb: the file is no whole bundle"):
            hl.load_bundle(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="x.hwb"):
        hl.load_bundle(path)


def rewritten(path: Path, made: Made, change: Callable[[dict[str, bytes]], None]) -> Path:
    """A bundle with sums that are right, of members that ``change`` edited."""
    members = unpack_members(made.path.read_bytes(), "x", MEMBERS)
    change(members)
    path.write_bytes(pack_members(members))
    return path


def edit(name: str, *keys: Any, value: Any) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        document = part = json.loads(members[name])
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        members[name] = json.dumps(document).encode()

    return change


def drop(name: str) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.pop(name) and None


HOSTILE = [
    (drop("golden.json"), "member golden.json is missing"),
    (lambda members: members.update({"../evil.json": b"{}"}), "unknown, or twice there"),
    (lambda members: members.update({"graph.json": b"{}"}), "graph.json alone"),
    (edit("target.json", "limits", "n_neurons", value=10**12), "limits.n_neurons"),
    (edit("target.json", "more", value=1), "unknown key 'more'"),
    (edit("target.json", "name", value="emulator:7\x1b[2J"), "not printable"),
    (edit("program.json", "digest", value="0" * 64), "allowed"),
    (edit("program.json", "kind", value="LoihiProgram"), "kind of the program"),
    (edit("golden.json", "inputs", "width", value=2**40), "inputs.width"),
    (edit("golden.json", "inputs", "t_stop", value=1e-9), "inputs"),
    (edit("golden.json", "names", value=["a"]), "golden names"),
    (edit("network.json", "layers", 0, "kind", value="Linear"), "of an unknown kind"),
    (edit("network.json", "layers", 0, "tensors", value=["weight", "weight2"]), "missing"),
    (edit("network.json", "layers", 1, "options", "n", value=[2**24]), "layers.1"),
    (edit("network.json", "layers", value=[]), "both a chain and a graph, or neither"),
    (edit("provenance.json", "network", value="0" * 64), "network is"),
    (edit("provenance.json", "run_id", value="../../etc"), "run_id"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), HOSTILE, ids=[message for _, message in HOSTILE])
def test_members_that_hold_what_is_not_allowed_are_refused_by_name(
    tmp_path: Path, made: Made, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    path = rewritten(tmp_path / "x.hwb", made, change)
    with pytest.raises(DataError, match=message) as caught:
        hl.load_bundle(path)
    assert str(path) in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["serial:/dev/ttyUSB0", "serial:socket://evil:80", "replay:/etc/passwd", "emulator:../7", "loihi:x"]
)
def test_a_port_an_address_or_a_path_in_a_file_is_never_opened(tmp_path: Path, made: Made, name: str) -> None:
    found = hl.load_bundle(rewritten(tmp_path / "x.hwb", made, edit("target.json", "name", value=name)))
    with pytest.raises(TargetError, match="name the target"):
        found.open()
    with found.open("emulator:7", session=4) as device:
        assert verify_bundle(found, device).passed


def test_a_path_in_place_of_a_preset_is_refused(tmp_path: Path, made: Made) -> None:
    path = rewritten(tmp_path / "x.hwb", made, edit("target.json", "options", value={"preset": "/etc/passwd"}))
    with pytest.raises(DataError, match="target.json: options"):
        hl.load_bundle(path)


def test_a_network_of_another_program_is_refused(tmp_path: Path) -> None:
    with hl.open("emulator:0") as device:
        program = hl.compile(chain(), device)
        other = hl.Network([hl.Dense(5, 3), hl.LIF(3, 10e-3, 5e-3)])
        with pytest.raises(InputError, match="compile this network"):
            hl.save_bundle(tmp_path / "x.hwb", other, program, device, inputs())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_bundle_of_before(
    tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "x.hwb"
    path.write_bytes(made.path.read_bytes())

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(DataError, match="No space left"):
        make(path, "emulator:7", chain(), session=5)
    monkeypatch.undo()
    assert path.read_bytes() == made.path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_a_packed_member_and_a_bomb_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "x.hwb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("manifest.json", b"0" * 200_000_000)
    with pytest.raises(DataError, match="200000000 bytes, packed"):
        hl.load_bundle(path)
    assert path.stat().st_size < archive.MAX_BYTES
