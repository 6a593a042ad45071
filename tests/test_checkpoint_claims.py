"""Checkpoints: what is written where, in which order, what is kept, and what is never read."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from hwloop import checkpoint, storage
from hwloop.checkpoint import load_checkpoint, newest_manifest, save_checkpoint, signature
from hwloop.errors import CheckpointError, InputError
from hwloop.network import LIF, Dense, Network


def net() -> nn.Module:
    return nn.Linear(2, 3)


def steps(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == ".json")


def rewrite(manifest: Path, content: bytes | None = None, **fields: Any) -> None:
    """Change a manifest, and its data with a matching sum."""
    document = {**json.loads(manifest.read_text()), **fields}
    if content is not None:
        (manifest.parent / document["data"]).write_bytes(content)
        document["sha256"] = hashlib.sha256(content).hexdigest()
    manifest.write_text(json.dumps(document))


# -- what is written ------------------------------------------------------------------------------


def test_a_manifest_names_step_network_data_and_their_sum(tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    manifest = save_checkpoint(tmp_path / "a" / "b", net(), {"w": weight, "n": (1, None)}, step=42)
    assert manifest == tmp_path / "a" / "b" / "step-00000042.json"
    document = json.loads(manifest.read_text())
    data = manifest.parent / document["data"]
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    assert document == {
        "format": "hwloop-checkpoint", "version": 1, "step": 42, "network": signature(net()), "sha256": digest,
        "data": f"step-00000042-{digest[:16]}.safetensors",
        "state": {"dict": [["w", {"tensor": "t0"}], ["n", {"tuple": [1, None]}]]},
    }  # fmt: skip
    assert torch.equal(load(data.read_bytes())["t0"], weight)
    found = load_checkpoint(str(manifest.parent), net())
    assert found is not None
    assert (found.step, found.path) == (42, manifest)


@pytest.mark.parametrize("step", [0, 99_999_999])
def test_steps_of_eight_digits_are_kept(tmp_path: Path, step: int) -> None:
    save_checkpoint(tmp_path, net(), {}, step=step)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert (found.step, found.state) == (step, {})


@pytest.mark.parametrize("step", [np.int64(3), torch.tensor(3)])
def test_a_step_is_a_whole_number_of_every_kind(tmp_path: Path, step: Any) -> None:
    save_checkpoint(tmp_path, net(), {}, step=step)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert found.step == 3


@pytest.mark.parametrize("step", [-1, 100_000_000])
def test_other_steps_are_refused(tmp_path: Path, step: int) -> None:
    with pytest.raises(InputError, match=rf"step = {step}; allowed: a whole number 0..99999999"):
        save_checkpoint(tmp_path / "run", net(), {}, step=step)
    assert not (tmp_path / "run").exists()


DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
    torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3, 1)], ids=str)
def test_tensors_keep_dtype_shape_and_every_bit(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    values = (torch.randn(shape) * 3).to(dtype)
    save_checkpoint(tmp_path, net(), {"x": values}, step=1)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert (found.state["x"].dtype, found.state["x"].shape) == (dtype, torch.Size(shape))
    assert torch.equal(found.state["x"], values)


def test_state_keeps_its_kinds_keys_and_order(tmp_path: Path) -> None:
    state = {
        "z": [True, False, None, 0, -3, 2**70, 0.1, -0.0, "ü\n", [], (), {}, ((1,), [2])],
        7: {"b": 1, "a": 2},
        (1, "k"): torch.tensor([1.0]),
        True: 5e-324,
    }
    save_checkpoint(tmp_path, net(), state, step=1)
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert list(found.state) == list(state)
    assert found.state["z"] == state["z"]
    assert [type(item) for item in found.state["z"]] == [type(item) for item in state["z"]]
    assert math.copysign(1, found.state["z"][7]) == -1
    assert list(found.state[7]) == ["b", "a"]
    assert found.state[True] == 5e-324


def test_what_is_saved_is_a_snapshot_without_gradients(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    save_checkpoint(tmp_path, net(), {"w": weight, "same": weight.detach()}, step=1)
    with torch.no_grad():
        weight.zero_()
    found = load_checkpoint(tmp_path, net())
    assert found is not None
    assert found.state["w"].tolist() == found.state["same"].tolist() == [[1, 1], [1, 1]]
    assert not found.state["w"].requires_grad


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": [0, {"b": math.nan}]}, r"state.a\[1\].b = nan; allowed: finite numbers"),
        ({"a": -math.inf}, r"state.a = -inf; allowed: finite numbers"),
        ({"a": (torch.tensor([0.0, math.inf]),)}, r"state.a\[0\] holds inf or NaN; allowed: finite numbers"),
        ({"a": {3: torch.tensor([math.nan], dtype=torch.float16)}}, r"state.a.3 holds inf or NaN"),
        ({"a": [b"x"]}, r"state.a\[0\] is bytes; allowed: tensors, numbers, text, None, lists, tuples, dicts"),
        ({"a": 1j}, r"state.a is complex"),
        ({b"k": 1}, r"state is bytes"),
    ],
)
def test_what_cannot_be_kept_is_named_by_its_place(tmp_path: Path, state: dict[Any, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        save_checkpoint(tmp_path, net(), state, step=1)
    assert list(tmp_path.iterdir()) == []


# -- in which order, and what is kept -------------------------------------------------------------


def test_data_are_written_before_the_manifest_and_older_ones_go_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, net(), {"a": torch.zeros(1)}, step=1)
    done: list[str] = []
    replace, read, unlink = os.replace, storage.read_bytes, Path.unlink

    def replaced(source: Path, target: Path) -> None:
        done.append(f"write {Path(target).suffix}")
        replace(source, target)

    def was_read(path: Path, limit: int) -> bytes:
        done.append(f"read {path.suffix}")
        return read(path, limit)

    def gone(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("step"):
            done.append(f"remove {path.suffix}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(storage, "read_bytes", was_read)
    monkeypatch.setattr(Path, "unlink", gone)
    save_checkpoint(tmp_path, net(), {"a": torch.ones(1)}, step=2)
    assert done == [
        "write .safetensors", "write .json", "read .json", "read .safetensors", "remove .json", "remove .safetensors",
    ]  # fmt: skip


def test_the_newest_step_is_the_largest_whatever_was_written_last(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    for step in (9, 10, 100):
        manifest = save_checkpoint(tmp_path / str(step), net(), {"step": step}, step=step)
        whole.mkdir(exist_ok=True)
        for path in manifest.parent.glob("step-*"):
            (whole / path.name).write_bytes(path.read_bytes())
    os.utime(whole / "step-00000009.json")
    assert newest_manifest(whole) == whole / "step-00000100.json"
    found = load_checkpoint(whole, net())
    assert found is not None
    assert found.state == {"step": 100}


def test_only_checkpoints_are_looked_at_and_only_they_are_removed(tmp_path: Path) -> None:
    names = [
        "step-1.json", "step-000000001.json", "step-99999999.json.bak", "xstep-99999999.json", "step-99999999.txt", "notes.txt",
        "step-99999999-0123.safetensors", "step-99999999-0123456789ABCDEF.safetensors", "step-999999999-0123456789abcdef.safetensors",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_text("mine")
    assert newest_manifest(tmp_path) is None
    assert load_checkpoint(tmp_path, net()) is None
    save_checkpoint(tmp_path, net(), {"a": 1}, step=1)
    save_checkpoint(tmp_path, net(), {"a": 2}, step=2)
    kept = {path.name for path in tmp_path.iterdir()} - {".lock"}
    assert set(names) < kept
    assert sorted(kept - set(names))[-1] == "step-00000002.json"
    assert len(kept) == len(names) + 2


def test_data_without_a_manifest_are_cleared_away_by_the_next_save(tmp_path: Path) -> None:
    orphan = tmp_path / "step-00000007-0123456789abcdef.safetensors"
    orphan.write_bytes(b"half")
    assert load_checkpoint(tmp_path, net()) is None
    save_checkpoint(tmp_path, net(), {}, step=3)
    assert not orphan.exists()
    assert steps(tmp_path) == ["step-00000003.json"]


def test_a_manifest_that_names_other_data_than_were_written_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, net(), {"a": torch.zeros(2)}, step=1)
    real, other = storage.write_bytes, save({"t0": torch.ones(2)})

    def swapped(path: Path, data: bytes) -> None:
        real(path, other if path.suffix == ".safetensors" else data)

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_bytes", swapped)
        with pytest.raises(CheckpointError, match="checkpoint of step 2 not saved: .*sha256"):
            save_checkpoint(tmp_path, net(), {"a": torch.zeros(2)}, step=2)
    assert "step-00000001.json" in steps(tmp_path)


def test_a_folder_in_use_is_refused_after_the_wait_and_free_again_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpoint.LOCK_TIMEOUT == 10.0
    monkeypatch.setattr(checkpoint, "LOCK_TIMEOUT", 0.05)
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with filelock.FileLock(tmp_path / ".lock"):
            held.set()
            let_go.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(CheckpointError, match=r"another process has been saving into .* for 0.05 s"):
            save_checkpoint(tmp_path, net(), {}, step=1)
    finally:
        let_go.set()
        other.join()
    assert newest_manifest(tmp_path) is None
    save_checkpoint(tmp_path, net(), {}, step=1)


# -- what is never read ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        [1], 3, "text", None, {"tuple": [1]}, {"list": [1]}, {"tensor": "t1"}, {"tensor": ["t0"]}, {"dict": [["a"]]},
        {"dict": {"a": 1}}, {"dict": 5}, {"tuple": 5}, {"dict": [[["k"], 1]]}, {}, {"dict": [], "tuple": []},
        {"dict": [["a", {"python": "os"}]]},
    ],
    ids=str,
)  # fmt: skip
def test_a_state_that_hwloop_does_not_write_is_refused(tmp_path: Path, state: object) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    rewrite(manifest, state=state)
    with pytest.raises(CheckpointError, match=r"damaged checkpoint: .*step-00000001.json"):
        load_checkpoint(tmp_path, net())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_tensors_that_are_not_finite_are_refused_even_with_a_matching_sum(tmp_path: Path, value: float) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    rewrite(manifest, save({"t0": torch.tensor([1.0, value])}))
    with pytest.raises(CheckpointError, match="damaged checkpoint: .*a tensor holds inf or NaN"):
        load_checkpoint(tmp_path, net())
    rewrite(manifest, save({"t0": torch.tensor([1.0, 2.0])}))
    assert load_checkpoint(tmp_path, net()) is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"step": True}, {"step": 1.0}, {"step": None}, {"network": 3}, {"sha256": 3}, {"sha256": "0" * 64}, {"version": True},
        {"data": 3}, {"data": "step-00000001.json"}, {"data": "step-00000001-0123456789abcdef.safetensors"},
        {"data": "sub/step-00000001-0123456789abcdef.safetensors"},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_with_a_foreign_field_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    rewrite(manifest, **fields)
    with pytest.raises(CheckpointError, match="damaged checkpoint: .*Restore the file, or remove it"):
        load_checkpoint(tmp_path, net())


@pytest.mark.parametrize(
    "name", ["../elsewhere.safetensors", "mine.safetensors", "step-1-0123456789abcdef.safetensors"]
)
def test_a_manifest_names_no_data_but_those_that_a_save_writes(tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    manifest = save_checkpoint(run, net(), {"a": torch.ones(2)}, step=1)
    (data,) = run.glob("*.safetensors")
    (run / name).write_bytes(data.read_bytes())  # whole, and with the right sum
    rewrite(manifest, data=name)
    with pytest.raises(CheckpointError, match=f"data file {name}; allowed: step-NNNNNNNN-DIGEST.safetensors"):
        load_checkpoint(run, net())


@pytest.mark.parametrize("field", ["step", "network", "data", "sha256", "state", "format", "version"])
def test_a_manifest_without_a_field_is_refused(tmp_path: Path, field: str) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    document = json.loads(manifest.read_text())
    del document[field]
    manifest.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        load_checkpoint(tmp_path, net())


def test_data_larger_than_any_checkpoint_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkpoint.MAX_DATA_BYTES == 2 * 1024**3
    save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    (data,) = tmp_path.glob("*.safetensors")
    size = data.stat().st_size
    monkeypatch.setattr(checkpoint, "MAX_DATA_BYTES", size)
    assert load_checkpoint(tmp_path, net()) is not None
    monkeypatch.setattr(checkpoint, "MAX_DATA_BYTES", size - 1)
    with pytest.raises(CheckpointError, match=rf"{size} bytes; allowed: up to {size - 1} bytes"):
        load_checkpoint(tmp_path, net())


def test_text_of_a_file_is_shown_escaped_and_cut(tmp_path: Path) -> None:
    manifest = save_checkpoint(tmp_path, net(), {"a": torch.ones(2)}, step=1)
    rewrite(manifest, network="\x1b[31m" + "n" * 5000)
    with pytest.raises(CheckpointError, match="another network") as caught:
        load_checkpoint(tmp_path, net())
    assert "\x1b" not in str(caught.value)
    assert r"Saved: \x1b[31m" in str(caught.value)
    # 2000 characters of it, then dots: the escape takes eight
    assert "n" * (2000 - 8) + "..." in str(caught.value)
    for length, shown in ((2000, "m{2000}"), (2001, "m{2000}[.][.][.]")):
        rewrite(manifest, network="m" * length)
        with pytest.raises(CheckpointError, match=rf"Saved: {shown}[.] This network"):
            load_checkpoint(tmp_path, net())


# -- of which network -----------------------------------------------------------------------------


def test_a_signature_lists_tensors_and_traits() -> None:
    module = Network([Dense(2, 3, delay=1e-3), LIF(3, 10e-3, 5e-3, reset="subtract", max_spikes=4)])
    parts = signature(module).split(", ")
    assert "layers.0.weight 3x2 float32" in parts
    assert "layers.1.tau_mem 3 float32" in parts
    assert "layers.1 reset=subtract max_spikes=4" in parts
    assert signature(nn.Linear(2, 3).double()) == "weight 3x2 float64, bias 3 float64"


@pytest.mark.parametrize(
    "other",
    [
        lambda: Network([Dense(2, 3), LIF(3, 10e-3, 5e-3, max_spikes=1)]),
        lambda: Network([Dense(2, 3), LIF(3, 10e-3, 5e-3, reset="subtract")]),
        lambda: Network([Dense(2, 3, delay=1e-3), LIF(3, 10e-3, 5e-3)]),
        lambda: Network([Dense(2, 3), LIF(3, 10e-3, 5e-3)]).double(),
        lambda: Network([Dense(3, 3), LIF(3, 10e-3, 5e-3)]),
    ],
)
def test_a_checkpoint_is_bound_to_shapes_dtypes_reset_and_cap(tmp_path: Path, other: Any) -> None:
    one = Network([Dense(2, 3), LIF(3, 10e-3, 5e-3)])
    save_checkpoint(tmp_path, one, {}, step=1)
    assert load_checkpoint(tmp_path, Network([Dense(2, 3), LIF(3, 99e-3, 5e-3)])) is not None  # values may differ
    with pytest.raises(CheckpointError, match="is a checkpoint of another network. Saved: .*. This network: "):
        load_checkpoint(tmp_path, other())
