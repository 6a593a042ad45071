"""A chip's noise and mismatch inside training: what a network is to survive, it is trained with.

:class:`NoisyForward` is a ``forward`` of :func:`hwloop.training.fit` and :func:`~hwloop.training.train_epoch`: it
simulates the network as a chip of known magnitudes would run it, with draws of its own in every call, and stays
differentiable in the weights. Of a device twin it takes what is known of one chip, and adds what is not. Rounded weights pass their gradient straight through (Hubara et al., JMLR 18, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError, OptionError
from ..mapping import Program
from ..network import Dense, Network
from ..network.linear_map import Array
from ..neurons import PARAMETERS
from ..record import Record
from ..simulate import DEFAULT_FLOOR, FloorPolicy, Options, layer_call
from ..spikes import Spikes

__all__ = ["SPREADS", "NoiseModel", "NoisyForward"]

#: Deviations over neurons that ``NoiseModel.spread`` can hold: log-normal (relative), or a share of the swing (``v_``);
#: ``synapse`` is relative and differs between the synapses of a neuron.
SPREADS = ("tau_mem", "tau_syn", "t_ref", "gain", "v_th", "v_leak", "v_reset", "synapse")
#: Least threshold above reset, of the asked swing, whatever is drawn.
LEAST_SWING = 0.05


@dataclass(frozen=True)
class NoiseModel:
    """Magnitudes of a chip type, in model seconds and shares; zero is off.

    Attributes
    ----------
    threshold : float (swing ``v_th - v_reset``)
        Normal, drawn for every neuron and sample.
    jitter : float (s)
        Normal, on every spike; travels on to the next layer. Within a loop it is drawn for every neuron in every call: all its
        spikes reach the loop that much later or earlier, though not before they were sent.
    time_step : float (s)
        Recorded stamps are multiples of it, rounded to the nearest (down, with the mean offset subtracted).
    event_loss : float
        Probability that a recorded output event is missing.
    dead : float
        Probability that a neuron of a hidden layer never fires, drawn for every call.
    spread : dict
        Deviations of :data:`SPREADS` over neurons and synapses, drawn for every call: each batch runs on another chip.
    """

    threshold: float = 0.0
    jitter: float = 0.0
    time_step: float = 0.0
    event_loss: float = 0.0
    dead: float = 0.0
    spread: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("threshold", "jitter", "time_step"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} = {getattr(self, name)}; allowed: finite and >= 0")
        for name in ("event_loss", "dead"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}; allowed: a probability, 0 <= {name} < 1")
        for name, value in self.spread.items():
            if name not in SPREADS:
                raise OptionError(f"spread of {name!r}; known: {', '.join(SPREADS)}")
            if not 0 <= value <= 1:
                raise InputError(f"spread of {name} = {value}; allowed: 0..1 (.1 is 10 %)")


class NoisyForward:
    """``forward(net, inputs) -> Record`` on a chip of magnitudes ``noise``, new draws in every call.

    Parameters
    ----------
    noise : NoiseModel
    program : Program, optional
        Its scales and code ranges round the weights; without one they stay real.
    seed : int
        Of all draws.
    floor, policy : see :meth:`hwloop.network.Network.forward`
    """

    def __init__(
        self,
        noise: NoiseModel,
        *,
        program: Program | None = None,
        seed: int = 0,
        floor: float = DEFAULT_FLOOR,
        policy: FloorPolicy = "clip",
    ) -> None:
        self.noise, self.program = noise, program
        self.floor: float = floor
        self.policy: FloorPolicy = policy
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, net: Network, inputs: Spikes) -> Record:
        """Spikes of all layers as they would be recorded, differentiable in the weights of ``net``."""
        if not net.is_plain_chain:
            return net.imagined(inputs, _OfGraph(self, net), floor=self.floor, policy=self.policy)
        recorded, current, last = [], inputs, len(net.blocks) - 1
        for k, (dense, lif) in enumerate(net.blocks):
            parameters = self._parameters(lif.acting_parameters(), len(inputs))
            weight = self._weight(k, dense, k < last)
            options = Options(lif.reset, lif.max_spikes, self.floor, self.policy)
            current, _ = layer_call(
                dense.transmit(current), weight, parameters, options, None, f"layer {2 * k + 1} (LIF)"
            )
            current = self._jittered(current)
            recorded.append(self._stamped(current))
        return Record(tuple(recorded), inputs)

    # -- the chip -----------------------------------------------------------------------------

    def _weight(self, layer: int, dense: Dense, hidden: bool) -> Tensor:
        """Weights as the chip transmits them: rounded to codes, then what the twin knows of it, then what is drawn."""
        weight: Tensor = dense.weight
        if self.program is not None:
            held = self.program.layers[layer]
            if held.max_code is not None:
                lsb = torch.as_tensor(held.lsb(), dtype=weight.dtype)
                codes = torch.clamp(torch.round(weight.detach() / lsb), -held.max_code, held.max_code)
                weight = weight + (codes * lsb - weight.detach())
        weight = dense.transmitted(weight)
        rows = (weight.shape[0], 1)
        if (scale := self.noise.spread.get("gain", 0.0)) > 0:
            weight = weight * torch.exp(scale * self._normal(rows, weight))
        if (scale := self.noise.spread.get("synapse", 0.0)) > 0:
            weight = weight * torch.clamp(1 + scale * self._normal(tuple(weight.shape), weight), min=0.0)
        if hidden and self.noise.dead > 0:
            alive = torch.rand(rows, generator=self.generator, dtype=torch.float64) >= self.noise.dead
            weight = weight * alive.to(weight.dtype)
        return weight

    def _parameters(self, asked: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
        """This call's parameters ``[n]``; thresholds ``[batch, n]`` where they are noisy."""
        swing = (asked["v_th"] - asked["v_reset"]).detach()
        found = dict(asked)
        for name in PARAMETERS:
            scale = self.noise.spread.get(name, 0.0)
            if scale > 0:
                z = scale * self._normal(tuple(swing.shape), swing)
                found[name] = found[name] + swing * z if name.startswith("v_") else found[name] * torch.exp(z)
        if self.noise.threshold > 0:
            shape = (samples, len(swing))
            found["v_th"] = found["v_th"] + self.noise.threshold * swing * self._normal(shape, swing)
        found["v_th"] = torch.maximum(found["v_th"], found["v_reset"] + LEAST_SWING * swing)
        return found

    def _normal(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=like.dtype)

    # -- events -------------------------------------------------------------------------------

    def _jittered(self, spikes: Spikes) -> Spikes:
        """Every spike moved by the jitter, kept inside the window, in order again; gradients follow their spikes."""
        if self.noise.jitter == 0:
            return spikes
        moved = spikes.times + self.noise.jitter * self._normal(tuple(spikes.times.shape), spikes.times)
        moved = torch.where(spikes.valid, torch.clamp(moved, 0.0, spikes.t_stop), math.inf)
        order = torch.argsort(moved.detach(), dim=1, stable=True)
        return Spikes.trusted(
            torch.gather(moved, 1, order), torch.gather(spikes.units, 1, order), spikes.counts, spikes.n_units,
            spikes.t_stop,
        )  # fmt: skip

    def _stamped(self, spikes: Spikes) -> Spikes:
        """What is recorded: some events lost, times on the grid of the stamps (straight through)."""
        if self.noise.event_loss > 0:
            spikes = self._lossy(spikes)
        if (step := self.noise.time_step) > 0:
            times = spikes.times.detach()
            on_grid = torch.clamp((torch.floor(times / step) + 0.5) * step, max=spikes.t_stop)
            shifted = torch.where(spikes.valid, spikes.times + (on_grid - times), math.inf)
            spikes = Spikes.trusted(shifted, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)
        return spikes

    def _lossy(self, spikes: Spikes) -> Spikes:
        draw = torch.rand(tuple(spikes.times.shape), generator=self.generator, dtype=torch.float64)
        lost = (draw < self.noise.event_loss) & spikes.valid
        if not bool(lost.any()):
            return spikes
        times = torch.where(lost, math.inf, spikes.times)
        order = torch.argsort(times.detach(), dim=1, stable=True)
        times, counts = torch.gather(times, 1, order), spikes.counts - lost.sum(1)
        width = int(counts.max())
        units = torch.where(torch.isfinite(times), torch.gather(spikes.units, 1, order), 0)
        return Spikes.trusted(
            times[:, :width].contiguous(), units[:, :width].contiguous(), counts, spikes.n_units, spikes.t_stop
        )


