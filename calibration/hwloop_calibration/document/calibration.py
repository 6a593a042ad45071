"""The calibration document: what was found and set on one device, by whom it may be used, and for how long.

JSON with ``format`` and ``version``; a digest over its content detects an edited file. Potentials are in units of the
asked swing above the asked v_reset, times in model seconds. Where the gauge is ``spikes``, membranes were not read:
v_th and v_reset are held at what was asked, and v_leak and gain are what they are in units of the neuron's own swing.

Version 2 adds ``measured``, when each neuron was measured last, which partial calibrations make differ, and ``bends``. Documents
of version 1 are read and stay what they are, digest and id included.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hwloop import storage
from hwloop.described import Described
from hwloop.device.trim import TRIMMED
from hwloop.errors import CalibrationError, DataError
from hwloop.neurons import PARAMETERS

from ..characterise.model import Array
from ..characterise.quality import Verdict

FORMAT: Final = "hwloop-calibration"
VERSION: Final = 2
#: Versions of before that are read.
OLDER: Final = (1,)
#: Largest document read (bytes): 4096 neurons of 256 synapses have 9 MB.
MAX_BYTES = 256 * 2**20
#: Digits that are kept of estimates and of synapse factors.
DIGITS, FACTOR_DIGITS = 9, 6
#: Parameters that are estimated, the order of tables and reports.
ESTIMATED = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "gain", "latency")
#: Characters of the digest that name a calibration.
ID_DIGITS = 12

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
_Text = Annotated[str, Field(max_length=500)]
_Row = list[float | None]
_MOST_NEURONS = 1_000_000


class Estimate(BaseModel):
    """One parameter of all calibrated neurons; None where nothing is known.

    ``error``: standard errors. ``identified``: whether the stimuli tell this parameter from the others.
    """

    model_config = _STRICT

    value: _Row
    error: _Row
    identified: list[bool]


class NoiseFound(BaseModel):
    """Noise of one run: of a sample's threshold (share of the swing) and of a spike (s)."""

    model_config = _STRICT

    threshold: Annotated[float, Field(ge=0)]
    jitter: Annotated[float, Field(ge=0)]


class HeldOut(BaseModel):
    """Spike-time errors (s) on stimuli that no fit has seen: RMS of single runs against the twin and the nominal model.

    ``jitter``: RMS of single runs against their own mean: what no model can undercut. ``missing``, ``extra``: spikes a
    sample and neuron that the device lacks or has beyond the twin.
    """

    model_config = _STRICT

    samples: Annotated[int, Field(ge=0)]
    spikes: Annotated[int, Field(ge=0)]
    twin: Annotated[float, Field(ge=0)]
    nominal: Annotated[float, Field(ge=0)]
    jitter: Annotated[float, Field(ge=0)]
    missing: Annotated[float, Field(ge=0)]
    extra: Annotated[float, Field(ge=0)]


class Spread(BaseModel):
    """Spread of a parameter over the sound neurons, before and after trimming: a share of the target, or of the swing."""

    model_config = _STRICT

    before: Annotated[float, Field(ge=0)]
    after: Annotated[float, Field(ge=0)]


class Effort(BaseModel):
    """What the calibration cost."""

    model_config = _STRICT

    seconds: Annotated[float, Field(ge=0)]
    device_seconds: Annotated[float, Field(ge=0)]
    runs: Annotated[int, Field(ge=0)]
    samples: Annotated[int, Field(ge=0)]
    cells_written: Annotated[int, Field(ge=0)]
    trim_cells_written: Annotated[int, Field(ge=0)]


