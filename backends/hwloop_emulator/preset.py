"""Presets: a chip type as a file that a user can copy and edit. Strict: unknown keys and bad numbers are refused."""

from __future__ import annotations

import hashlib
import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from hwloop.device.abilities import Promises
from hwloop.device.trim import TRIMMED, TrimRange
from hwloop.document_errors import did_you_mean, explain
from hwloop.errors import DataError, InputError, OptionError
from hwloop.mapping import Capabilities, Range
from hwloop.mapping.capabilities import GRAPH_LIMITS
from hwloop.storage import malformed, parse_json

from .effects import EFFECTS, EXACT, MISMATCH, NEEDS, NEEDS_CODES, SPREAD, TRIAL_NOISE
from .preset_entries import STRICT, Effect, Limits, Trim, check_effect, plain_limits, with_defaults

FORMAT = "hwloop-emulator-preset"
#: Bytes; shipped presets have about 5 kB. A larger file is not a preset.
MAX_FILE = 1_000_000


class Preset(BaseModel):
    """A chip type: limits, effects and trim cells. ``print(preset)`` shows what differs from ``ideal``."""

    model_config = STRICT

    format: Literal["hwloop-emulator-preset"]
    version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    family: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    description: Annotated[str, Field(max_length=2000)] = ""
    limits: Limits = Limits()
    effects: dict[str, Effect] = {}
    trims: dict[str, Trim] = {}

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, data: Any) -> Any:
        """Fill in what the table of effects fixes, so that a file need only state scale and source."""
        effects = data.get("effects") if isinstance(data, dict) else None
        if not isinstance(effects, dict):
            return data
        return {**data, "effects": {key: with_defaults(key, entry) for key, entry in effects.items()}}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, effect in self.effects.items():
            check_effect(name, effect)
        for name in self.trims:
            if name not in TRIMMED:
                raise ValueError(f"trims.{name} is unknown; known: {', '.join(TRIMMED)}{did_you_mean(name, TRIMMED)}")
        if self.limits.weight_bits is None:
            for name in NEEDS_CODES:
                if self.scale(name) > 0:
                    raise ValueError(f"effects.{name} is stated in weight codes; allowed: only with limits.weight_bits")
        for name, needed in NEEDS.items():
            for other in needed if self.scale(name) > 0 else ():
                if other not in self.effects or (self.scale(other) == 0 and not other.endswith("_rate")):
                    unit, zero = EFFECTS[other].unit, ", 0 is allowed" if other.endswith("_rate") else ", above 0"
                    raise ValueError(f"effects.{name} > 0 without effects.{other}; state it ({unit}){zero}")
        return self

    @classmethod
    def load(cls, preset: str | Path | Preset) -> Preset:
        """A preset by shipped name, from a TOML file, or itself.

        Raises
        ------
        OptionError
            The name or a key in the file is unknown; lists those that are.
        InputError
            A value in the file is out of bounds; names file, key, value and what is allowed.
        DataError
            The file cannot be read.
        """
        if isinstance(preset, Preset):
            return preset
        text, where = _read(preset)
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InputError(f"preset {where}: not TOML: {error}") from None
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _explain(where, error) from None

    def to_json(self) -> str:
        """What it was made of, as a document that :meth:`from_json` reads back."""
        return self.model_dump_json(exclude_unset=True)

    @classmethod
    def from_json(cls, text: str) -> Preset:
        """A preset of :meth:`to_json`; :class:`DataError` where it is none."""
        document = parse_json(text.encode(), "preset")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise malformed("preset", "the document", str(_explain("of a file", error)), "what hwloop wrote") from None

    # -- queries ------------------------------------------------------------------------------

    def scale(self, name: str) -> float:
        """Scale of effect ``name``, 0 where the preset does not have it."""
        effect = self.effects.get(name)
        return 0.0 if effect is None else float(effect.scale)

    def stream(self, name: str) -> str:
        """Seed stream of effect ``name``."""
        effect = self.effects.get(name)
        return name if effect is None else effect.stream

    @property
    def promises(self) -> Promises:
        """How exact a chip of this preset is: as the model where nothing but read-out and link differ from it."""
        acting = {name for name, effect in self.effects.items() if effect.scale > 0}
        constant = {name for name in acting if EFFECTS[name].time_scale == "device"}
        return Promises(deterministic=acting - constant <= EXACT, time_error=0.0 if acting <= EXACT else None)

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) over limits and effects; sources and description do not count."""
        values = {name: (effect.distribution, effect.scale, effect.stream) for name, effect in self.effects.items()}
        limits = plain_limits(self.limits)
        for (
            name
        ) in GRAPH_LIMITS:  # what a network may have besides a chain changes nothing that the chip does to a chain
            limits.pop(name, None)
        if limits["membrane_channels"] == 0:  # a chip type without a later feature keeps the digest it had before
            del limits["membrane_channels"]
        content: list[Any] = [self.name, self.family, limits, values]
        if self.trims:
            content.append({name: (trim.codes, trim.default, trim.step) for name, trim in self.trims.items()})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def capabilities(self) -> Capabilities:
        """The limits that a compiler has to know; none of the chip's secrets."""
        limits = self.limits
        ranges = {
            name: Range(float(stated.value[0]), float(stated.value[1]), "swing" if name == "v_leak" else "device_s")
            for name in ("tau_mem", "tau_syn", "t_ref", "v_leak")
            if (stated := getattr(limits, name)) is not None
        }
        tick = self.scale("time_stamp")
        return Capabilities(
            name=f"emulator/{self.name}",
            n_neurons=limits.n_neurons.value,
            fan_in=limits.fan_in.value,
            weight_bits=None if limits.weight_bits is None else limits.weight_bits.value,
            speedup=float(limits.speedup.value),
            reset_kinds=tuple(limits.reset_kinds.value),
            delays=limits.delays.value,
            spike_cap=limits.spike_cap.value,
            ranges=ranges,
            refractory_min=float(limits.refractory_min.value),
            max_events=None if limits.max_events is None else limits.max_events.value,
            time_step=tick,
            # stamps are rounded down, on average by half a tick
            latency=self.scale("latency") - tick / 2,
            graphs=True,
            recurrent=limits.recurrent.value,
            synaptic_delays=limits.synaptic_delays.value,
            bias=limits.bias.value,
            initial_membrane=limits.initial_membrane.value,
            joined=limits.joined.value,
            populations=tuple(limits.populations.value),
        )

    def trim_ranges(self) -> dict[str, TrimRange]:
        """Range and nominal law of each parameter that has trim cells: what a data sheet tells."""
        return {
            name: TrimRange(trim.codes[0], trim.codes[1], trim.default, TRIMMED[name], float(trim.step))
            for name, trim in self.trims.items()
        }

    # -- variants -----------------------------------------------------------------------------

    def with_effect(self, name: str, scale: float, source: str = "assumed: set by the user") -> Preset:
        """The same chip type with effect ``name`` at ``scale``; all other effects keep their values."""
        if name not in EFFECTS:
            raise OptionError(f"unknown effect {name!r}; known: {', '.join(EFFECTS)}{did_you_mean(name, EFFECTS)}")
        before = self.effects.get(name)
        kept = {} if before is None else {"distribution": before.distribution, "stream": before.stream}
        data = self.model_dump(exclude_unset=True)
        data["effects"] = {**data.get("effects", {}), name: {**kept, "scale": scale, "source": source}}
        try:
            return Preset.model_validate(data)
        except ValidationError as error:
            raise _explain(f"{self.name} with {name} = {scale}", error) from None

    def with_spread(self, spread: float) -> Preset:
        """The same with ``spread`` (.2 is 20 %) over neurons of tau_mem, tau_syn and gain."""
        preset = self
        for name in SPREAD:
            preset = preset.with_effect(name, spread, f"assumed: a variant of {self.name} with {spread:g} spread")
        return preset

    def without_mismatch(self) -> Preset:
        """The same noise, no differences between devices and no defects: the noise ceiling."""
        return self._without(MISMATCH)

    def without_trial_noise(self) -> Preset:
        """The same chip, without what differs between two runs of one input.

        Gone: threshold noise of batch and sample, jitter, event loss, spurious spikes. Kept: threshold noise of the
        session and programming noise (constant between two loads), time stamps.
        """
        return self._without(TRIAL_NOISE)

    def _without(self, names: tuple[str, ...]) -> Preset:
        dropped = {*names, *(("hot",) if "hot_rate" in names else ())}
        kept = {name: effect for name, effect in self.effects.items() if name not in dropped}
        return self.model_copy(update={"effects": kept})

    # -- text ---------------------------------------------------------------------------------

    def differences(self) -> list[tuple[str, str, str]]:
        """What differs from ``ideal``, one ``(name, value, source)`` a limit or effect."""
        ideal, own = plain_limits(Limits()), plain_limits(self.limits)
        rows = [
            (
                _RANGE_NAMES.get(name, name),
                f"{_short(value)} {_UNITS.get(name, '')}".strip(),
                getattr(self.limits, name).source,
            )
            for name, value in own.items()
            if value != ideal[name]
        ]
        for name, effect in self.effects.items():
            if effect.scale > 0:
                what = f"{effect.scale:g} {effect.unit}, {effect.distribution}, per {effect.time_scale}"
                rows.append((name, what, effect.source))
        for name, trim in self.trims.items():
            unit = "ratio" if TRIMMED[name] == "exponential" else "swing"
            what = f"{trim.codes[0]}..{trim.codes[1]}, default {trim.default}, {trim.step:g} {unit} a code"
            rows.append((f"trim {name}", what, trim.source))
        return rows

    def __str__(self) -> str:
        lines = [f"preset {self.name} (differences from ideal; seed family {self.family})"]
        lines += [f"  {name:<18} {value:<44} {source}" for name, value, source in self.differences()]
        return "\n".join(lines if len(lines) > 1 else [*lines, "  none"])


