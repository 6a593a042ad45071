"""The plan of a yield study: its rows (one chip, one strategy, one effort each), and what comes of a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwloop.errors import InputError, OptionError
from hwloop.training.noise import NoiseModel

from .strategies import STRATEGIES

#: Rows of a chip without mismatch stand for the noise ceiling; their strategies are these.
CEILINGS = ("as-is", "loop", "hardened", "hardened-loop")

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class YieldPlan(BaseModel):
    """What a study does. Magnitudes of the noise are the chip type's data sheet: model seconds, shares."""

    model_config = _STRICT

    preset: Annotated[str, Field(min_length=1, max_length=1000)] = "bss2"
    spread: Annotated[float, Field(ge=0, le=1)] | None = None
    chips: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=100_000)]
    strategies: Annotated[list[str], Field(min_length=1)] = list(STRATEGIES)
    efforts: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1)] = [1.0]
    ceilings: Annotated[int, Field(ge=0, le=1000)] = 3
    runs: Annotated[int, Field(ge=1, le=100)] = 5
    threshold_noise: Annotated[float, Field(ge=0, le=1)] = 0.015
    jitter: Annotated[float, Field(ge=0, le=1)] = 1e-4
    event_loss: Annotated[float, Field(ge=0, lt=1)] = 1e-3
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.strategies:
            if name not in STRATEGIES:
                raise ValueError(f"strategy {name!r}; known: {', '.join(STRATEGIES)}")
        for name, listed in (("chips", self.chips), ("strategies", self.strategies), ("efforts", self.efforts)):
            if len(set(listed)) != len(listed):
                raise ValueError(f"{name} names one of them twice; allowed: each once")
        return self

    @classmethod
    def of(cls, **values: Any) -> YieldPlan:
        """A plan from plain values; :class:`InputError` that names key, value and what is allowed."""
        try:
            return cls(**values)
        except ValidationError as error:
            detail = error.errors()[0]
            key = ".".join(str(part) for part in detail["loc"])
            message = detail["msg"].removeprefix("Value error, ")
            kind = OptionError if detail["type"] in ("extra_forbidden", "value_error") else InputError
            found = f"{key} = {str(detail['input'])[:80]}; " if key else ""
            raise kind(f"plan of a yield study: {found}{message}") from None

    def rows(self) -> list[Row]:
        """The rows, ceilings first."""
        ceiling = [Row(chip, name, 1.0, False) for chip in range(self.ceilings) for name in CEILINGS]
        found = [
            Row(chip, name, effort, True)
            for effort in self.efforts
            for name in self.strategies
            for chip in self.chips
            if effort == max(self.efforts) or name not in _EFFORTLESS
        ]
        return ceiling + found

    def noise(self, time_step: float) -> NoiseModel:
        """Noise of the chip type; ``time_step`` (model s) is that of its stamps."""
        return NoiseModel(self.threshold_noise, self.jitter, time_step, self.event_loss)


#: Strategies that spend nothing on a chip, whatever the effort.
_EFFORTLESS = ("as-is", "hardened", "random-mismatch", "trimmed", "trimmed-hardened")


@dataclass(frozen=True)
class Row:
    """One chip, one strategy, one effort; ``mismatch`` False: a chip of the same noise without mismatch."""

    chip: int
    strategy: str
    effort: float
    mismatch: bool

    @property
    def name(self) -> str:
        """What its file is called."""
        ceiling = "" if self.mismatch else "ceiling-"
        return f"{ceiling}{self.strategy}-effort-{self.effort:g}-chip-{self.chip}"


@dataclass(frozen=True)
class RowResult:
    """What came of a row: accuracies on the test set (single runs, and averaged over ``runs``), and what it took."""

    row: Row
    device_id: str
    ran_on: str
    accuracy: float
    averaged: float
    runs: int
    samples: int
    cells: int
    device_seconds: float
    seconds: float
    program_digest: str
    failure: str = ""
