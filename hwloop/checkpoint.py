"""Checkpoints: everything a run needs to go on bit for bit, bound to one network.

A checkpoint in a folder is two files: ``step-00000012-<digest>.safetensors`` holds all tensors, and the manifest
``step-00000012.json`` all else, with the SHA-256 of the data. The manifest is written last and names the data, so
after a kill the newest manifest belongs to whole data. The previous checkpoint stays until the new one has been read
back. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import filelock
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from . import storage
from .arguments import whole
from .errors import CheckpointError, DataError, InputError
from .lock_files import LockFile

FORMAT, VERSION = "hwloop-checkpoint", 1
#: Largest data file (bytes): network, best network and two Adam moments of 50 million weights in float64.
MAX_DATA_BYTES = 2 * 2**30
#: Largest step: eight digits in a file's name.
MAX_STEP = 10**8 - 1
#: Longest wait (s) for another process that is saving into the same folder; a save takes well under a second.
LOCK_TIMEOUT = 10.0

#: What a checkpoint can hold: tensors, numbers, text, None, and lists, tuples and dicts of these.
Tree: TypeAlias = Any

_AFTER_DAMAGE = "Restore the file, or remove it to start from an older one or anew"
_MANIFEST = re.compile(r"step-(\d{8})\.json")
_DATA = re.compile(r"step-\d{8}-[0-9a-f]{16}\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as loaded: the step it was saved at, what was saved, and the manifest's path."""

    step: int
    state: dict[str, Tree]
    path: Path


def signature(net: nn.Module) -> str:
    """What makes two networks exchangeable: the shape and dtype of every tensor, reset kinds and spike caps.

    Readable, since it stands in the error when a checkpoint belongs to another network.
    """
    parts = [
        f"{name} {'x'.join(map(str, value.shape))} {str(value.dtype).removeprefix('torch.')}"
        for name, value in net.state_dict().items()
    ]
    for name, module in net.named_modules():
        traits = [f"{trait}={getattr(module, trait)}" for trait in ("reset", "max_spikes") if hasattr(module, trait)]
        if traits:
            parts.append(f"{name} {' '.join(traits)}")
    return ", ".join(parts)


def save_checkpoint(folder: Path | str, net: nn.Module, state: dict[str, Tree], *, step: int) -> Path:
    """Save ``state`` as the checkpoint of ``step``; older checkpoints go once it has been read back.

    Parameters
    ----------
    folder : path
        Made if it does not exist; belongs to one run.
    net : Module
        Its :func:`signature` binds the checkpoint; the weights to keep are part of ``state``.
    state : dict
        Tensors, numbers, text, None, and lists, tuples and dicts of these. All finite.
    step : int, 0..99,999,999

    Returns
    -------
    Path of the manifest.

    Raises
    ------
    InputError
        ``state`` holds inf, NaN or another type.
    CheckpointError
        The disk is full, the folder is not writable, another process keeps it locked, or what was written does not
        read back. The previous checkpoint is then still there.
    """
    folder = Path(folder)
    step = whole("step", step, 0, MAX_STEP)
    tensors: dict[str, Tensor] = {}
    tree = _pack(state, "state", tensors)
    data = save_tensors(tensors)
    digest = hashlib.sha256(data).hexdigest()
    manifest = folder / f"step-{step:08d}.json"
    data_path = folder / f"step-{step:08d}-{digest[:16]}.safetensors"
    document = {"network": signature(net), "step": step, "data": data_path.name, "sha256": digest, "state": tree}
    with _locked(folder):
        try:
            storage.write_bytes(data_path, data)
            storage.write_json(manifest, document, kind=FORMAT, version=VERSION)
            if hashlib.sha256(_read_manifest(manifest)[1]).hexdigest() != digest:
                raise DataError(
                    f"{data_path} does not hold what was written; save again, to another disk where that happens again"
                )
        except DataError as error:
            raise CheckpointError(f"checkpoint of step {step} not saved: {error}") from error
        _remove_others(folder, {manifest.name, data_path.name})
    return manifest


def load_checkpoint(folder: Path | str, net: nn.Module) -> Checkpoint | None:
    """The newest checkpoint in ``folder``, or None where there is none.

    Raises
    ------
    CheckpointError
        It is damaged, or of another network than ``net``: the message names both. Nothing is changed.
    """
    newest = newest_manifest(folder)
    if newest is None:
        return None
    try:
        newest, document, data = _read_newest(Path(folder), newest)
    except DataError as error:
        raise CheckpointError(f"damaged checkpoint: {error}. {_AFTER_DAMAGE}") from error
    if document["network"] != signature(net):
        raise CheckpointError(
            f"{newest} is a checkpoint of another network. Saved: {_clean(document['network'])}. "
            f"This network: {signature(net)}. Build the saved network, or name another folder"
        )
    state = _unpack_state(newest, document["state"], data)
    return Checkpoint(document["step"], state, newest)


def newest_manifest(folder: Path | str) -> Path | None:
    """Path of the manifest with the highest step, or None."""
    folder = Path(folder)
    if not folder.is_dir():
        return None
    found = [path for path in folder.iterdir() if _MANIFEST.fullmatch(path.name)]
    return max(found, key=lambda path: path.name, default=None)


