"""Experiments as files: task, network, loss, training, target and fine-tuning in one TOML document.

    experiment = Experiment.load("yin-yang")              # built in, or the path of a .toml file
    task, net, loss = experiment.build_task(), experiment.build_network(), experiment.build_loss()
    hl.fit(net, task, loss, **experiment.fit_options())

Strict: an unknown key, a number out of its bounds, inf or NaN is refused with file, key, value and what is allowed.
Built-in experiments are the files in ``hwloop/experiments``; copy one and edit it.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from . import datasets, losses
from .datasets import Stimulus, Task
from .errors import DataError, InputError, OptionError
from .losses import Decision, Loss
from .network import LIF, Dense, Network
from .simulate import DEFAULT_FLOOR, FloorPolicy
from .toml_text import toml_text

if TYPE_CHECKING:
    from .target import Target

FORMAT, VERSION = "hwloop-experiment", 1
#: Largest experiment file read (bytes); those shipped hold about 2 kB.
MAX_FILE = 100_000

_Count = Annotated[int, Field(ge=1, le=1_000_000)]
_Seed = Annotated[int, Field(ge=0, lt=2**63)]
_Seconds = Annotated[float, Field(ge=0, le=100)]
_Positive = Annotated[float, Field(gt=0, le=100)]
_Potential = Annotated[float, Field(ge=-1000, le=1000)]
_Weight = Annotated[float, Field(ge=0, le=1e6)]
_Rate = Annotated[float, Field(gt=0, le=10)]
_Decay = Annotated[float, Field(gt=0, le=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
_Text = Annotated[str, Field(max_length=2000)]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


_OneOrPerLayer = BeforeValidator(_as_list)


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class StimulusSection(_Section):
    """When values spike: earliest and latest value spike, end of the window, bias spike (s)."""

    t_early: _Seconds
    t_late: _Seconds
    t_stop: _Positive
    bias_time: _Seconds | None = None

    def build(self) -> Stimulus:
        """As the data sets take it."""
        return Stimulus(self.t_early, self.t_late, self.t_stop, self.bias_time)


class YinYangTask(_Section):
    """Yin-Yang; ``train``, ``validation`` and ``test`` are sample counts, for generated data only."""

    name: Literal["yin-yang"]
    source: Literal["generated", "published"] = "generated"
    data: _Text | None = None
    seed: _Seed = 0
    train: _Count | None = None
    validation: _Count | None = None
    test: _Count | None = None
    stimulus: StimulusSection | None = None

    @model_validator(mode="after")
    def _sizes_of_generated_data(self) -> Self:
        given = [name for name in ("train", "validation", "test") if getattr(self, name) is not None]
        if self.source == "published" and given:
            raise ValueError(f'{given[0]} is fixed for published data; allowed: with source = "generated"')
        if self.source == "generated" and self.data is not None:
            raise ValueError('data names a folder of files; allowed: with source = "published"')
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        bias = self.stimulus is None or self.stimulus.bias_time is not None
        return 4 + bias, len(datasets.YIN_YANG_CLASSES)

    def build(self) -> Task:
        """Generate or read the data."""
        how = None if self.stimulus is None else self.stimulus.build()
        sizes = (self.train or 5000, self.validation or 1000, self.test or 1000)
        return datasets.yin_yang(self.data, source=self.source, seed=self.seed, sizes=sizes, stimulus=how)


class MnistTask(_Section):
    """MNIST; ``size`` and ``crop`` are sides in pixels, ``train`` and ``test`` keep the first so many samples."""

    name: Literal["mnist"]
    size: Annotated[int, Field(ge=1, le=28)] = 28
    crop: Annotated[int, Field(ge=2, le=28, multiple_of=2)] | None = None
    data: _Text | None = None
    seed: _Seed = 0
    validation: Annotated[int, Field(ge=1, le=59_999)] = 5000
    train: _Count | None = None
    test: _Count | None = None
    stimulus: StimulusSection | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        bias = self.stimulus is not None and self.stimulus.bias_time is not None
        return self.size**2 + bias, 10

    def build(self) -> Task:
        """Read the data."""
        how = None if self.stimulus is None else self.stimulus.build()
        task = datasets.mnist(
            self.data, size=self.size, crop=self.crop, n_validation=self.validation, seed=self.seed, stimulus=how
        )
        if self.train is None and self.test is None:
            return task
        n_train, n_test = self.train or len(task.train), self.test or len(task.test)
        return datasets.subset(task, n_train, len(task.validation), n_test)


class NetworkSection(_Section):
    """Fully connected LIF layers. Every list holds one value for all spiking layers, or one for each of them."""

    hidden: Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(max_length=20)]
    tau_mem: Annotated[list[_Positive], _OneOrPerLayer, Field(min_length=1)]
    tau_syn: Annotated[list[_Positive], _OneOrPerLayer, Field(min_length=1)]
    v_th: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] = [1.0]
    v_leak: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] = [0.0]
    v_reset: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] = [0.0]
    t_ref: Annotated[list[_Seconds], _OneOrPerLayer, Field(min_length=1)] = [0.0]
    reset: Literal["value", "subtract"] = "value"
    max_spikes: _Count | None = None
    init_mean: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] | None = None
    init_std: Annotated[list[_Weight], _OneOrPerLayer, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        layers = len(self.hidden) + 1
        for name in (*_NEURON, "init_mean", "init_std"):
            values = getattr(self, name)
            if values is not None and len(values) not in (1, layers):
                raise ValueError(f"{name} has {len(values)} values; allowed: 1, or {layers} (one a spiking layer)")
        if (self.init_mean is None) != (self.init_std is None):
            raise ValueError("init_mean and init_std go together; state both, or none for the default of Dense")
        for k in range(layers):
            v_th, v_reset = _of_layer(self.v_th, k), _of_layer(self.v_reset, k)
            if v_th <= v_reset:
                raise ValueError(f"layer {k}: v_th = {v_th:g}, v_reset = {v_reset:g}; allowed: v_th > v_reset")
        return self

    def build(self, n_in: int, n_out: int, seed: int) -> Network:
        """A network with first weights drawn from ``seed``."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        layers: list[torch.nn.Module] = []
        sizes = [n_in, *self.hidden, n_out]
        for k in range(len(sizes) - 1):
            dense = Dense(sizes[k], sizes[k + 1], generator=generator)
            if self.init_mean is not None and self.init_std is not None:
                dense.init_normal_(_of_layer(self.init_mean, k), _of_layer(self.init_std, k), generator)
            values = {name: _of_layer(getattr(self, name), k) for name in _NEURON}
            layers += [dense, LIF(sizes[k + 1], **values, reset=self.reset, max_spikes=self.max_spikes)]
        return Network(layers)


