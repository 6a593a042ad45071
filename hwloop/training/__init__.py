"""Training: in simulation (:func:`fit`), for a chip's noise (:func:`harden`), and in the loop (:mod:`hwloop.training.loop`).

The loop stands above what this package exports: it deploys, and deployment measures with :class:`Evaluation`.
"""

from .epoch_logs import CsvLog as CsvLog
from .epoch_logs import TensorBoardLog as TensorBoardLog
from .epochs import Epoch as Epoch
from .epochs import OnEpoch as OnEpoch
from .evaluate import EVALUATION_BATCH as EVALUATION_BATCH
from .evaluate import Evaluation as Evaluation
from .evaluate import Runner as Runner
from .evaluate import Samples as Samples
from .evaluate import evaluate as evaluate
from .fit import FitResult as FitResult
from .fit import fit as fit
from .harden import HardenResult as HardenResult
from .harden import NoisyRunner as NoisyRunner
from .harden import harden as harden
from .noise import NoiseModel as NoiseModel
from .noise import NoisyForward as NoisyForward
from .options import Model as Model
from .options import OptimizerFactory as OptimizerFactory
from .step import Forward as Forward
from .step import set_lr as set_lr
from .step import simulate_forward as simulate_forward
from .step import train_epoch as train_epoch
from .weights import Best as Best
