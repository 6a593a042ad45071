"""Populations that do not spike: their membranes as functions of what drives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..spikes import Spikes
from .populations import LI
from .structure import Component


def read_out(component: Component, node: LI, trains: Mapping[str, Spikes], where: str) -> Any:
    """The membranes of ``node``."""
    raise NotImplementedError
