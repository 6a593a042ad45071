"""The parts of lava-nc 0.10 that the worker uses, by one name each; :mod:`.compatible` comes first.

Importing Lava sets the multiprocessing start method of the process: one of the reasons for a process of its own.
"""

from __future__ import annotations

from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.dense.models import (
    PyDelayDenseModelBitAcc,
    PyDelayDenseModelFloat,
    PyDenseModelBitAcc,
    PyDenseModelFloat,
)
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.sink import PyReceiveModelFixed, PyReceiveModelFloat
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import PySendModelFixed, PySendModelFloat
from lava.proc.io.source import RingBuffer as Source
from lava.proc.lif.models import (
    PyLifModelBitAcc,
    PyLifModelFloat,
    PyLifRefractoryModelFloat,
    PyLifResetModelBitAcc,
    PyLifResetModelFloat,
)
from lava.proc.lif.process import LIF, LIFRefractory, LIFReset
from lava.proc.sparse.models import (
    PyDelaySparseModelBitAcc,
    PyDelaySparseModelFloat,
    PySparseModelBitAcc,
    PySparseModelFloat,
)
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import SignMode, determine_sign_mode

__all__ = [
    "LIF",
    "AbstractProcess",
    "DelayDense",
    "DelaySparse",
    "Dense",
    "LIFRefractory",
    "LIFReset",
    "Loihi2SimCfg",
    "PyDelayDenseModelBitAcc",
    "PyDelayDenseModelFloat",
    "PyDelaySparseModelBitAcc",
    "PyDelaySparseModelFloat",
    "PyDenseModelBitAcc",
    "PyDenseModelFloat",
    "PyLifModelBitAcc",
    "PyLifModelFloat",
    "PyLifRefractoryModelFloat",
    "PyLifResetModelBitAcc",
    "PyLifResetModelFloat",
    "PyReceiveModelFixed",
    "PyReceiveModelFloat",
    "PySendModelFixed",
    "PySendModelFloat",
    "PySparseModelBitAcc",
    "PySparseModelFloat",
    "RunSteps",
    "SignMode",
    "Sink",
    "Source",
    "Sparse",
    "determine_sign_mode",
]