class Calibration(Described, BaseModel):
    """A calibration of one device; ``save``, ``load``, and :meth:`apply_to` a device.

    Attributes
    ----------
    device_id, target, revision, firmware : what it is bound to (``revision``: digest of the device's limits)
    date : UTC, ISO 8601; of the last measurement
    temperature : kelvin above reference, None where the device does not tell
    device_time : device s at its end
    gauge : "spikes" or "membranes"
    neurons : physical neurons, ascending; all rows below are in this order
    targets : what was asked of them (model units, s)
    estimates : by name, see :data:`ESTIMATED`; ``before``: the same before trimming, empty without
    weights : ``[n][columns]`` factor of each synapse, measured over asked; 0: without effect, None: unknown
    bends : ``[n][columns]`` bow of each synapse's converter: at a share s of full scale its factor is ``weights`` times
        ``1 + bend (1 - s)``; empty where it was not measured (see :func:`~..characterise.converter.measure_bends`)
    codes : trim codes of **all** physical neurons by parameter; empty where nothing was trimmed
    tolerance : largest standard error that passed, as a share (0..1)
    verdict, reasons, notes : of each neuron; by physical neuron (as text) why masked, and what was not identified
    residual : ``[n]`` RMS of what the fit leaves, in units of the noise
    measured : ``[n]`` date of each neuron's last measurement; empty: ``date`` for all
    held_out, spread : of all sound neurons as they are now; ``held_out`` is None where that was not measured
    """

    model_config = _STRICT

    format: Literal["hwloop-calibration"] = FORMAT
    version: Literal[1, 2] = VERSION
    device_id: _Text
    target: _Text
    revision: _Text
    firmware: _Text
    ran_on: Literal["simulator", "emulator", "rtl-simulation", "hardware"]
    date: _Text
    temperature: float | None
    device_time: float
    hwloop: _Text
    program_digest: _Text
    gauge: Literal["spikes", "membranes"]
    tolerance: Annotated[float, Field(gt=0, lt=1)]
    neurons: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=_MOST_NEURONS)]
    targets: dict[str, list[float]]
    estimates: dict[str, Estimate]
    before: dict[str, Estimate] = {}
    weights: list[_Row]
    bends: list[_Row] = []
    codes: dict[str, list[int]] = {}
    verdict: list[Verdict]
    reasons: dict[str, _Text]
    notes: dict[str, _Text]
    residual: _Row
    measured: list[_Text] = []
    noise: NoiseFound
    held_out: HeldOut | None
    spread: dict[str, Spread] = {}
    effort: Effort
    digest: _Text = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        n = len(self.neurons)
        if sorted(set(self.neurons)) != self.neurons:
            raise ValueError("neurons are not in ascending order, or one stands twice")
        rows: dict[str, Any] = {"weights": self.weights, "verdict": self.verdict, "residual": self.residual}
        rows |= {f"targets.{name}": row for name, row in self.targets.items()}
        for part, table in (("estimates", self.estimates), ("before", self.before)):
            for name, estimate in table.items():
                rows |= {f"{part}.{name}.{key}": getattr(estimate, key) for key in ("value", "error", "identified")}
        for name in ("measured", "bends"):
            if found := getattr(self, name):
                if self.version == 1:
                    raise ValueError(f"{name} has no place in version 1; allowed: version 2")
                rows[name] = found
        for name, row in rows.items():
            if len(row) != n:
                raise ValueError(f"{name} has {len(row)} entries for {n} neurons")
        if set(self.targets) != set(PARAMETERS) or set(self.estimates) != set(ESTIMATED):
            raise ValueError(f"allowed targets: {', '.join(PARAMETERS)}; allowed estimates: {', '.join(ESTIMATED)}")
        if len({len(row) for row in [*self.weights, *self.bends]}) > 1 or not set(self.codes) <= set(TRIMMED):
            raise ValueError("weights of different lengths, or codes of a parameter that has no trim cells")
        for date in {self.date, *self.measured}:
            datetime.fromisoformat(date)
        return self

    def _facts(self) -> dict[str, Any]:
        verdicts = Counter(self.verdict)
        return {
            "device": self.device_id, "ran_on": self.ran_on, "date": self.date, "neurons": len(self.neurons),
            "verdicts": ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())),
            "trimmed": ", ".join(self.codes) or "nothing", "id": self.id,
        }  # fmt: skip

    # -- queries ------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """What recordings name it by: the beginning of its digest."""
        return self.digest[:ID_DIGITS]

    @property
    def mask(self) -> tuple[int, ...]:
        """Physical neurons not to be used."""
        return tuple(n for n, verdict in zip(self.neurons, self.verdict, strict=True) if verdict == "masked")

    @property
    def dates(self) -> tuple[str, ...]:
        """When each neuron was measured last ``[n]`` (UTC, ISO 8601)."""
        return tuple(self.measured) or (self.date,) * len(self.neurons)

    def age(self, now: datetime | None = None) -> float:
        """Seconds since the neuron was measured that was measured longest ago, of those that may be used."""
        moment = now or datetime.now(UTC)
        used = [date for date, verdict in zip(self.dates, self.verdict, strict=True) if verdict != "masked"]
        return (moment - min(map(datetime.fromisoformat, used or [self.date]))).total_seconds()

    def value(self, name: str) -> Array:
        """Estimates of parameter ``name`` ``[n]``, NaN where unknown."""
        return as_array(self.estimates[name].value)

    def error(self, name: str) -> Array:
        """Their standard errors ``[n]``, inf where unknown."""
        found = as_array(self.estimates[name].error)
        return np.where(np.isnan(found), np.inf, found)

    def asked(self, name: str) -> Array:
        """What was asked ``[n]``."""
        return np.asarray(self.targets[name])

    # -- files --------------------------------------------------------------------------------

    def sealed(self) -> Calibration:
        """The same with the digest of its content."""
        return self.model_copy(update={"digest": self._content_digest()})

    def _content_digest(self) -> str:
        content = self.model_dump(mode="json", exclude=self._unwritten | {"digest"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()

    def save(self, path: Path | str) -> None:
        """Write it to ``path`` in one step; raises :class:`DataError` where that fails, ``path`` is then unchanged."""
        storage.write_bytes(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """What :meth:`save` writes."""
        document = self.model_dump(mode="json", exclude=self._unwritten | {"format", "version"})
        return storage.headed(document, f"calibration {self.id}", kind=FORMAT, version=self.version)

    @property
    def _unwritten(self) -> set[str]:
        """Fields that its version does not have."""
        return {"measured", "bends"} if self.version == 1 else set()

    @classmethod
    def load(cls, path: Path | str, *, allow_edited: bool = False) -> Calibration:
        """Read a calibration.

        Raises
        ------
        DataError
            The file is missing, no calibration, or holds a value that is not allowed (named).
        CalibrationError
            It was edited: its digest is not that of its content.
        """
        return cls.from_bytes(storage.read_bytes(path, MAX_BYTES), str(path), allow_edited=allow_edited)

    @classmethod
    def from_bytes(cls, data: bytes, path: str, *, allow_edited: bool = False) -> Calibration:
        """The calibration in ``data``, which stood at ``path``; raises as :meth:`load`."""
        document = storage.parse_headed(data, path, kind=FORMAT, versions=(*OLDER, VERSION))
        try:
            found = cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "document"
            raise DataError(
                f"{path}: {place}: {first['msg']}; this is no calibration that hwloop wrote: calibrate again"
            ) from None
        if not allow_edited and found.digest != found._content_digest():
            raise CalibrationError(
                f"{path}: edited or damaged: digest {found.digest[:ID_DIGITS] or 'missing'}, its content has "
                f"{found._content_digest()[:ID_DIGITS]}. Calibrate again, or load it with allow_edited=True"
            )
        return found

    # -- use ----------------------------------------------------------------------------------

    def twin_of(self, net: Any, program: Any = None) -> Any:
        """See :func:`hwloop_calibration.twin.twin_of`."""
        from ..twin import twin_of

        return twin_of(net, self, program)

    def apply_to(self, device: Any, policy: str = "error", max_age: float | None = None) -> None:
        """See :func:`hwloop_calibration.trim.apply.apply`."""
        from ..trim.apply import apply

        apply(device, self, policy, max_age)

    def to_text(self, width: int = 100) -> str:
        """The report as text."""
        from .text import to_text

        return to_text(self, width)

    def to_html(self, path: Path | str, *, plots: Path | str | None = None) -> None:
        """The report as one self-contained HTML file, and every plot in the folder ``plots``."""
        from .report import calibration_report

        calibration_report(self).write(path, plots)


def as_array(row: _Row) -> Array:
    """A row as float64, NaN for None."""
    return np.array([np.nan if x is None else x for x in row], dtype=np.float64)


def as_row(values: Array, digits: int = DIGITS) -> _Row:
    """Values as a row, None for what is not finite."""
    return [float(f"{x:.{digits}g}") if np.isfinite(x) else None for x in np.asarray(values, np.float64).tolist()]
