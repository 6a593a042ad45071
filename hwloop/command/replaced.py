"""What `--force` replaces is kept in ``.replaced`` until the run that replaces it has finished.

Everything moves by one rename, so at any instant the folder holds a readable run, its own or the replaced one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from .. import storage
from ..errors import DataError
from ..results import read_summary
from . import own_files

#: Where it is kept, in the run's folder.
KEPT = ".replaced"
#: What says what a run is: written over in one step by the new run, and so copied, not moved.
DOCUMENTS = ("experiment.toml", "data.json", "summary.json")
#: Largest of these (bytes).
_MAX_BYTES = 64 * 2**20


def copy_documents(folder: Path) -> None:
    """Keep what says what the run in ``folder`` is.

    A run that itself replaced one and did not finish is not worth keeping: then what it replaced is kept.
    """
    if _finished(folder):
        forget(folder)
    (folder / KEPT).mkdir(exist_ok=True)
    own_files.copied(folder, folder / KEPT)
    for name in DOCUMENTS:
        if (folder / name).is_file() and not (folder / KEPT / name).exists():
            storage.write_bytes(folder / KEPT / name, storage.read_bytes(folder / name, _MAX_BYTES))


def set_aside(folder: Path, names: Sequence[str]) -> None:
    """Move ``names`` of a run whose documents have been copied, and whose summary no longer says that it has finished."""
    for name in names:
        if not (folder / name).exists():
            continue
        if (folder / KEPT / name).exists():
            _remove(folder / name)
        else:
            os.replace(folder / name, folder / KEPT / name)


def forget(folder: Path) -> None:
    """Remove what was set aside: the run that replaced it has finished."""
    shutil.rmtree(folder / KEPT, ignore_errors=True)


def _finished(folder: Path) -> bool:
    try:
        return bool(read_summary(folder).get("status") == "finished")
    except DataError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
