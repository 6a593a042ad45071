"""What a bundle says in words and numbers, as strict models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..record import RanOn
from ..stored_spikes import TrainText
from ..strict_documents import Count, Name, Sha256, StrictDocument, Text


class ProgramText(StrictDocument):
    """The program: which class of program it is, its digest, and what a compiler needs to make it again."""

    kind: Name
    digest: Sha256
    scales: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1, max_length=10_000)]
    pieces: bool = False
    mask: Annotated[tuple[Count, ...], Field(max_length=10_000_000)] = ()


class Position(StrictDocument):
    """Where the noise of an emulated device stood before the golden run."""

    session: Annotated[int, Field(ge=0, lt=2**63)]
    batch: Annotated[int, Field(ge=0, lt=2**63)]


class GoldenText(StrictDocument):
    """The golden run: its inputs and what each population answered."""

    inputs: TrainText
    names: Annotated[tuple[Name, ...], Field(min_length=1, max_length=10_000)]
    populations: Annotated[tuple[TrainText, ...], Field(min_length=1, max_length=10_000)]
    position: Position | None
    lost_events: Count
    late_events: Count
    wall_time: Annotated[float, Field(ge=0)]


class ProvenanceText(StrictDocument):
    """Where all of it comes from."""

    format: Literal["hwloop-provenance"] = "hwloop-provenance"
    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    created: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")]
    source: Text
    network: Sha256
    program: Sha256
    target: Name
    device_id: Name
    firmware: Name
    ran_on: RanOn
    calibration_id: Name | None
    versions: Annotated[dict[Name, Name], Field(max_length=100)]
