"""Spikes in files of other tools: NumPy's ``.npz``, and NIRData of the NIR standard (HDF5).

An ``.npz`` of one batch has ``times`` (s), ``units``, ``counts`` (events a sample), ``n_units`` and ``t_stop`` (s); of several the
same with ``NAME.`` before each, and ``provenance``, a JSON text of where they come from.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .array_file import Array
from .errors import InputError
from .files import parse_npy
from .spikes import Spikes
from .storage import ZIP_DAMAGE, malformed, printable, read_bytes, write_bytes

#: Largest file read (bytes), and what its members may hold unpacked.
MAX_BYTES, MAX_UNPACKED = 2**28, 2**29
#: Members of an ``.npz`` of one batch.
FIELDS = ("times", "units", "counts", "n_units", "t_stop")
#: Characters that start a file of HDF5.
_HDF5 = b"\x89HDF\r\n\x1a\n"


def read_events(path: Path | str) -> Spikes:
    """The one batch of spikes in ``path``, an ``.npz`` or a NIRData file.

    Raises :class:`~hwloop.errors.DataError` naming file, field, what was found and what is allowed.
    """
    data = read_bytes(path, MAX_BYTES)
    if data.startswith(_HDF5):
        return _of_nir(Path(path))
    arrays = unpacked(data, str(path), members=len(FIELDS), most=MAX_UNPACKED, of="spikes, .npz or NIRData")
    if set(arrays) != set(FIELDS):
        found = ", ".join(map(printable, arrays))
        raise malformed(
            str(path), "the list of arrays", found or "empty", f"{', '.join(FIELDS)}: the events of one batch"
        )
    return _spikes(arrays, str(path))


def write_events(path: Path | str, trains: Mapping[str, Spikes], provenance: Mapping[str, Any]) -> None:
    """Write ``trains`` by name, and where they come from, as one ``.npz`` in one step.

    Raises :class:`InputError` for a path of another kind, :class:`~hwloop.errors.DataError` where it cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise InputError(f"{path}: spikes are written as .npz; name it {Path(path).with_suffix('.npz').name}")
    arrays: dict[str, Any] = {"provenance": np.array(json.dumps(dict(provenance), allow_nan=False))}
    for name, train in trains.items():
        valid = train.valid
        events = {"times": train.times.detach()[valid].cpu().numpy(), "units": train.units[valid].cpu().numpy()}
        sizes = {
            "counts": train.counts.cpu().numpy(),
            "n_units": np.int64(train.n_units),
            "t_stop": np.float64(train.t_stop),
        }
        arrays |= {f"{name}.{part}": value for part, value in {**events, **sizes}.items()}
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    write_bytes(path, content.getvalue())


def unpacked(data: bytes, where: str, *, members: int, most: int, of: str) -> dict[str, Array]:
    """Arrays of an ``.npz`` by name; what they declare is compared with limits before it is unpacked.

    ``data`` holds up to ``members`` arrays of ``most`` bytes together; ``of`` says what such a file is.

    Raises :class:`~hwloop.errors.DataError` naming ``where`` for any other.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > members or sum(entry.file_size for entry in entries) > most:
                raise ValueError(f"{len(entries)} members of {sum(entry.file_size for entry in entries)} bytes")
            found = {entry.filename.removesuffix(".npy"): archive.read(entry) for entry in entries}
    except ZIP_DAMAGE as error:
        raise malformed(
            where, "the file", f"no archive ({error})", f"a file of {of}, up to {members} arrays of {most} bytes in all"
        ) from None
    return {name: parse_npy(content, f"{where}: {printable(name)}") for name, content in found.items()}


def _spikes(arrays: Mapping[str, Array], where: str) -> Spikes:
    times, units, counts = (arrays[name].reshape(-1) for name in ("times", "units", "counts"))
    n_units, t_stop = arrays["n_units"].reshape(-1), arrays["t_stop"].reshape(-1)
    whole = all(array.dtype.kind in "iu" for array in (units, counts, n_units))
    if not whole or times.dtype.kind != "f" or t_stop.dtype.kind != "f" or len(n_units) != 1 or len(t_stop) != 1:
        raise malformed(
            where, "a type", "another one", "whole units, counts and one n_units, real times and one t_stop"
        )
    fits = (
        len(times) == len(units)
        and len(counts) > 0
        and min(counts.tolist()) >= 0
        and sum(counts.tolist()) == len(times)
    )
    if not fits:
        raise malformed(
            where, "counts", f"{len(counts)} counts for {len(times)} times and {len(units)} units", "what adds up"
        )
    ends = np.cumsum(counts.astype(np.int64))[:-1]
    dtype = torch.float32 if times.dtype == np.float32 else torch.float64
    pairs = zip(np.split(times.astype(np.float64), ends), np.split(units.astype(np.int64), ends), strict=True)
    widest = int(counts.max()) * len(counts)
    if widest > max(2**24, 64 * len(times)):
        raise malformed(where, "counts", f"up to {int(counts.max())} in {len(counts)} samples", "samples of like size")
    try:
        return Spikes.from_events(list(pairs), int(n_units[0]), float(t_stop[0]), dtype)
    except (InputError, OverflowError, RuntimeError) as error:
        raise malformed(where, "the spikes", str(error), "sorted times in the window, units that exist") from None


def _of_nir(path: Path) -> Spikes:
    """The only observable of the only node of a NIRData file."""
    import h5py
    import nir

    from .network.nir.hdf5 import DAMAGE, check_file, child, values

    check_file(path)
    try:
        with h5py.File(path, "r") as file:
            group, left = file, [MAX_UNPACKED]
            for level in ("nodes", None, "observables", None):
                names = list(group) if level is None else [level]
                if len(names) != 1:
                    raise ValueError(f"{len(names)} members of {group.name}")
                group = child(group, names[0])
            kind = str(group.attrs["__type__"])
            parts = {name: values(child(group, name), left) for name in group}
            attributes = {name: group.attrs[name] for name in ("dt", "n_neurons", "t_max") if name in group.attrs}
        if kind == "EventData":
            data = nir.EventData(parts["idx"], parts["time"], int(attributes["n_neurons"]), float(attributes["t_max"]))
        else:
            data = nir.TimeGriddedData(parts["data"], float(attributes["dt"]))
        return Spikes.from_nir_data(data)
    except (*DAMAGE, AttributeError, IndexError, InputError) as error:
        raise malformed(
            str(path), "the file", f"no NIRData of one batch ({error})", "one node, one observable, spikes"
        ) from None
