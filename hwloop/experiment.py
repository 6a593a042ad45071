"""Experiments as files: task, network, loss, training, target and fine-tuning in one TOML document.

    experiment = Experiment.load("yin-yang")              # built in, or the path of a .toml file
    task, net, loss = experiment.build_task(), experiment.build_network(), experiment.build_loss()
    hl.fit(net, task, loss, **experiment.fit_options())

Strict: an unknown key, a number out of its bounds, inf or NaN is refused with file, key, value and what is allowed.
Built-in experiments are the files in ``hwloop/experiments``; copy one and edit it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import numpy as np
from pydantic import Field, ValidationError, model_validator

from .class_scores import reading
from .datasets import Task
from .document_errors import did_you_mean, explain
from .errors import DataError, InputError, OptionError
from .experiment_networks import KEYS, NetworkForm, beside, with_form
from .experiment_own_data import ImagesTask, RecordingsTask, SpikeTimesTask, ValuesTask
from .experiment_sections import (
    FinetuneSection,
    LossSection,
    Section,
    Seed,
    TargetSection,
    Text,
    TrainingSection,
)
from .experiment_settings import with_settings
from .experiment_tasks import EmnistTask, FashionMnistTask, MnistTask, SpokenDigitsTask, YinYangTask
from .experiments import builtin as builtin
from .losses import Decision, Loss
from .network import Network
from .toml_lines import TomlLines
from .toml_text import toml_text

FORMAT, VERSION = "hwloop-experiment", 1
#: Largest experiment file read (bytes); those shipped hold about 2 kB.
MAX_FILE = 100_000

Step: TypeAlias = Literal["train", "deploy", "calibrate", "compare", "finetune"]
#: What ``hwloop run`` can do, in this order.
STEPS: tuple[Step, ...] = ("train", "deploy", "calibrate", "compare", "finetune")
#: What it does where an experiment does not say: all but what only some targets can.
USUAL_STEPS: tuple[Step, ...] = ("train", "deploy", "compare", "finetune")

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Experiment(Section):
    """One experiment; see the module. ``seed`` draws first weights and sample order, ``task.seed`` the data."""

    format: Literal["hwloop-experiment"]
    version: Literal[1]
    name: _Name
    description: Text = ""
    seed: Seed = 0
    steps: Annotated[list[Step], Field(min_length=1)] = Field(list(USUAL_STEPS))
    task: Annotated[
        YinYangTask
        | MnistTask
        | FashionMnistTask
        | EmnistTask
        | SpokenDigitsTask
        | SpikeTimesTask
        | ValuesTask
        | RecordingsTask
        | ImagesTask,
        Field(discriminator="name"),
    ]
    network: NetworkForm
    loss: LossSection
    training: TrainingSection
    target: TargetSection = TargetSection()
    finetune: FinetuneSection

    @model_validator(mode="before")
    @classmethod
    def _form_of_network(cls, document: Any) -> Any:
        if not isinstance(document, dict) or "network" not in document:
            return document
        return {**document, "network": with_form(document["network"])}

    @model_validator(mode="after")
    def _steps_in_order(self) -> Self:
        if self.steps != [step for step in STEPS if step in self.steps] or self.steps[0] != STEPS[0]:
            raise ValueError(
                f"steps = {self.steps}; allowed: 'train', then those wanted of {list(STEPS[1:])}, in this order"
            )
        return self

    @model_validator(mode="after")
    def _images_to_augment(self) -> Self:
        if self.training.augment is None:
            return self
        if isinstance(self.task, ImagesTask) and self.task.height != self.task.width:
            found = f"{self.task.height} x {self.task.width}"
            raise ValueError(f"training.augment turns square images; those of the task are {found}: leave it out")
        if isinstance(self.task, (YinYangTask, SpokenDigitsTask, SpikeTimesTask, ValuesTask, RecordingsTask)):
            raise ValueError(f"training.augment changes images; task {self.task.name!r} has none: leave it out")
        return self

    @model_validator(mode="after")
    def _neurons_a_class(self) -> Self:
        if self.finetune.loss is not None:
            tuned, trained = (reading(loss.reads).neurons for loss in (self.finetune.loss, self.loss))
            if tuned != trained:
                raise ValueError(f"finetune.loss has {tuned} neurons a class, loss {trained}; allowed: as many in both")
        return self

    @classmethod
    def load(cls, experiment: str | Path, settings: Sequence[str] = ()) -> Experiment:
        """A built-in experiment by name, or one from a TOML file, with ``settings`` ``KEY=VALUE`` such as ``training.epochs=3``.

        Raises
        ------
        OptionError
            The name or a key in the file is unknown; lists those that are.
        InputError
            A value is out of bounds; names file, line, key, value and what is allowed.
        DataError
            The file cannot be read.
        """
        text, where = _read(experiment)
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise InputError(f"experiment {where}: not TOML: {error}") from None
        if str(experiment) not in builtin():
            document = beside(document, Path(experiment).parent)
        if settings:
            changed = with_settings(document, settings)
            return cls.from_dict(changed, f"{where} with {' '.join(f'--set {text}' for text in settings)}")
        return cls.from_dict(document, where, text)

    @classmethod
    def from_dict(cls, document: dict[str, Any], where: str, text: str | None = None) -> Experiment:
        """An experiment from plain values, Python's or NumPy's; ``where`` names them in errors, which find lines in ``text``."""
        try:
            return cls.model_validate(_plain(document))
        except ValidationError as error:
            line = None if text is None else TomlLines(text).line
            raise explain(f"experiment {where}", error, cls, line=line) from None

    def changed(self, where: str = "options", **sections: Any) -> Experiment:
        """The same with other values, checked anew: ``changed(seed=3, training={"epochs": 5})``."""
        document = self.to_dict()
        for name, value in sections.items():
            document[name] = _merged(document.get(name, {}), value) if isinstance(value, dict) else value
        return Experiment.from_dict(document, f"{self.name} with {where}")

    # -- building -----------------------------------------------------------------------------

    @property
    def decision(self) -> Decision:
        """How an output is read, with the output neurons of each class where they are several."""
        return self.loss.reads

    def build_task(self) -> Task:
        """The data, generated or read; raises :class:`DataError` where files are missing or malformed."""
        return self.task.build()

    def build_network(self, seed: int | None = None) -> Network:
        """The untrained network; its first weights are drawn from ``seed``, by default the experiment's."""
        return self.network.build(*self._sizes, self.seed if seed is None else seed)

    def build_loss(self) -> Loss:
        """The loss of training in software."""
        return self._built(self.loss)

    def build_finetune_loss(self) -> Loss:
        """The loss of fine-tuning."""
        return self._built(self.finetune.loss or self.loss)

    def _built(self, loss: LossSection) -> Loss:
        hidden = self.network.hidden_populations(*self._sizes) if loss.dead_hinge else 0
        return loss.build(hidden)

    @property
    def _sizes(self) -> tuple[int, int]:
        """Inputs and outputs of the network."""
        n_in, classes = self.task.shape
        return n_in, classes * reading(self.decision).neurons

    def fit_options(self) -> dict[str, Any]:
        """Options of :func:`hwloop.fit`."""
        options = self.training.model_dump(exclude_none=True, exclude={"augment"})
        if self.training.augment is not None:
            options["augment"] = self.training.augment.build()
        return {**options, "seed": self.seed, "decision": self.decision}

    def finetune_options(self) -> dict[str, Any]:
        """Options of :func:`hwloop.finetune`."""
        options = self.finetune.model_dump(exclude={"loss"})
        place = {"weight_scale": self.target.weight_scale, "mask": list(self.target.mask)}
        return {**options, **place, "seed": self.seed, "decision": self.decision}

    # -- text ---------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All values, defaults included; what is not stated and has no default is left out."""
        return self.model_dump(exclude_none=True)

    def to_toml(self) -> str:
        """The same as a TOML document that :meth:`load` reads back."""
        return toml_text(self.to_dict())


def _read(experiment: str | Path) -> tuple[str, str]:
    if str(experiment) in builtin():
        return (resources.files(__package__) / "experiments" / f"{experiment}.toml").read_text("utf-8"), str(experiment)
    path = Path(experiment)
    if path.suffix != ".toml" and not path.exists():
        raise OptionError(
            f"unknown experiment {str(experiment)!r}; built in: {', '.join(builtin())}; or give a .toml file"
            + did_you_mean(experiment, builtin())
        )
    try:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise DataError(f"experiment {path} has {size} bytes; allowed: at most {MAX_FILE}")
        return path.read_text("utf-8"), str(path)
    except OSError as error:
        raise DataError(f"experiment {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"experiment {path} cannot be read: not UTF-8 text ({error.reason})") from error


def _merged(before: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """``before`` with other values; not of it what belongs to another form of network."""
    changes = with_form(value).get("form") if value.keys() & KEYS.keys() else None
    other = changes is not None and "form" in before and changes != before["form"]
    return value if other else {**before, **value}


def _plain(value: Any) -> Any:
    """``value`` without NumPy's types, tuples and paths, which a file does not have."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value