def packed(state: dict[str, Tree]) -> tuple[str, bytes]:
    """``state``, as :func:`save_checkpoint` takes it, as a JSON text and the bytes of its tensors."""
    tensors: dict[str, Tensor] = {}
    tree = _pack(state, "state", tensors)
    return json.dumps(tree), save_tensors(tensors)


def unpacked(text: str, data: bytes) -> dict[str, Tree]:
    """What :func:`packed` was given."""
    found: dict[str, Tree] = _unpack(json.loads(text), load_tensors(data))
    return found


# -- files ----------------------------------------------------------------------------------------


def _read_newest(folder: Path, newest: Path) -> tuple[Path, dict[str, Any], bytes]:
    """Manifest, its fields and data; those of a newer one where a run under way replaced it meanwhile."""
    while True:
        try:
            return newest, *_read_manifest(newest)
        except DataError:
            later = newest_manifest(folder)
            if later is None or later == newest:
                raise
            newest = later


def _read_manifest(path: Path) -> tuple[dict[str, Any], bytes]:
    """The manifest, its fields checked, and the data, its SHA-256 checked; :class:`DataError` otherwise."""
    document = storage.read_json(path, kind=FORMAT, version=VERSION)
    fields = {"network": str, "step": int, "data": str, "sha256": str, "state": dict}
    for name, kind in fields.items():
        if type(document.get(name)) is not kind:
            raise DataError(f"{path}: field {name} is {type(document.get(name)).__name__}; allowed: {kind.__name__}")
    unknown = sorted(set(document) - set(fields) - {"format", "version"})
    if unknown:
        raise DataError(f"{path}: unknown field {_clean(unknown[0])}; allowed: {', '.join(fields)}")
    # text from a file is never a path: only a name that a save could have given
    if not _DATA.fullmatch(document["data"]):
        raise DataError(f"{path}: data file {_clean(document['data'])}; allowed: step-NNNNNNNN-DIGEST.safetensors")
    data_path = path.parent / document["data"]
    data = storage.read_bytes(data_path, MAX_DATA_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if found != document["sha256"]:
        raise DataError(f"{data_path}: sha256 {found}; its manifest says {_clean(document['sha256'])}")
    return document, data


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = LockFile(folder / ".lock")
        lock.acquire(LOCK_TIMEOUT)
        try:
            yield
        finally:
            lock.release()
    except filelock.Timeout:
        raise CheckpointError(
            f"another process has been saving into {folder} for {LOCK_TIMEOUT:g} s; give each run a folder of its own"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"cannot save into {folder}: {error.strerror or error}; name a writable folder"
        ) from error


def _remove_others(folder: Path, keep: set[str]) -> None:
    """Remove older checkpoints, manifests first, so that no manifest is ever without its data."""
    storage.remove_leftovers(folder)
    for pattern in (_MANIFEST, _DATA):
        for path in folder.iterdir():
            if pattern.fullmatch(path.name) and path.name not in keep:
                path.unlink(missing_ok=True)


def _clean(text: str) -> str:
    shown = ascii(text)[1:-1]
    return shown if len(shown) <= 2000 else shown[:2000] + "..."


# -- state ----------------------------------------------------------------------------------------


def _pack(value: Tree, where: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON; tensors move to ``tensors``, and what JSON lacks is spelled as a one-key object."""
    if isinstance(value, Tensor):
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"{where} holds inf or NaN; allowed: finite numbers (has training diverged? lower lr)")
        name = f"t{len(tensors)}"
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"{where} = {value}; allowed: finite numbers (has training diverged? lower lr)")
        return value
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{where}[{i}]", tensors) for i, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, dict):
        pairs = [[_pack(k, where, tensors), _pack(v, f"{where}.{k}", tensors)] for k, v in value.items()]
        return {"dict": pairs}
    raise InputError(f"{where} is {type(value).__name__}; allowed: tensors, numbers, text, None, lists, tuples, dicts")


def _unpack_state(path: Path, tree: Any, data: bytes) -> dict[str, Tree]:
    try:
        tensors = load_tensors(data)
        for value in tensors.values():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise ValueError("a tensor holds inf or NaN")
        state = _unpack(tree, tensors)
    except (SafetensorError, ValueError, TypeError, KeyError, RecursionError, struct.error) as error:
        raise CheckpointError(
            f"damaged checkpoint: {path}: {_clean(str(error))}; allowed: what hwloop saved. {_AFTER_DAMAGE}"
        ) from None
    if not isinstance(state, dict):
        raise CheckpointError(
            f"damaged checkpoint: {path}: state is {type(state).__name__}; allowed: dict. {_AFTER_DAMAGE}"
        )
    return state


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Tree:
    if isinstance(value, list):
        return [_unpack(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "tuple":
        return tuple(_unpack(item, tensors) for item in content)
    if kind == "dict":
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
    raise ValueError(f"unknown kind {json.dumps(kind)[:60]} in the state")
