"""Training: in simulation (:func:`fit`), for a chip's noise (:func:`harden`), and in the loop (:mod:`hwloop.training.loop`).

The loop stands above what this package exports: it deploys, and deployment measures with :class:`Evaluation`.
"""

from .fit import EVALUATION_BATCH as EVALUATION_BATCH
from .fit import Best as Best
from .fit import Epoch as Epoch
from .fit import Evaluation as Evaluation
from .fit import FitResult as FitResult
from .fit import Forward as Forward
from .fit import Model as Model
from .fit import OnEpoch as OnEpoch
from .fit import OptimizerFactory as OptimizerFactory
from .fit import Runner as Runner
from .fit import Samples as Samples
from .fit import evaluate as evaluate
from .fit import fit as fit
from .fit import set_lr as set_lr
from .fit import simulate_forward as simulate_forward
from .fit import train_epoch as train_epoch
from .harden import HardenResult as HardenResult
from .harden import NoisyRunner as NoisyRunner
from .harden import harden as harden
from .noise import NoiseModel as NoiseModel
from .noise import NoisyForward as NoisyForward