class _OfGraph:
    """What :class:`NoisyForward` does to a graph, one call of it; see :class:`hwloop.network.joined.Medium`."""

    def __init__(self, chip: NoisyForward, net: Network) -> None:
        self._twin, self._net = chip, net

    def weight(self, names: Sequence[str], weight: Tensor, target: Array, real: Array) -> Tensor:
        """Rounded to codes, then what is drawn for neurons and synapses; a twin's own factors are in ``weight`` already."""
        chip, spread = self._twin, self._twin.noise.spread
        onto, synapse = torch.from_numpy(target), torch.from_numpy(real)
        acting = self._rounded(names, weight, onto, synapse)
        size = sum(self._net.structure.nodes[name].n for name in names)
        if (scale := spread.get("gain", 0.0)) > 0:
            acting = acting * torch.exp(scale * chip._normal((size,), weight))[onto]
        if (scale := spread.get("synapse", 0.0)) > 0:
            acting = acting * torch.clamp(1 + scale * chip._normal(tuple(weight.shape), weight), min=0.0)
        if chip.noise.dead > 0:
            drawn = torch.rand(size, generator=chip.generator, dtype=torch.float64) >= chip.noise.dead
            hidden = [name != self._net.structure.output for name in names]
            sizes = torch.tensor([self._net.structure.nodes[name].n for name in names])
            spared = ~torch.repeat_interleave(torch.tensor(hidden), sizes)
            acting = acting * (drawn | spared).to(weight.dtype)[onto]
        return torch.where(synapse, acting, weight)

    def _rounded(self, names: Sequence[str], weight: Tensor, onto: Tensor, synapse: Tensor) -> Tensor:
        """Weights on the codes of the program, straight through."""
        program, order = self._twin.program, self._net.structure.populations
        if program is None:
            return weight
        layers = [program.layers[order.index(name)] for name in names]
        if any(layer.max_code is None for layer in layers):
            return weight
        steps = [torch.as_tensor(layer.lsb(), dtype=weight.dtype).reshape(-1).expand(layer.n_out) for layer in layers]
        most = torch.cat(
            [torch.full((layer.n_out,), float(layer.max_code or 0), dtype=weight.dtype) for layer in layers]
        )
        lsb, limit = torch.cat(steps)[onto], most[onto]
        codes = torch.minimum(torch.maximum(torch.round(weight.detach() / lsb), -limit), limit)
        return torch.where(synapse, weight + (codes * lsb - weight.detach()), weight)

    def parameters(self, values: dict[str, Tensor], samples: int) -> dict[str, Tensor]:
        """This call's parameters; what only a graph has stays as it is."""
        return self._twin._parameters(values, samples)

    def delay(self, names: Sequence[str], delay: Tensor, source: Array) -> Tensor:
        """Within a loop: with the jitter of each neuron in this call, never below 0; gradients pass straight through."""
        chip, inside = self._twin, torch.from_numpy(source)
        if chip.noise.jitter == 0 or not bool((inside >= 0).any()):
            return delay
        size = sum(self._net.structure.nodes[name].n for name in names)
        late = chip.noise.jitter * chip._normal((size,), delay)[inside.clamp(min=0)]
        held = delay.detach()
        moved = torch.where(inside >= 0, torch.clamp(held + late, min=0.0), held)
        return delay + (moved - held)

    def sent(self, spikes: Spikes) -> Spikes:
        """With jitter, each spike with its own, of what leaves the populations; :meth:`delay` has that within a loop."""
        return self._twin._jittered(spikes)

    def recorded(self, spikes: Spikes) -> Spikes:
        """Stamped, some lost."""
        return self._twin._stamped(spikes)