_NEURON = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref")


def _of_layer(values: list[float], k: int) -> float:
    return float(values[k] if len(values) > 1 else values[0])


class _Hinges(_Section):
    """Weights and margins (membrane units) of the hinges: label outputs that stay silent, hidden neurons that are dead."""

    label_hinge: _Weight = 0.0
    label_margin: _Weight = 0.0
    dead_hinge: _Weight = 0.0
    dead_margin: _Weight = 0.05

    def _hinged(self, loss: Loss, hidden: int) -> Loss:
        if self.label_hinge:
            loss = loss + self.label_hinge * losses.SilentHinge(margin=self.label_margin, only_label=True)
        for layer in range(hidden if self.dead_hinge else 0):
            loss = loss + self.dead_hinge * losses.DeadHinge(layer, self.dead_margin)
        return loss


class FirstSpikeLoss(_Hinges):
    """The earliest output spike decides; ``temperature`` (s) of its cross-entropy."""

    decision: Literal["first"]
    temperature: _Positive

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        return self._hinged(losses.FirstSpike(self.temperature), hidden)


class SpikeCountLoss(_Hinges):
    """The largest spike count decides; ``wanted`` spikes of the label, ``others`` of the rest."""

    decision: Literal["count"]
    wanted: _Weight = 15.0
    others: _Weight = 3.0

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        return self._hinged(losses.SpikeCount(self.wanted, self.others), hidden)


_Loss = Annotated[FirstSpikeLoss | SpikeCountLoss, Field(discriminator="decision")]


class TrainingSection(_Section):
    """Training in software; without ``clip_norm`` gradients are not clipped."""

    epochs: _Count
    batch_size: _Count
    lr: _Rate
    lr_decay: _Decay = 1.0
    lr_min: _Share = 0.0
    clip_norm: _Positive | None = None
    floor: _Share = DEFAULT_FLOOR
    policy: FloorPolicy = "clip"
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _falling(self) -> Self:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min = {self.lr_min:g}, lr = {self.lr:g}; allowed: lr_min <= lr")
        return self


class TargetSection(_Section):
    """Where it is deployed. Options that are not stated are the backend's own."""

    name: _Text = "emulator:0"
    preset: _Text | None = None
    spread: Annotated[float, Field(ge=0, le=1)] | None = None
    mismatch: bool | None = None
    trial_noise: bool | None = None
    weight_scale: Annotated[str, Field(pattern=r"^(auto|max|quantile:(0?\.\d+|1|1\.0*))$")] = "auto"
    mask: list[Annotated[int, Field(ge=0, le=10_000_000)]] = []

    def options(self) -> dict[str, Any]:
        """What :func:`hwloop.open` takes besides the name."""
        names = ("preset", "spread", "mismatch", "trial_noise")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def find(self) -> Target:
        """The target itself; raises as :func:`hwloop.target.find`."""
        from .target import find

        return find(self.name, **self.options())


class FinetuneSection(_Section):
    """Fine-tuning in the loop; without a loss of its own, that of the experiment."""

    epochs: _Count
    batch_size: _Count
    lr: _Rate
    lr_decay: _Decay = 1.0
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    validation_repeats: Annotated[int, Field(ge=1, le=1000)] = 2
    floor: _Share = 0.1
    policy: FloorPolicy = "clip"
    clip_norm: _Positive = 1.0
    loss: _Loss | None = None


