"""``loihi`` as a target, and the device it opens: the emulator, never anything else under this name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hwloop.device.abilities import Promises
from hwloop.device.registry import DeviceBase, Measured, repeat
from hwloop.errors import InputError, TargetError
from hwloop.losses import Decision
from hwloop.mapping import Capabilities, Program, ScaleRule, rounded_up
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_fixed_point.graph import FixedGraph, FloatGraph
from hwloop_fixed_point.registers import Array
from hwloop_fixed_point.runs import Emulator
from hwloop_fixed_point.ticks import decode_late, encode

from .compiler import compile_loihi
from .limits import capabilities
from .program import LoihiProgram
from .remedy import LARGEST_DT, SMALLEST_DT, Headroom
from .wrap import check_wraps

if TYPE_CHECKING:
    from hwloop.rules import StepNetwork
    from hwloop.rules.steps.deployment import SpikeKind, StepDevice

    from .sweep import StepChoice

#: Version of the emulated arithmetic; recordings name it.
FIRMWARE = "hwloop_loihi 1 (lava-nc 0.10.0 fixed_pt)"
#: Step (s) where none is named: tau_syn / 50 of this project's experiments.
DEFAULT_DT = 1e-4
#: Largest distance of a first spike under strong drive from the model's (ticks): input and threshold crossing are each rounded by
#: half a tick at most, and decays, weights and thresholds of few bits take their share.
TICKS_OFF = 1.5
#: Most ticks a sample.
MAX_TICKS = 10_000_000


class LoihiTarget:
    """Loihi-style fixed-point neurons at steps of ``dt``; the entry point of ``loihi``.

    Parameters
    ----------
    address : must be empty; there is one kind
    dt : one tick (model s); :func:`hwloop_loihi.choose_dt` measures which one suits a network
    headroom : how many worst volleys (all inputs of a neuron spike in one tick) a current has room for, one number or one a
        layer; by default 4, as far as that costs no resolution of the weights. More is needed where a current goes beyond
        its 24 bits: the error names how much

    Raises
    ------
    TargetError
        An address is given.
    InputError
        ``dt`` is not a step, or ``headroom`` not a number >= 1.
    """

    def __init__(self, address: str = "", *, dt: float = DEFAULT_DT, headroom: Headroom = None) -> None:
        if address:
            raise TargetError(f"loihi:{address} does not exist; allowed: loihi, with the option dt (s)")
        self.dt = _step(dt)
        self.headroom = _headroom(headroom)
        self.name = "loihi"
        self.capabilities: Capabilities = capabilities(self.dt)
        self.promises = Promises(deterministic=True, time_error=TICKS_OFF * self.dt)

    def describe(self) -> list[tuple[str, str, str]]:
        """What the arithmetic does to a network, one ``(name, value, source)`` each."""
        lava = "lava-nc 0.10.0, models of Dense and LIF tagged fixed_pt"
        return [
            ("time step", f"{self.dt:g} s", "option dt"),
            ("weights", "8 bit, even -254..254, one exponent a layer", lava),
            ("threshold", "17 bit, one a layer", lava),
            ("decays", "12 bit, one tau_syn and tau_mem a layer", lava),
            ("state", "24 bit; u wraps (refused), v is clipped", lava),
            ("delays", f"of each synapse, 0..63 ticks, up to {63 * self.dt:g} s", lava),
            ("loops", "a spike of tick t acts at t + 1 at the earliest", lava),
            ("starts", "u and v before tick 0 of v_init and bias", lava),
            ("input spikes", "several of one unit in one tick count once", lava),
        ]

    @property
    def compiler(self) -> tuple[str, dict[str, Any]]:
        """This target's name and options, for files."""
        headroom = self.headroom
        given = headroom if headroom is None or isinstance(headroom, int | float) else tuple(headroom)
        return "loihi", {"dt": self.dt} | ({} if given is None else {"headroom": given})

    @property
    def device_id(self) -> str:
        """Name and step: another step is another device."""
        return self.capabilities.name

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> LoihiProgram:
        """``net`` as a program; options and errors as for :func:`hwloop_loihi.compile_loihi`."""
        return compile_loihi(net, self.dt, weight_scale=weight_scale, mask=mask, like=like, headroom=self.headroom)

    def choose_dt(self, net: Network, inputs: Spikes, *, decision: Decision = "first") -> StepChoice:
        """The step that keeps ``net``'s output spikes for ``inputs`` closest; see :func:`hwloop_loihi.choose_dt`."""
        # it opens this target at other steps: at module level the two imports would form a ring
        from .sweep import choose_dt

        return choose_dt(net, inputs, decision=decision, headroom=self.headroom)

    def open(self) -> LoihiDevice:
        """The emulator."""
        return LoihiDevice(self)

    def step_device(self, net: StepNetwork, *, spikes: SpikeKind | None = None) -> StepDevice:
        """The emulator holding a network in steps: of HM2-BP or NA on stock layers (:mod:`.step_device`), or one that resets
        by subtraction (:mod:`.soft_device`).

        Stock populations send binary spikes; ``spikes="signed"`` is the process of :mod:`hwloop_lava`.
        """
        if net.rule in ("hm2bp", "na"):
            from .step_device import EmulatedStepDevice

            return EmulatedStepDevice(net, self.device_id)
        from .soft_device import EmulatedSoftDevice  # imports the training rules, which few users of a target need

        return EmulatedSoftDevice(net, self.device_id, spikes or "binary")


