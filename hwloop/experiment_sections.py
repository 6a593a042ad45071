"""Sections of an experiment file: what each key means, its bounds, and what is built from it.

Strict models: unknown keys, inf, NaN and values of another type are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from . import datasets, losses
from .datasets import Stimulus, Task
from .losses import Loss
from .membrane_losses import MembraneIntegral, MembraneMaximum
from .network import LIF, Dense, Network
from .simulate import DEFAULT_FLOOR, FloorPolicy

if TYPE_CHECKING:
    from .device.registry import Target

_Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
_Seconds = Annotated[float, Field(ge=0, le=100)]
_Positive = Annotated[float, Field(gt=0, le=100)]
_Potential = Annotated[float, Field(ge=-1000, le=1000)]
_Weight = Annotated[float, Field(ge=0, le=1e6)]
_Rate = Annotated[float, Field(gt=0, le=10)]
_Decay = Annotated[float, Field(gt=0, le=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
Text = Annotated[str, Field(max_length=2000)]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


_OneOrPerLayer = BeforeValidator(_as_list)


class Section(BaseModel):
    """Base of all sections: strict, frozen, without unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class StimulusSection(Section):
    """When values spike: earliest and latest value spike, end of the window, bias spike (s)."""

    t_early: _Seconds
    t_late: _Seconds
    t_stop: _Positive
    bias_time: _Seconds | None = None

    def build(self) -> Stimulus:
        """As the data sets take it."""
        return Stimulus(self.t_early, self.t_late, self.t_stop, self.bias_time)


class YinYangTask(Section):
    """Yin-Yang; ``train``, ``validation`` and ``test`` are sample counts, for generated data only."""

    name: Literal["yin-yang"]
    source: Literal["generated", "published"] = "generated"
    data: Text | None = None
    seed: Seed = 0
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


class MnistTask(Section):
    """MNIST; ``size`` and ``crop`` are sides in pixels, ``train`` and ``test`` keep the first so many samples."""

    name: Literal["mnist"]
    size: Annotated[int, Field(ge=1, le=28)] = 28
    crop: Annotated[int, Field(ge=2, le=28, multiple_of=2)] | None = None
    data: Text | None = None
    seed: Seed = 0
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


class SpokenDigitsTask(Section):
    """Spoken digits; ``held_out`` names a speaker to test with, the other options are those of the filter bank.

    ``smoothing`` and ``area`` are seconds of the recording, ``t_stop`` of the events, ``span`` dB, ``low`` and ``high`` Hz.
    """

    name: Literal["spoken-digits"]
    data: Text | None = None
    held_out: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    channels: Annotated[int, Field(ge=1, le=1000)] = 40
    low: Annotated[float, Field(ge=1, le=1e6)] = 100.0
    high: Annotated[float, Field(ge=1, le=1e6)] = 3800.0
    smoothing: Annotated[float, Field(ge=8e-3, le=1)] = 10e-3
    span: Annotated[float, Field(ge=1, le=120)] = 40.0
    area: Annotated[float, Field(ge=1e-3, le=10)] = 20e-3
    speedup: Annotated[float, Field(ge=1e-3, le=1e6)] = 10.0
    t_stop: _Positive = 0.3

    @property
    def shape(self) -> tuple[int, int]:
        """Input units and classes."""
        return self.channels, 10

    def build(self) -> Task:
        """Read and encode the data."""
        how = self.model_dump(exclude={"name", "data", "held_out", "t_stop"})
        encoder = datasets.FilterBank(**how)
        return datasets.spoken_digits(self.data, held_out=self.held_out, encoder=encoder, t_stop=self.t_stop)


class NetworkSection(Section):
    """Fully connected LIF layers. Every list holds one value for all spiking layers, or one for each of them."""

    form: Literal["chain"] = "chain"
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

    def hidden_populations(self, n_in: int, n_out: int) -> int:
        """Spiking populations before the output."""
        return len(self.hidden)

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
            values: dict[str, Any] = {name: _of_layer(getattr(self, name), k) for name in _NEURON}
            layers += [dense, LIF(sizes[k + 1], **values, reset=self.reset, max_spikes=self.max_spikes)]
        return Network(layers)


_NEURON = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref")


def _of_layer(values: list[float], k: int) -> float:
    return float(values[k] if len(values) > 1 else values[0])


class _Hinges(Section):
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


class _MembraneLoss(Section):
    """Losses of an output that does not spike (``li``); ``scale`` (membrane units) of their cross-entropy."""

    scale: _Positive = 1.0
    dead_hinge: _Weight = 0.0
    dead_margin: _Weight = 0.05

    def _with_hinges(self, loss: Loss, hidden: int) -> Loss:
        for layer in range(hidden if self.dead_hinge else 0):
            loss = loss + self.dead_hinge * losses.DeadHinge(layer, self.dead_margin)
        return loss


class MaximumLoss(_MembraneLoss):
    """The largest maximum of an output's membrane decides."""

    decision: Literal["maximum"]

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        return self._with_hinges(MembraneMaximum(self.scale), hidden)


class IntegralLoss(_MembraneLoss):
    """The largest integral of an output's membrane decides; ``fading``: trained on the one that weighs early spikes more."""

    decision: Literal["integral"]
    fading: bool = False

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        return self._with_hinges(MembraneIntegral(self.scale, self.fading), hidden)


LossSection = Annotated[FirstSpikeLoss | SpikeCountLoss | MaximumLoss | IntegralLoss, Field(discriminator="decision")]


class TrainingSection(Section):
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
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _falling(self) -> Self:
        if self.lr_min > self.lr:
            raise ValueError(f"lr_min = {self.lr_min:g}, lr = {self.lr:g}; allowed: lr_min <= lr")
        return self


class TargetSection(Section):
    """Where it is deployed; ``dt`` (s) for targets that run in steps. Options that are not stated are the backend's own."""

    name: Text = "emulator:0"
    preset: Text | None = None
    spread: Annotated[float, Field(ge=0, le=1)] | None = None
    mismatch: bool | None = None
    trial_noise: bool | None = None
    dt: Annotated[float, Field(gt=0, le=10)] | None = None
    weight_scale: Annotated[str, Field(pattern=r"^(auto|max|quantile:(0?\.\d+|1|1\.0*))$")] = "auto"
    mask: list[Annotated[int, Field(ge=0, le=10_000_000)]] = []

    def options(self) -> dict[str, Any]:
        """What :func:`hwloop.open` takes besides the name."""
        names = ("preset", "spread", "mismatch", "trial_noise", "dt")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def find(self) -> Target:
        """The target itself; raises as :func:`hwloop.device.registry.find`."""
        from .device.registry import find

        return find(self.name, **self.options())


class FinetuneSection(Section):
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
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    loss: LossSection | None = None
