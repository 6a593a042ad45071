from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hwloop import storage
from hwloop.checkpoint import load_checkpoint, newest_manifest, save_checkpoint, signature
from hwloop.errors import CheckpointError, InputError

STATE = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3).t(), "b": torch.tensor([1, 2], dtype=torch.uint8)},
    "optimizer": {0: {"step": torch.tensor(3.0), "betas": (0.9, 0.999)}},
    "history": [{"loss": 0.1, "best": None, "done": True, "big": 2**127}],
}


def net(n: int = 3) -> nn.Module:
    return nn.Linear(2, n)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("step"))


def test_what_is_saved_is_loaded_with_types_and_order(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "run", net(), STATE, step=7)
    found = load_checkpoint(tmp_path / "run", net())
    assert found is not None
    assert found.step == 7
    assert same(found.state, STATE)


def test_an_empty_or_missing_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, net()) is None
    assert load_checkpoint(tmp_path / "none", net()) is None


def test_older_checkpoints_go_after_a_good_save(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, net(), {"step": torch.tensor(step)}, step=step)
    assert len(names(tmp_path)) == 2
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert int(found.state["step"]) == 10


def test_saving_a_step_again_replaces_it_whole(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, net(), {"a": torch.zeros(2)}, step=1)
    save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert found.state["a"].tolist() == [1, 1]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_fails_the_save_and_keeps_the_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    save_checkpoint(tmp_path, net(), STATE, step=1)
    before = names(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(CheckpointError, match="step 2 not saved.*No space left"):
            save_checkpoint(tmp_path, net(), STATE, step=2)
    assert names(tmp_path) == before
    assert load_checkpoint(tmp_path, net()) is not None


def test_the_previous_one_stays_where_the_new_one_does_not_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, net(), STATE, step=1)
    before = names(tmp_path)
    real = storage.write_bytes

    def lossy(path: Path, data: bytes) -> None:
        real(path, data[:-1] if str(path).endswith("safetensors") else data)

    monkeypatch.setattr(storage, "write_bytes", lossy)
    with pytest.raises(CheckpointError, match="not saved"):
        save_checkpoint(tmp_path, net(), {"a": torch.zeros(1)}, step=2)
    assert set(before) <= set(names(tmp_path))


KILLED = """
import sys, torch
from hwloop.checkpoint import save_checkpoint
net, step = torch.nn.Linear(2, 3), 0
while True:
    step += 1
    save_checkpoint(sys.argv[1], net, {"step": step, "data": torch.full((20000,), float(step))}, step=step)
    print(step, flush=True)
"""


def test_after_a_kill_the_newest_checkpoint_is_whole(tmp_path: Path) -> None:
    chance = random.Random(0)
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        with subprocess.Popen([sys.executable, "-c", KILLED, folder], stdout=subprocess.PIPE, text=True) as process:
            stdout = process.stdout
            saved = [int(stdout.readline()) for _ in range(5)] if stdout else []
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
        found = load_checkpoint(folder, net())
        assert found is not None
        assert found.step >= saved[-1]
        assert found.state["data"].unique().tolist() == [found.step]


def test_a_pre_major_weight_keeps_its_values(tmp_path: Path) -> None:
    weight = torch.randn(5, 3).t()
    save_checkpoint(tmp_path, net(), {"w": weight}, step=0)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert torch.equal(found.state["w"], weight)


def test_signature_tells_shapes_dtypes_and_resets_apart() -> None:
    module = net()
    other = net()
    other.reset = "subtract"
    assert signature(module) == signature(net())
    assert len({signature(module), signature(net(4)), signature(net().double()), signature(other)}) == 4


# -- refusals -------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_network_is_refused_naming_both(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, net(3), STATE, step=1)
    with pytest.raises(CheckpointError, match=r"another network.*weight 3x2.*weight 4x2"):
        load_checkpoint(tmp_path, net(4))


@pytest.mark.parametrize("value", [torch.tensor([float("nan")]), float("inf"), {1}, object(), b"x"])
def test_what_a_checkpoint_cannot_hold_is_refused_and_writes_nothing(tmp_path: Path, value: object) -> None:
    with pytest.raises(InputError, match="allowed"):
        save_checkpoint(tmp_path / "run", net(), {"a": [value]}, step=1)
    assert not (tmp_path / "run").exists()


def test_every_flipped_byte_of_the_data_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, net(), {"a": torch.ones(8)}, step=1)
    (data,) = tmp_path.glob("*.safetensors")
    whole = data.read_bytes()
    for position in range(len(whole)):
        data.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        with pytest.raises(CheckpointError, match="sha256"):
            load_checkpoint(tmp_path, net())


def test_truncated_or_missing_files_are_refused(tmp_path: Path) -> None:
    manifest = save_checkpoint(tmp_path, net(), STATE, step=1)
    (data,) = tmp_path.glob("*.safetensors")
    whole, text = data.read_bytes(), manifest.read_bytes()
    for length in (0, 1, len(text) // 2, len(text) - 3):
        manifest.write_bytes(text[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(tmp_path, net())
    manifest.write_bytes(text)
    data.write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match="sha256"):
        load_checkpoint(tmp_path, net())
    data.unlink()
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path, net())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("format", "other"),
        ("step", "1"),
        ("sha256", None),
        ("data", "../../etc/passwd"),
        ("data", "/tmp/step-00000001-0123456789abcdef.safetensors"),
        ("state", {"dict": [["a", {"tensor": "t9"}]]}),
        ("state", {"tensor": "t0"}),
        ("state", {"call": ["os.system"]}),
        ("state", {"a": 1, "b": 2}),
        ("extra", 1),
    ],
)
def test_a_hostile_manifest_raises_one_error_type(tmp_path: Path, field: str, value: object) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    document = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**document, field: value}))
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, net())


def test_data_that_are_not_safetensors_are_refused_even_with_a_matching_sum(tmp_path: Path) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    (data,) = tmp_path.glob("*.safetensors")
    for content in (b"", b"\x80\x04K\x01.", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}"):
        data.write_bytes(content)
        document = json.loads(manifest.read_text())
        document["sha256"] = hashlib.sha256(content).hexdigest()
        manifest.write_text(json.dumps(document))
        with pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(tmp_path, net())


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(CheckpointError, match="cannot save into"):
        save_checkpoint(tmp_path / "run", net(), STATE, step=1)
    assert newest_manifest(tmp_path / "run") is None
