"""LIF: a population of current-based leaky integrate-and-fire neurons.

tau_mem u' = -(u - v_leak) + i        u crosses v_th from below -> spike, u <- reset, held during t_ref
tau_syn i' = -i                       an input spike of weight w -> i += w
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from torch import Tensor

from ..arguments import shown, whole
from ..errors import InputError
from ..neurons import PARAMETERS, ParameterValue, check_parameters, check_reset
from .dense import HALF_A_LAYER
from .populations import SpikingPopulation, check_values

#: How a layer is written, for messages: the number of neurons first, then time constants in seconds.
EXAMPLE = "LIF(4, 10e-3, 5e-3), that is LIF(n, tau_mem, tau_syn)"


class LIF(SpikingPopulation):
    """``n`` spiking neurons; every parameter is one number, or one value for each neuron.

    Parameters
    ----------
    n : int, or the shape ``(channels, height, width)`` of maps
    tau_mem, tau_syn : (s), > 0; any ratio
    v_th, v_leak, v_reset : membrane units; ``v_th > v_reset``. ``v_leak > v_th`` is legal (spikes without input).
    t_ref : (s), >= 0
        The membrane is held at its reset potential for this long after a spike; the current goes on.
    reset : "value" (u <- v_reset) or "subtract" (u <- u - (v_th - v_reset))
        In continuous time the two coincide; they differ when measured spikes are replayed and on discrete targets.
    max_spikes : int, optional
        Model cap on the spikes of a neuron in one sample (1: first spike only); None means no cap.
    v_init : membrane units, optional
        Membrane at time 0; default ``v_leak``, or ``v_reset`` where ``v_leak >= v_th``.
    filtered_bias : bool
        Whether a bias of the weights before it passes the synapse, as an input current that sets in at time 0 does
        (snnTorch, Norse); else it is a constant current from the first moment.

    Raises
    ------
    InputError
        A parameter outside its range, with the neuron's number.
    """

    tau_mem: Tensor
    tau_syn: Tensor
    mismatch: Tensor | None

    def __init__(
        self,
        n: int | tuple[int, ...],
        tau_mem: ParameterValue | None = None,
        tau_syn: ParameterValue | None = None,
        v_th: ParameterValue = 1.0,
        v_leak: ParameterValue = 0.0,
        v_reset: ParameterValue = 0.0,
        t_ref: ParameterValue = 0.0,
        reset: str = "value",
        max_spikes: int | None = None,
        *,
        v_init: ParameterValue | None = None,
        filtered_bias: bool = False,
    ) -> None:
        super().__init__()
        self.place(n if isinstance(n, (tuple, list)) else _size(n, tau_mem, tau_syn), "LIF")
        self.max_spikes = None if max_spikes is None else whole("LIF: max_spikes (None: no cap)", max_spikes)
        self.reset = check_reset(reset)
        values = dict(zip(PARAMETERS, (tau_mem, tau_syn, v_th, v_leak, v_reset, t_ref), strict=True))
        for name, value in values.items():
            if value is None:
                raise InputError(f"LIF: {name} is missing; allowed: a number, or one per neuron. Write {EXAMPLE}")
        self.register_buffer("mismatch", None, persistent=False)
        self.filtered_bias = bool(filtered_bias)
        self.hold("LIF", {**values, "v_init": v_init})
        self.check("LIF")

    def parameters_dict(self) -> dict[str, Tensor]:
        """The six neuron parameters by name, each ``[n]``."""
        held = self._buffers  # an attribute of a module takes ten times as long
        return {name: getattr(self, name) if held.get(name) is None else held[name] for name in PARAMETERS}  # type: ignore[misc]

    def acting_parameters(self) -> dict[str, Tensor]:
        """The parameters that the neurons act with: those above, or in a device twin what the device makes of them.

        ``mismatch [2, 6, n]``, rows as :data:`~hwloop.neurons.PARAMETERS`: times ``mismatch[0]``, plus ``mismatch[1]`` (s; of
        potentials in units of the asked ``v_th - v_reset``).
        """
        asked = self.parameters_dict()
        if self._buffers.get("mismatch", self) is None:
            return asked
        swing = asked["v_th"] - asked["v_reset"]
        scale, shift = (part.to(swing.dtype) for part in self.mismatch)  # type: ignore[union-attr]  # not None, or it would be that buffer
        return {
            name: asked[name] * scale[k] + (shift[k] * swing if name.startswith("v_") else shift[k])
            for k, name in enumerate(PARAMETERS)
        }

    def check(self, where: str) -> None:
        """Refuse parameters that left their bounds (training may move them)."""
        check_parameters(self.parameters_dict(), where)
        if self.v_init is not None:
            check_values(where, "v_init", self.v_init)

    def forward(self, *_: Any) -> NoReturn:
        """No step of its own; raises :class:`InputError` that says what runs it."""
        raise InputError(f"LIF: {HALF_A_LAYER}")

    def extra_repr(self) -> str:
        def text(name: str) -> str:
            value = getattr(self, name).detach()
            low, high = value.min().item(), value.max().item()
            return f"{name}={low:g}" if low == high else f"{name}={low:g}..{high:g}"

        cap = "" if self.max_spikes is None else f", max_spikes={self.max_spikes}"
        return (
            f"{self.n if len(self.shape) == 1 else self.shape}, "
            + ", ".join(map(text, PARAMETERS))
            + f", reset={self.reset!r}{cap}"
        )


def _size(n: Any, tau_mem: Any, tau_syn: Any) -> int:
    """``n`` neurons; told apart from a time constant in its place."""
    if isinstance(n, (float, np.floating)) and n < 1 and tau_syn is None:
        given = f"LIF({n:g}{'' if tau_mem is None else f', {shown(tau_mem)}'})"
        raise InputError(f"LIF: n = {n:g} is no number of neurons, which comes first; {given} should read {EXAMPLE}")
    return whole("LIF: n", n)
