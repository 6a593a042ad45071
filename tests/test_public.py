"""The public surface: names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hwloop as hl
from hwloop.device import registry as target

#: Imported by none but those who need them: each costs more than a tenth of a second, or draws in a vendor's code.
HEAVY = (
    "numba", "matplotlib", "rich", "pydantic", "typer", "jinja2", "nir", "h5py", "serial", "scipy", "hwloop_emulator",
)  # fmt: skip


def test_every_public_name_can_be_imported_and_no_other_is_public() -> None:
    assert sorted(hl.__all__) == sorted(set(hl.__all__))
    for name in hl.__all__:
        assert getattr(hl, name) is not None
    from_submodules = {
        name
        for name, value in vars(hl).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith(("hwloop.", "hwloop_calibration"))
    }
    assert from_submodules == set(hl.__all__)


def test_importing_hwloop_imports_nothing_heavy() -> None:
    code = f"import sys, hwloop; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


def test_names_that_shadow_a_module_or_a_builtin_are_ours() -> None:
    from hwloop.compare import Comparison

    assert callable(hl.compare)
    assert hl.Comparison is Comparison
    assert hl.open is target.open
    assert hl.compile is target.compile


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="trainn"):
        hl.trainn  # noqa: B018  # the access is what is tested
