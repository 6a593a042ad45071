"""Training rules behind one interface: exact event gradients, HM2-BP, NA, SpikeGrad, SPIDE.

A rule is the forward semantics that it needs, and how it turns a record of a run into parameter gradients
(:mod:`hwloop.rules.base`). Rules in continuous time train a :class:`hwloop.network.Network`; rules in steps a
:class:`StepNetwork` (:mod:`hwloop.rules.network`) on :class:`Values` (:mod:`hwloop.rules.values`), with
losses on its readout (:mod:`hwloop.rules.losses`).

    task = rules.mnist_values()
    net = rules.StepNetwork([hl.Dense(784, 400), NEURONS, hl.Dense(400, 10), NEURONS], in_shape=784, steps=5)
    hl.fit(net, task, rules.ReadoutError(), rule="na", batch_size=100, lr=5e-4)
    hl.evaluate(net, task.test)
"""

from .augment import Augment as Augment
from .augment import RandomAffine as RandomAffine
from .base import Needs as Needs
from .base import Rule as Rule
from .base import find as find
from .base import names as names
from .base import register as register
from .deployment import agreement as agreement
from .deployment import open_network as open_network
from .exact import Exact as Exact
from .hm2bp import HM2BP as HM2BP
from .hm2bp import LeakyNeurons as LeakyNeurons
from .hm2bp import WeightDecay as WeightDecay
from .losses import ReadoutCrossEntropy as ReadoutCrossEntropy
from .losses import ReadoutError as ReadoutError
from .losses import TraceError as TraceError
from .na import NA as NA
from .na import TracedNeurons as TracedNeurons
from .network import StepNetwork as StepNetwork
from .neurons import Neurons as Neurons
from .record import StepRecord as StepRecord
from .spide import RateNeurons as RateNeurons
from .spide import Spide as Spide
from .spikegrad import SignedNeurons as SignedNeurons
from .spikegrad import SpikeGrad as SpikeGrad
from .stages import AvgPool as AvgPool
from .stages import Conv2d as Conv2d
from .stages import Stage as Stage
from .values import Values as Values
from .values import ValueSet as ValueSet
from .values import ValueTask as ValueTask
from .values import mnist_values as mnist_values

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
