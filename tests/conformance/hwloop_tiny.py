"""A third-party backend in one file: a digital chip with 4-bit weights that computes as the simulator does.

Its whole registration is one line of packaging metadata: ``[hwloop.backends] tiny = hwloop_tiny:TinyTarget``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from hwloop import simulate
from hwloop.device.abilities import Promises
from hwloop.device.registry import DeviceBase, Measured, repeat
from hwloop.mapping import Capabilities, Program, ScaleRule, compile_network
from hwloop.network import Network
from hwloop.neurons import check_reset
from hwloop.spikes import Spikes


class TinyTarget:
    """The tiny chip; ``address`` is not used."""

    def __init__(self, address: str, *, weight_bits: int = 4) -> None:
        self.name = f"tiny:{address}"
        self.capabilities = Capabilities(name="tiny", n_neurons=32, fan_in=16, weight_bits=weight_bits, max_events=50)
        self.promises = Promises(deterministic=True, time_error=0.0)

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:
        """``net`` for the tiny chip."""
        return compile_network(net, self.capabilities, weight_scale=weight_scale, mask=mask, like=like)

    def open(self) -> TinyDevice:
        """The tiny chip, opened."""
        return TinyDevice(self)


class TinyDevice(DeviceBase):
    """An opened tiny chip."""

    def __init__(self, target: TinyTarget) -> None:
        super().__init__(target, target.name, "tiny 1", "emulator")

    def _write(self, program: Program) -> int:
        layers = program.layers
        if self.program is None or [x.codes.shape for x in self.program.layers] != [x.codes.shape for x in layers]:
            return sum(layer.codes.size for layer in layers)
        pairs = zip(self.program.layers, layers, strict=True)
        return sum(int(np.count_nonzero(old.codes != new.codes)) for old, new in pairs)

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        current, populations = repeat(spikes, repeats), []
        for layer in program.layers:
            parameters = {name: torch.from_numpy(value) for name, value in layer.parameters.items()}
            current = simulate.run(
                current, torch.from_numpy(layer.weight()), parameters, reset=check_reset(layer.reset)
            )
            populations.append(current)
        return Measured(tuple(populations))