class Experiment(_Section):
    """One experiment; see the module. ``seed`` draws first weights and sample order, ``task.seed`` the data."""

    format: Literal["hwloop-experiment"]
    version: Literal[1]
    name: _Name
    description: _Text = ""
    seed: _Seed = 0
    task: Annotated[YinYangTask | MnistTask, Field(discriminator="name")]
    network: NetworkSection
    loss: _Loss
    training: TrainingSection
    target: TargetSection = TargetSection()
    finetune: FinetuneSection

    @classmethod
    def load(cls, experiment: str | Path) -> Experiment:
        """A built-in experiment by name, or one from a TOML file.

        Raises
        ------
        OptionError
            The name or a key in the file is unknown; lists those that are.
        InputError
            A value is out of bounds; names file, key, value and what is allowed.
        DataError
            The file cannot be read.
        """
        text, where = _read(experiment)
        try:
            document = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise InputError(f"experiment {where}: not TOML: {error}") from None
        return cls.from_dict(document, where)

    @classmethod
    def from_dict(cls, document: dict[str, Any], where: str) -> Experiment:
        """An experiment from plain values; ``where`` names them in errors."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise _explain(where, error.errors()[0]) from None

    def changed(self, where: str = "options", **sections: Any) -> Experiment:
        """The same with other values, checked anew: ``changed(seed=3, training={"epochs": 5})``."""
        document = self.to_dict()
        for name, value in sections.items():
            document[name] = {**document.get(name, {}), **value} if isinstance(value, dict) else value
        return Experiment.from_dict(document, f"{self.name} with {where}")

    # -- building -----------------------------------------------------------------------------

    @property
    def decision(self) -> Decision:
        """How an output is read."""
        return self.loss.decision

    def build_task(self) -> Task:
        """The data, generated or read; raises :class:`DataError` where files are missing or malformed."""
        return self.task.build()

    def build_network(self, seed: int | None = None) -> Network:
        """The untrained network; its first weights are drawn from ``seed``, by default the experiment's."""
        return self.network.build(*self.task.shape, self.seed if seed is None else seed)

    def build_loss(self) -> Loss:
        """The loss of training in software."""
        return self.loss.build(len(self.network.hidden))

    def build_finetune_loss(self) -> Loss:
        """The loss of fine-tuning."""
        return (self.finetune.loss or self.loss).build(len(self.network.hidden))

    def fit_options(self) -> dict[str, Any]:
        """Options of :func:`hwloop.fit`."""
        options = self.training.model_dump(exclude_none=True)
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


def builtin() -> tuple[str, ...]:
    """Names of the built-in experiments."""
    files = (resources.files(__package__) / "experiments").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def _read(experiment: str | Path) -> tuple[str, str]:
    if str(experiment) in builtin():
        return (resources.files(__package__) / "experiments" / f"{experiment}.toml").read_text("utf-8"), str(experiment)
    path = Path(experiment)
    if path.suffix != ".toml" and not path.exists():
        raise OptionError(
            f"unknown experiment {str(experiment)!r}; built in: {', '.join(builtin())}; or give a .toml file"
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


#: Parts of an error's location that pydantic adds for the chosen member of a union.
_TAGS = {"yin-yang", "mnist", "first", "count"}


def _explain(where: str, detail: ErrorDetails) -> InputError:
    location = [part for part in detail["loc"] if part not in _TAGS]
    key = ".".join(str(part) for part in location)
    prefix = f"experiment {where}:"
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        return OptionError(f"{prefix} unknown key {key!r}; known here: {', '.join(_known(detail['loc']))}")
    if detail["type"] in ("missing", "union_tag_not_found"):
        tag = str(detail.get("ctx", {}).get("discriminator", "")).strip("'")
        return InputError(f"{prefix} {f'{key}.{tag}' if tag else key} is missing; state it")
    if detail["type"] == "union_tag_invalid":
        found = detail["ctx"]
        tag = str(found["discriminator"]).strip("'")
        return OptionError(f"{prefix} {key}.{tag} = {found['tag']!r}; allowed: {found['expected_tags']}")
    if detail["type"] == "value_error":
        return InputError(f"{prefix} {key}: {message}" if key else f"{prefix} {message}")
    allowed = message.replace("Input should be ", "").replace("String should ", "text that should ")
    return InputError(f"{prefix} {key} = {repr(detail['input'])[:80]}; allowed: {allowed}")


def _known(location: tuple[int | str, ...]) -> list[str]:
    """Keys of the section in which ``location``'s last part was not known."""
    models: dict[str, type[BaseModel]] = {
        "yin-yang": YinYangTask, "mnist": MnistTask, "first": FirstSpikeLoss, "count": SpikeCountLoss,
        "stimulus": StimulusSection, "network": NetworkSection, "training": TrainingSection, "target": TargetSection,
        "finetune": FinetuneSection,
    }  # fmt: skip
    named = [models[str(part)] for part in location[:-1] if part in models]
    return list((named[-1] if named else Experiment).model_fields)
