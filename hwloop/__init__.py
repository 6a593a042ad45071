"""hwloop: train spiking networks with exact event-based gradients and bring them to neuromorphic hardware."""

from .errors import CheckpointError as CheckpointError
from .errors import CompileError as CompileError
from .errors import DataError as DataError
from .errors import GradientError as GradientError
from .errors import HwloopError as HwloopError
from .errors import InputError as InputError
from .errors import OptionError as OptionError
from .errors import TargetError as TargetError
from .network import LIF as LIF
from .network import Dense as Dense
from .network import Network as Network
from .record import Record as Record
from .record import Recording as Recording
from .spikes import Spikes as Spikes

__version__ = "0.1.0"
