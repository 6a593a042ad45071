"""A leaky integrate-and-fire population that resets by subtraction, which no stock process of Lava does.

    u[t] = u[t-1] (1 - du) + a_in,  v[t] = v[t-1] (1 - dv) + u[t] + bias
    s[t] = 1 where v[t] > vth, then v[t] -= quantum

With ``signed`` spikes also s[t] = -1 where v[t] <= 0 and the neuron has sent more +1 than -1, then v[t] += quantum: it takes
a spike back. What is driven by signed spikes needs connections with at least one message bit: others count -1 as a spike.

In fixed point current, membrane, their decays and the bias are those of Lava's bit-accurate LIF; the threshold is shifted
by 6 bits as there, the quantum is in units of the membrane. Alone in its folder, and on absolute imports: Lava's search for
models executes every file beside a process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.model.py.ports import PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.lif.models import AbstractPyLifModelFixed, AbstractPyLifModelFloat
from lava.proc.lif.process import LIF


class SoftReset(LIF):
    """The population.

    Parameters
    ----------
    shape : tuple of int
    quantum : float
        What a spike takes off the membrane.
    signed : bool
        Whether spikes are taken back.
    options
        Of :class:`lava.proc.lif.process.LIF`; ``v`` is where membranes start.
    """

    def __init__(self, *, shape: tuple[int, ...], quantum: float, signed: bool = False, **options: Any) -> None:
        super().__init__(shape=shape, quantum=quantum, signed=signed, **options)
        self.quantum = Var(shape=(1,), init=quantum)
        self.net = Var(shape=shape, init=0)


def _spikes(model: Any, threshold: Any) -> Any:
    """Spikes of this tick; counts them."""
    found = (model.v > threshold).astype(model.net.dtype)
    if model.proc_params["signed"]:
        found -= (model.v <= 0) & (model.net > 0)
    model.net += found
    return found


@implements(proc=SoftReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("floating_pt")
class PySoftResetFloat(AbstractPyLifModelFloat):
    """In floating point."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    vth: float = LavaPyType(float, float)
    quantum: float = LavaPyType(float, float)
    net: np.ndarray = LavaPyType(np.ndarray, float)

    def spiking_activation(self) -> Any:
        """+1, 0 or -1 a neuron."""
        return _spikes(self, self.vth)

    def reset_voltage(self, spike_vector: Any) -> None:
        """Take a quantum off for each spike."""
        self.v -= spike_vector * self.quantum


@implements(proc=SoftReset, protocol=LoihiProtocol)
@requires(CPU)
@tag("bit_accurate_loihi", "fixed_pt")
class PySoftResetFixed(AbstractPyLifModelFixed):
    """In fixed point."""

    s_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32, precision=24)
    vth: int = LavaPyType(int, np.int32, precision=17)
    quantum: int = LavaPyType(int, np.int32, precision=24)
    net: np.ndarray = LavaPyType(np.ndarray, np.int32)
    bias_mant: np.ndarray = LavaPyType(np.ndarray, np.int32, precision=24)

    def __init__(self, proc_params: Any) -> None:
        super().__init__(proc_params)
        self.effective_vth = 0

    def scale_threshold(self) -> None:
        """Shift the threshold to the membrane's units, as Lava's LIF does."""
        self.effective_vth = np.left_shift(self.vth, self.vth_shift)
        self.isthrscaled = True

    def spiking_activation(self) -> Any:
        """+1, 0 or -1 a neuron."""
        return _spikes(self, self.effective_vth)

    def reset_voltage(self, spike_vector: Any) -> None:
        """Take a quantum off for each spike."""
        self.v -= spike_vector * self.quantum
