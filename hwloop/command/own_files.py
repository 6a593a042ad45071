"""Files that an experiment names, kept in the folder of its run: it can be moved, and what they came from may go.

They lie in ``inputs/`` under names that say what is in them, so that none is ever written over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .. import storage
from ..experiment import Experiment

FOLDER = "inputs"
#: Largest file that is kept (bytes): weights of some hundred million synapses.
MOST_BYTES = 2**30
#: Characters of the digest in a name.
_DIGITS = 16


def kept(experiment: Experiment, run: Path) -> Experiment:
    """``experiment`` with the files that it names in ``run``, and named from there; what is written as ``experiment.toml``.

    Raises :class:`~hwloop.errors.DataError` where one cannot be read or kept.
    """
    changes: dict[str, dict[str, str]] = {}
    for section, key, path in _named(experiment):
        data = storage.read_bytes(path, MOST_BYTES)
        digest = hashlib.sha256(data).hexdigest()[:_DIGITS]
        name = f"{digest}-{path.name.removeprefix(f'{digest}-')}"  # kept in another run before
        if key == "preset" and path.suffix != ".toml":
            name += ".toml"
        if not (run / FOLDER / name).is_file():
            (run / FOLDER).mkdir(exist_ok=True)
            storage.write_bytes(run / FOLDER / name, data)
        changes[section] = {key: f"{FOLDER}/{name}"}
    return experiment.changed("the files kept", **changes) if changes else experiment


def check(experiment: Experiment) -> None:
    """Raise :class:`~hwloop.errors.DataError` where a file that ``experiment`` names cannot be read."""
    for _, _, path in _named(experiment):
        storage.read_bytes(path, MOST_BYTES)


def tidy(run: Path) -> None:
    """Remove what earlier runs in ``run`` kept."""
    if not (run / FOLDER).is_dir():
        return
    needed = {path.name for _, _, path in _named(Experiment.load(run / "experiment.toml"))}
    for path in (run / FOLDER).iterdir():
        if path.name not in needed:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty
        (run / FOLDER).rmdir()


def copied(run: Path, to: Path) -> None:
    """Copy what ``run`` keeps, for an experiment whose document was copied ``to`` another folder."""
    if (run / FOLDER).is_dir() and not (to / FOLDER).exists():
        shutil.copytree(run / FOLDER, to / FOLDER)


def same(before: object, now: object) -> bool:
    """Whether two values are paths of files with the same content."""
    if not (isinstance(before, str) and isinstance(now, str)):
        return False
    paths = Path(before), Path(now)
    if not all(path.is_file() for path in paths):
        return False
    return storage.read_bytes(paths[0], MOST_BYTES) == storage.read_bytes(paths[1], MOST_BYTES)


def _named(experiment: Experiment) -> Iterator[tuple[str, str, Path]]:
    """``(section, key, path)`` of each file that ``experiment`` names."""
    nir, preset = getattr(experiment.network, "nir", None), experiment.target.preset
    if nir is not None:
        yield "network", "nir", Path(nir)
    if preset is not None and (Path(preset).suffix == ".toml" or os.sep in preset):
        yield "target", "preset", Path(preset)
