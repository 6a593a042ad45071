"""Sections of an experiment file: what each key means, its bounds, and what is built from it.

Strict models: unknown keys, inf, NaN and values of another type are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from . import losses
from .class_scores import Decision, Pool, decision_of
from .losses import Loss
from .margin_losses import FirstSpikeMargin
from .membrane_losses import MembraneIntegral, MembraneMaximum
from .network import LIF, Dense, Network
from .rules import Augment, ElasticDeformation, RandomAffine
from .simulate import DEFAULT_FLOOR, FloorPolicy

if TYPE_CHECKING:
    from .device.registry import Target

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0, le=100)]
Positive = Annotated[float, Field(gt=0, le=100)]
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


class NetworkSection(Section):
    """Fully connected LIF layers. Every list holds one value for all spiking layers, or one for each of them.

    ``train``: neuron parameters that are trained with the weights, neuron by neuron.
    """

    form: Literal["chain"] = "chain"
    hidden: Annotated[list[Annotated[int, Field(ge=1, le=100_000)]], Field(max_length=20)]
    tau_mem: Annotated[list[Positive], _OneOrPerLayer, Field(min_length=1)]
    tau_syn: Annotated[list[Positive], _OneOrPerLayer, Field(min_length=1)]
    v_th: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] = [1.0]
    v_leak: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] = [0.0]
    v_reset: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] = [0.0]
    t_ref: Annotated[list[Seconds], _OneOrPerLayer, Field(min_length=1)] = [0.0]
    reset: Literal["value", "subtract"] = "value"
    max_spikes: Count | None = None
    init_mean: Annotated[list[_Potential], _OneOrPerLayer, Field(min_length=1)] | None = None
    init_std: Annotated[list[_Weight], _OneOrPerLayer, Field(min_length=1)] | None = None
    train: list[Literal["tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref"]] = []

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
            for name in self.train:
                values[name] = torch.nn.Parameter(torch.full((sizes[k + 1],), values[name]))
            layers += [dense, LIF(sizes[k + 1], **values, reset=self.reset, max_spikes=self.max_spikes)]
        return Network(layers)


_NEURON = ("tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref")


def _of_layer(values: list[float], k: int) -> float:
    return float(values[k] if len(values) > 1 else values[0])


class _Hinges(Section):
    """Weights and margins (membrane units) of the hinges: label outputs that stay silent, hidden neurons that are dead.

    ``neurons``: output neurons of each class.
    """

    label_hinge: _Weight = 0.0
    label_margin: _Weight = 0.0
    dead_hinge: _Weight = 0.0
    dead_margin: _Weight = 0.05

    neurons: Annotated[int, Field(ge=1, le=1000)] = 1

    def _hinged(self, loss: Loss, hidden: int) -> Loss:
        if self.label_hinge:
            loss = loss + self.label_hinge * losses.SilentHinge(
                margin=self.label_margin, only_label=True, neurons=self.neurons
            )
        for layer in range(hidden if self.dead_hinge else 0):
            loss = loss + self.dead_hinge * losses.DeadHinge(layer, self.dead_margin)
        return loss


class FirstSpikeLoss(_Hinges):
    """The earliest output spike decides; ``temperature`` (s) of its cross-entropy.

    With several ``neurons`` a class the earliest mean of their first spikes, or the earliest of all (``pool``). ``lead_hinge`` is
    the weight of a hinge that asks the label for a ``lead`` over the other classes, in units of ``noise`` (s).
    """

    decision: Literal["first"]
    temperature: Positive
    pool: Pool = "mean"
    lead_hinge: _Weight = 0.0
    lead: Positive = 3.0
    noise: Positive | None = None

    @model_validator(mode="after")
    def _lead_of_noise(self) -> Self:
        if self.lead_hinge and self.noise is None:
            raise ValueError(f"lead_hinge = {self.lead_hinge:g} without noise; state noise, the s that lead counts in")
        return self

    @property
    def reads(self) -> Decision:
        """How the output is read."""
        return decision_of("first" if self.neurons == 1 else self.pool, self.neurons)

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        loss: Loss = losses.FirstSpike(self.temperature, self.neurons, self.pool)
        if self.lead_hinge and self.noise is not None:
            loss = loss + self.lead_hinge * FirstSpikeMargin(self.lead, self.noise, self.neurons, self.pool)
        return self._hinged(loss, hidden)


class SpikeCountLoss(_Hinges):
    """The largest spike count decides, summed over ``neurons`` a class; ``wanted`` spikes of each of the label's, ``others`` of the rest."""

    decision: Literal["count"]
    wanted: _Weight = 15.0
    others: _Weight = 3.0

    @property
    def reads(self) -> Decision:
        """How the output is read."""
        return decision_of("count", self.neurons)

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        return self._hinged(losses.SpikeCount(self.wanted, self.others, self.neurons), hidden)


