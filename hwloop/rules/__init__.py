"""Training rules behind one interface: exact event gradients, HM2-BP, NA, SpikeGrad, SPIDE.

A rule is the forward semantics that it needs, and how it turns a record of a run into parameter gradients
(:mod:`hwloop.rules.base`). Rules in continuous time train a :class:`hwloop.network.Network`; rules in steps a
:class:`StepNetwork` (:mod:`hwloop.rules.steps.network`) on :class:`Values` (:mod:`hwloop.rules.steps.input_values`), with
losses on its readout (:mod:`hwloop.rules.steps.readout_losses`).

    task = rules.mnist_values()
    net = rules.StepNetwork([hl.Dense(784, 400), NEURONS, hl.Dense(400, 10), NEURONS], in_shape=784, steps=5)
    hl.fit(net, task, rules.ReadoutError(), rule="na", batch_size=100, lr=5e-4)
    hl.evaluate(net, task.test)
"""

from ..network import Conv2d as Conv2d
from .base import Needs as Needs
from .base import Rule as Rule
from .base import find as find
from .base import names as names
from .base import register as register
from .exact import Exact as Exact
from .hm2bp.rule import HM2BP as HM2BP
from .hm2bp.rule import LeakyNeurons as LeakyNeurons
from .hm2bp.rule import WeightDecay as WeightDecay
from .na.rule import NA as NA
from .na.rule import TracedNeurons as TracedNeurons
from .spide.rule import RateNeurons as RateNeurons
from .spide.rule import Spide as Spide
from .spikegrad.rule import SignedNeurons as SignedNeurons
from .spikegrad.rule import SpikeGrad as SpikeGrad
from .steps.augment import Augment as Augment
from .steps.augment import ElasticDeformation as ElasticDeformation
from .steps.augment import RandomAffine as RandomAffine
from .steps.deployment import agreement as agreement
from .steps.deployment import open_network as open_network
from .steps.input_values import Values as Values
from .steps.input_values import ValueSet as ValueSet
from .steps.input_values import ValueTask as ValueTask
from .steps.input_values import mnist_values as mnist_values
from .steps.network import StepNetwork as StepNetwork
from .steps.readout_losses import ReadoutCrossEntropy as ReadoutCrossEntropy
from .steps.readout_losses import ReadoutError as ReadoutError
from .steps.readout_losses import TraceError as TraceError
from .steps.stages import AvgPool as AvgPool
from .steps.stages import Stage as Stage
from .steps.step_neurons import Neurons as Neurons
from .steps.step_record import StepRecord as StepRecord

__all__ = [
    "HM2BP",
    "LeakyNeurons",
    "NA",
    "TraceError",
    "TracedNeurons",
    "WeightDecay",
    "Augment",
    "AvgPool",
    "Conv2d",
    "ElasticDeformation",
    "Exact",
    "Needs",
    "Neurons",
    "RandomAffine",
    "RateNeurons",
    "ReadoutCrossEntropy",
    "ReadoutError",
    "Rule",
    "SignedNeurons",
    "Spide",
    "SpikeGrad",
    "Stage",
    "StepNetwork",
    "StepRecord",
    "ValueSet",
    "ValueTask",
    "Values",
    "agreement",
    "find",
    "mnist_values",
    "names",
    "open_network",
    "register",
]
