"""What readers of programs, checkpoints and run folders meet besides: numbers that do not fit, and files that change meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from torch import nn

from hwloop import checkpoint, storage
from hwloop.checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from hwloop.errors import CheckpointError, DataError
from hwloop.mapping import compile_network, stored
from hwloop.ownership import RECORD, held
from hwloop_emulator import EmulatorTarget

from .readers import network

CHIP = EmulatorTarget("1", preset="ideal").capabilities
WORST = EmulatorTarget("1", preset="worst").capabilities


def program(limits: Any = WORST) -> bytes:
    return stored.dump(compile_network(network(), limits))


def edited(data: bytes, change: Any) -> bytes:
    """``data`` with other arrays."""
    text, entries = stored._unpacked(data, "x")
    arrays = {
        name: np.frombuffer(entry.data, stored.TYPES[entry.kind]).reshape(entry.shape).copy()
        for name, entry in entries.items()
    }
    document = json.loads(text)
    change(document, arrays)
    return stored._packed(arrays, json.dumps(document))


def set_item(array: str, place: Any, value: float) -> Any:
    return lambda document, arrays: arrays[array].__setitem__(place, value)


EDITS: list[tuple[str, Any, Any]] = [
    ("0.codes is 9999; allowed: up to", set_item("0.codes", (0, 0), 9999), WORST),
    ("figures is", set_item("figures", (0, 0), 0.0), WORST),
    ("figures is", set_item("figures", (0, 1), 0.5), WORST),
    ("0.neurons is numbers below 0, or twice the same", set_item("0.neurons", 1, 0), WORST),
    ("0.neurons is numbers below 0", set_item("0.neurons", 0, -1), WORST),
    ("neuron 999999; allowed: 0..", set_item("0.neurons", 0, 999999), WORST),
    ("codes is .*; allowed: whole numbers where there is a max_code", lambda document, arrays: document["layers"][0].update(max_code=None), WORST),
    ("layer 0 has codes up to 200; allowed", lambda document, arrays: document["layers"][0].update(max_code=200), WORST),
    ("0.tau_mem is missing", lambda document, arrays: arrays.pop("0.tau_mem"), WORST),
    ("arrays 0.more; allowed", lambda document, arrays: arrays.update({"0.more": np.zeros(2)}), WORST),
    ("0.tau_mem is F64", lambda document, arrays: arrays.update({"0.tau_mem": arrays["0.tau_mem"].astype(np.float64)}), WORST),
    ("inf or NaN", set_item("0.tau_mem", 0, np.inf), WORST),
    ("a physical neuron stands in two layers", lambda document, arrays: arrays["1.neurons"].__setitem__(0, arrays["0.neurons"][0]), WORST),
    ("takes .* units; its blocks are not those", lambda document, arrays: document["layers"][1].update(blocks=[{"source": 0, "start": 0, "size": 1}]), WORST),
    ("takes .* units; its blocks are not those", lambda document, arrays: document["layers"][1].update(blocks=[{"source": 7, "start": 0, "size": 9}]), WORST),
    ("0.synapses is bytes other than 0 and 1", lambda document, arrays: arrays.update({"0.synapses": odd(arrays["0.codes"].shape)}), WORST),
]  # fmt: skip


def odd(shape: tuple[int, ...]) -> Any:
    found = np.zeros(shape, bool)
    found.view(np.uint8)[0, 0] = 2
    return found


@pytest.mark.parametrize(("said", "change", "limits"), EDITS, ids=[said for said, _, _ in EDITS])
def test_a_program_whose_numbers_do_not_fit_is_refused(said: str, change: Any, limits: Any) -> None:
    data = program(limits)
    stored.load(edited(data, lambda document, arrays: None), limits)
    with pytest.raises(DataError, match=f"{said}.*Nothing is read from it: compile the network again"):
        stored.load(edited(data, change), limits)


def test_a_chip_of_real_weights_has_no_largest_code() -> None:
    data = program(CHIP)
    assert stored.load(data, CHIP).layers[0].max_code is None
    with pytest.raises(DataError, match="whole numbers where there is a max_code, else real ones"):
        stored.load(edited(data, lambda document, arrays: document["layers"][0].update(max_code=31)), CHIP)


# -- checkpoints ----------------------------------------------------------------------------------


def net() -> nn.Module:
    return nn.Linear(2, 3)


def test_a_checkpoint_that_is_replaced_while_it_is_read_is_the_newer_one(tmp_path: Path) -> None:
    """The run that writes them removes the older one between looking and reading."""
    save_checkpoint(tmp_path, net(), {"a": 1}, step=1)
    old = newest_manifest(tmp_path)
    assert old is not None
    save_checkpoint(tmp_path, net(), {"a": 2}, step=2)
    found = checkpoint._read_newest(tmp_path, old)
    assert found[0] == newest_manifest(tmp_path) != old
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(DataError, match="cannot read"):
        checkpoint._read_newest(tmp_path, old)


def test_a_folder_that_cannot_be_saved_into_keeps_what_it_held(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, net(), {"a": 1}, step=1)
    with (
        mock.patch("hwloop.checkpoint.LockFile.acquire", side_effect=PermissionError(13, "Permission denied")),
        pytest.raises(CheckpointError, match="cannot save into .*Permission denied; name a writable folder"),
    ):
        save_checkpoint(tmp_path, net(), {"a": 2}, step=2)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert found.state == {"a": 1}


# -- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "record", [b"", b"[]", b'{"format": "hwloop-owner", "version": 1, "pid": "7", "host": "x", "since": "y"}']
)
def test_a_record_of_an_owner_that_is_none_stops_nobody_and_names_nobody(tmp_path: Path, record: bytes) -> None:
    (tmp_path / RECORD).write_bytes(record)
    with held(tmp_path):
        (tmp_path / RECORD).write_bytes(record)
        with pytest.raises(CheckpointError, match="in use: another process runs in it"), held(tmp_path):
            pass


def test_a_child_that_unwinds_leaves_its_parents_folder_alone(tmp_path: Path) -> None:
    with held(tmp_path):
        child = os.fork()
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert (tmp_path / RECORD).exists()
    if not child:
        os._exit(0)
    assert not (tmp_path / RECORD).exists()


def test_windows_has_no_folder_to_sync(tmp_path: Path) -> None:
    with mock.patch.object(storage.os, "name", "nt"), mock.patch.object(storage.os, "open", side_effect=AssertionError):
        storage.sync_folder(tmp_path)