class LoihiDevice(DeviceBase):
    """The opened emulator. Deterministic: what it returns depends on program and input alone."""

    def __init__(self, target: LoihiTarget) -> None:
        super().__init__(target, target.device_id, FIRMWARE, "emulator")
        self._emulator: Emulator | None = None

    def _check_program(self, program: Program) -> None:
        _graph_of(program, self.device_id)

    def _write(self, program: Program) -> int:
        self._emulator = Emulator(_graph_of(program, self.device_id))
        held = None if self.program is None else self.program.layers
        if held is None or [layer.codes.shape for layer in held] != [layer.codes.shape for layer in program.layers]:
            return sum(layer.codes.size for layer in program.layers)
        pairs = zip(held, program.layers, strict=True)
        return sum(int(np.count_nonzero(old.codes != new.codes)) for old, new in pairs)

    def read_codes(self) -> tuple[Array, ...]:
        """Codes of the synapses that the emulator computes with; see :class:`hwloop.device.abilities.CodeReader`."""
        self._check_open()
        self._loaded()
        return () if self._emulator is None else held_codes(self._emulator.graph)

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        if self._emulator is None:
            raise TargetError(f"{self.device_id} holds no program; call load(program) first")
        graph = self._emulator.graph
        n_ticks = checked_ticks(spikes.t_stop, graph)
        inputs, merged = encode(spikes, graph.dt)
        ran = self._emulator.run(inputs, n_ticks)
        if isinstance(program, LoihiProgram):
            check_wraps(ran.wraps, program, spikes)
        dtype = getattr(torch, program.layers[0].dtype)
        populations = tuple(
            repeat(decode_late(ticks, late, graph.dt, spikes.t_stop, dtype).to(spikes.times.device), repeats)
            for ticks, late in zip(ran.layers, graph.late, strict=True)
        )
        return Measured(populations, lost_events=merged * repeats)


def held_codes(graph: FixedGraph) -> tuple[Array, ...]:
    """Weight codes ``[n_out, n_in]`` of each layer: half of its mantissas, after Dense's clipping and truncation."""
    return tuple(layer.synapses.effective() // 2 for layer in graph.layers)


def _step(dt: Any) -> float:
    if not _is_number(dt) or not SMALLEST_DT <= float(dt) <= LARGEST_DT:
        raise InputError(f"dt = {dt!r}; allowed: a step of {SMALLEST_DT:g}..{LARGEST_DT:g} s, e.g. 1e-4")
    return float(dt)


def _headroom(headroom: Any) -> Headroom:
    """``headroom`` as floats, hashable; :class:`InputError` for what is no number >= 1."""
    listed = isinstance(headroom, Sequence) and not isinstance(headroom, str)
    for value in headroom if listed else [headroom]:
        if value is not None and (not _is_number(value) or not 1 <= float(value) < math.inf):
            raise InputError(
                f"headroom = {headroom!r}; allowed: a finite number >= 1, e.g. 16, or one (or None) a layer"
            )
    if listed:
        return tuple(None if value is None else float(value) for value in headroom)
    return None if headroom is None else float(headroom)


def _is_number(value: Any) -> bool:
    """Whether ``value`` is a real number, Python's or NumPy's."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _graph_of(program: Program, device: str) -> FixedGraph:
    if not isinstance(program, LoihiProgram):
        raise TargetError(f"{device} runs programs compiled for loihi; got {type(program).__name__}")
    return program.graph


def checked_ticks(t_stop: float, graph: FixedGraph | FloatGraph) -> int:
    """Ticks of a window ``0..t_stop`` (s); :class:`TargetError` where they are too many, with a step that makes them few."""
    n_ticks = graph.n_ticks(t_stop)
    if n_ticks > MAX_TICKS:
        least = rounded_up(t_stop / (MAX_TICKS - max(graph.late) - 2), 3)
        raise TargetError(
            f"a window of {t_stop:g} s is {n_ticks} ticks of {graph.dt:g} s; allowed: {MAX_TICKS}. Open the target with "
            f"dt={least:g} or more"
        )
    return n_ticks
