"""Which target a command means: its options over those of the experiment."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..device.registry import Target, find
from ..errors import OptionError, TargetError
from ..experiment import Experiment

if TYPE_CHECKING:
    from hwloop_calibration import Calibration

#: Options of a target that are part of an experiment; a backend may have others.
_SHARED = ("preset", "spread", "mismatch", "trial_noise", "dt")
#: How those are said that are not called as they are; switches have a ``--no-`` form.
_FLAGS = {
    "preset": "preset NAME",
    "spread": "spread SHARE",
    "dt": "dt SECONDS",
    "mismatch": "no-mismatch",
    "trial_noise": "no-trial-noise",
}
#: What ``--dt`` takes instead of a step (s): choose it by measurement.
AUTO = "auto"


@dataclass(frozen=True)
class TargetChoice:
    """What the user said about the target; None where nothing was said.

    ``extra`` are ``KEY=VALUE`` options. ``step`` is ``--dt``: a step (s) or ``"auto"``, see :attr:`automatic`. ``calibration`` is
    written to the device once it is open.
    """

    name: str | None = None
    preset: str | None = None
    spread: float | None = None
    mismatch: bool | None = None
    trial_noise: bool | None = None
    extra: Sequence[str] = ()
    step: str | None = None
    calibration: Calibration | None = None

    @property
    def automatic(self) -> bool:
        """Whether the step is to be chosen by measurement."""
        return self.step == AUTO

    @property
    def dt(self) -> float | None:
        """The step (s) that was said, if one was; raises :class:`OptionError` where it is no number."""
        if self.step is None or self.automatic:
            return None
        try:
            return float(self.step)
        except ValueError:
            raise OptionError(f"--dt {self.step!r}; allowed: a step in seconds, e.g. 1e-4, or {AUTO}") from None

    def in_experiment(self, experiment: Experiment) -> Experiment:
        """``experiment`` with this target in place of its own.

        Options of the experiment's target stay where the backend is the same; they mean nothing to another one.
        """
        if self.name is not None and not self.name:
            raise OptionError("--target ''; allowed: the name of a target, such as emulator:7 (see `hwloop targets`)")
        own = experiment.target.model_dump(exclude_none=True)
        name = self.name or experiment.target.name
        if name.partition(":")[0] != experiment.target.name.partition(":")[0]:
            own = {key: value for key, value in own.items() if key not in _SHARED}
        said = {key: value for key in _SHARED if (value := getattr(self, key)) is not None}
        if self.preset is not None and self.preset.endswith(".toml"):
            said["preset"] = str(Path(self.preset).absolute())  # the run may be used from another folder
        document = {**experiment.to_dict(), "target": {**own, **said, "name": name}}
        return Experiment.from_dict(document, f"{experiment.name} with the options given")

    def find(self, experiment: Experiment) -> Target:
        """The target that ``experiment`` names, with the ``extra`` options.

        Raises :class:`OptionError` for an unknown target, with those available, and for options it does not have.
        """
        return self._find(experiment.target.name, experiment.target.options())

    def find_named(self, name: str) -> Target:
        """The target ``name`` with the options that were said; raises as :meth:`find`."""
        return self._find(name, {key: value for key in _SHARED if (value := getattr(self, key)) is not None})

    def _find(self, name: str, options: dict[str, Any]) -> Target:
        extra = pairs(self.extra)
        for key in extra:
            if key in _SHARED:  # an experiment keeps these; the others are of one command
                raise OptionError(f"--option {key}=...; allowed: --{_FLAGS.get(key, key)}, which the run remembers")
        try:
            return find(name, **options, **extra)
        except TargetError as error:
            # naming a target that is not there is wrong use, not a failure of the target
            raise OptionError(str(error)) from error


def pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Options ``KEY=VALUE`` by key; :class:`OptionError` for anything else."""
    return dict(map(_pair, texts))


def _pair(text: str) -> tuple[str, Any]:
    """``KEY=VALUE``; the value is a number, true or false, or text."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise OptionError(f"--option {text!r}; allowed: KEY=VALUE, e.g. --option session=3")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