class _MembraneLoss(Section):
    """Losses of an output that does not spike (``li``); ``scale`` (membrane units) of their cross-entropy."""

    scale: Positive = 1.0
    dead_hinge: _Weight = 0.0
    dead_margin: _Weight = 0.05

    def _with_hinges(self, loss: Loss, hidden: int) -> Loss:
        for layer in range(hidden if self.dead_hinge else 0):
            loss = loss + self.dead_hinge * losses.DeadHinge(layer, self.dead_margin)
        return loss


class MaximumLoss(_MembraneLoss):
    """The largest maximum of an output's membrane decides."""

    decision: Literal["maximum"]

    @property
    def reads(self) -> Decision:
        """How the output is read."""
        return self.decision

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        return self._with_hinges(MembraneMaximum(self.scale), hidden)


class IntegralLoss(_MembraneLoss):
    """The largest integral of an output's membrane decides; ``fading``: trained on the one that weighs early spikes more."""

    decision: Literal["integral"]
    fading: bool = False

    @property
    def reads(self) -> Decision:
        """How the output is read."""
        return self.decision

    def build(self, hidden: int) -> Loss:
        """The loss of a network of ``hidden`` hidden layers."""
        return self._with_hinges(MembraneIntegral(self.scale, self.fading), hidden)


LossSection = Annotated[FirstSpikeLoss | SpikeCountLoss | MaximumLoss | IntegralLoss, Field(discriminator="decision")]


class AffineTable(Section):
    """``hwloop.rules.RandomAffine``: pixels, degrees, a share."""

    kind: Literal["affine"]
    shift: Annotated[float, Field(ge=0, le=28)] = 1.5
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def build(self) -> Augment:
        """As :func:`hwloop.fit` takes it."""
        return RandomAffine(self.shift, self.rotation, self.scale)


class ElasticTable(Section):
    """``hwloop.rules.ElasticDeformation`` (pixels)."""

    kind: Literal["elastic"]
    alpha: Annotated[float, Field(ge=0, le=1e4)] = 34.0
    sigma: Annotated[float, Field(gt=0, le=100)] = 4.0

    def build(self) -> Augment:
        """As :func:`hwloop.fit` takes it."""
        return ElasticDeformation(self.alpha, self.sigma)


class TrainingSection(Section):
    """Training in software; without ``clip_norm`` gradients are not clipped."""

    epochs: Count
    batch_size: Count
    lr: _Rate
    lr_decay: _Decay = 1.0
    lr_min: _Share = 0.0
    clip_norm: Positive | None = None
    floor: _Share = DEFAULT_FLOOR
    policy: FloorPolicy = "clip"
    input_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    augment: Annotated[AffineTable | ElasticTable, Field(discriminator="kind")] | None = None

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

    epochs: Count
    batch_size: Count
    lr: _Rate
    lr_decay: _Decay = 1.0
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    validation_repeats: Annotated[int, Field(ge=1, le=1000)] = 2
    floor: _Share = 0.1
    policy: FloorPolicy = "clip"
    clip_norm: Positive = 1.0
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    loss: LossSection | None = None
