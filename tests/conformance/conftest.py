"""Backends of third parties, as if they were installed."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

import pytest

BACKEND = Path(__file__).parents[2] / "examples/third_party_backend"


def _installed(folder: Path, name: str, entries: str) -> None:
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[hwloop.backends]\n{entries}\n")


@pytest.fixture
def third_parties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A backend in one file, and the example of a backend, from a folder of its own; the folder."""
    shutil.copy(Path(__file__).with_name("hwloop_tiny.py"), tmp_path)
    _installed(tmp_path, "hwloop_tiny", "tiny = hwloop_tiny:TinyTarget")
    shutil.copytree(BACKEND / "hwloop_mychip", tmp_path / "hwloop_mychip")
    named = tomllib.loads((BACKEND / "pyproject.toml").read_text())["project"]["entry-points"]["hwloop.backends"]
    _installed(tmp_path, "hwloop_mychip", "\n".join(f"{key} = {value}" for key, value in named.items()))
    monkeypatch.syspath_prepend(str(tmp_path))
    for module in ("hwloop_tiny", "hwloop_mychip", "hwloop_mychip.driver"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path
