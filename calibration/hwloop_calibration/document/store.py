"""Where calibrations are kept: one file each in the user's data folder, by device; the newest is the one in use."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from hwloop.errors import CalibrationError, DataError, HwloopError

from .calibration import Calibration

#: Environment variable that names the folder.
STORE_VARIABLE = "HWLOOP_CALIBRATIONS"


@dataclass(frozen=True)
class Entry:
    """A stored file; ``problem`` says why it cannot be used, where so."""

    path: Path
    calibration: Calibration | None
    problem: str = ""


class Store:
    """Calibrations in ``folder``: by default that of ``HWLOOP_CALIBRATIONS``, else the user's data folder."""

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()

    def save(self, calibration: Calibration) -> Path:
        """Add a calibration; what is stored already stays. Returns its path.

        Raises :class:`DataError` where the folder cannot be written.
        """
        folder = self.folder / _safe(calibration.device_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"cannot make {folder}: {error.strerror or error}; name another folder with {STORE_VARIABLE}"
            ) from error
        path = folder / f"{_stamp(calibration.date)}-{calibration.id}.json"
        calibration.save(path)
        return path

    def entries(self, device_id: str | None = None) -> list[Entry]:
        """Everything that is stored (of one device), newest first, also what is damaged or edited."""
        folders = [self.folder / _safe(device_id)] if device_id is not None else sorted(self.folder.glob("*"))
        paths = [path for folder in folders if folder.is_dir() for path in folder.glob("*.json")]
        return [_entry(path) for path in sorted(paths, key=lambda path: path.name, reverse=True)]

    def newest(self, device_id: str) -> Calibration | None:
        """The newest sound calibration of a device, None where there is none."""
        return next((e.calibration for e in self.entries(device_id) if e.calibration is not None), None)

    def find(self, name: str) -> Calibration:
        """By path, or by the beginning of its id.

        Raises :class:`CalibrationError` where none or several fit, with those that there are.
        """
        if name.endswith(".json") or Path(name).is_file():
            return Calibration.load(name)
        entries = self.entries()
        found = [e for e in entries if _id(e) and _id(e).startswith(name)]
        if len(found) == 1:
            return Calibration.load(found[0].path)
        known = ", ".join(sorted({_id(e) for e in entries})) or "none"
        raise CalibrationError(f"{len(found)} calibrations called {name!r} in {self.folder}; there are: {known}")


def default_folder() -> Path:
    """The folder of calibrations of this user."""
    named = os.environ.get(STORE_VARIABLE)
    if named:
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("hwloop", appauthor=False) / "calibrations"


def _entry(path: Path) -> Entry:
    try:
        return Entry(path, Calibration.load(path))
    except HwloopError as error:
        return Entry(path, None, str(error))


def _id(entry: Entry) -> str:
    return entry.path.stem.rpartition("-")[2]


def _safe(device_id: str) -> str:
    """A folder's name for a device: nothing that a file system, or a path, could take for more."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", device_id).strip(".") or "device"


def _stamp(date: str) -> str:
    return re.sub(r"[^0-9T]", "", date)[:15]
