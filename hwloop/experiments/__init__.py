"""The experiments that come with hwloop: one TOML file each."""

from __future__ import annotations

from importlib import resources


def builtin() -> tuple[str, ...]:
    """Their names."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))