def shipped() -> tuple[str, ...]:
    """Names of the presets that come with the emulator."""
    folder = resources.files(__package__) / "presets"
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


#: Units of the limits that have one, in the names of the table of effects.
_UNITS = {
    "tau_mem": "device_s",
    "tau_syn": "device_s",
    "t_ref": "device_s",
    "refractory_min": "device_s",
    "v_leak": "swing",
}
#: Limits that share their name with an effect.
_RANGE_NAMES = {name: f"{name} range" for name in ("tau_mem", "tau_syn", "t_ref", "v_leak")}


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(preset: str | Path) -> tuple[str, str]:
    if isinstance(preset, str) and preset in shipped():
        return (resources.files(__package__) / "presets" / f"{preset}.toml").read_text("utf-8"), preset
    path = Path(preset)
    if path.suffix != ".toml" and not path.exists():
        raise OptionError(
            f"unknown preset {str(preset)!r}; shipped: {', '.join(shipped())}; or give a .toml file"
            + did_you_mean(preset, shipped())
        )
    try:
        if path.stat().st_size > MAX_FILE:
            raise DataError(
                f"preset {path} has {path.stat().st_size} bytes; allowed: at most {MAX_FILE}; shorten its texts"
            )
        return path.read_text("utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"preset {path} cannot be read: {error}; check the path, and that it is UTF-8 text") from error


def _explain(where: str, error: ValidationError) -> InputError:
    return explain(f"preset {where}", error, Preset, {"effects": EFFECTS, "trims": TRIMMED})
