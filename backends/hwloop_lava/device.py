"""``lava`` as a target, and the device it opens: lava-nc in its worker, never anything else under this name."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import torch

from hwloop.arguments import is_bool
from hwloop.device.abilities import Promises
from hwloop.device.registry import DeviceBase, Measured, StepChoice, repeat
from hwloop.errors import InputError, OptionError, TargetError
from hwloop.losses import Decision
from hwloop.mapping import Capabilities, Program, ScaleRule
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_fixed_point.ticks import decode_late
from hwloop_loihi import (
    Emulator,
    FixedGraph,
    FloatGraph,
    LoihiProgram,
    LoihiTarget,
    TickSpikes,
    encode,
)
from hwloop_loihi.device import DEFAULT_DT, checked_ticks
from hwloop_loihi.remedy import Headroom
from hwloop_loihi.wrap import check_wraps

from . import environment, floating
from .environment import Environment
from .floating import FloatProgram
from .request import plan, requests, spikes_of
from .worker_process import SILENCE_DEADLINE, Worker

if TYPE_CHECKING:
    from hwloop.rules import StepNetwork
    from hwloop.rules.steps.deployment import SpikeKind, StepDevice

_log = logging.getLogger(__name__)

#: What Lava computes with.
Arithmetic: TypeAlias = Literal["fixed", "float"]
#: Tags of Lava's models.
TAGS: dict[Arithmetic, str] = {"fixed": "fixed_pt", "float": "floating_pt"}


class LavaTarget:
    """Lava-nc process graphs at steps of ``dt``; the entry point of ``lava``.

    In fixed point the programs are those of ``loihi``, whose spikes are the same, bit for bit; in floating point there
    is no rounding but that of times. Opening builds the private environment where there is none.

    Parameters
    ----------
    address : must be empty; there is one kind
    dt : one tick (model s)
    arithmetic : ``"fixed"``, as Loihi computes, or ``"float"``
    headroom : in fixed point, as for :class:`hwloop_loihi.LoihiTarget`
    deadline : longest silence of the worker (s) before it is ended; it speaks every 32 ticks

    Raises
    ------
    TargetError
        An address is given.
    InputError
        An option is outside its bounds.
    """

    def __init__(
        self,
        address: str = "",
        *,
        dt: float = DEFAULT_DT,
        arithmetic: Arithmetic = "fixed",
        headroom: Headroom = None,
        deadline: float = SILENCE_DEADLINE,
    ) -> None:
        if address:
            raise TargetError(f"lava:{address} does not exist; allowed: lava, with the options dt (s) and arithmetic")
        if arithmetic not in get_args(Arithmetic):
            raise InputError(f"arithmetic = {arithmetic!r}; allowed: {', '.join(get_args(Arithmetic))}")
        if is_bool(deadline) or not isinstance(deadline, (int, float, np.number)) or not 0 < deadline < math.inf:
            raise InputError(f"deadline = {deadline!r}; allowed: finite and > 0 (s)")
        self._fixed = LoihiTarget(dt=dt, headroom=headroom)
        self.dt = self._fixed.dt
        self.name = "lava"
        self.arithmetic: Arithmetic = arithmetic
        self.deadline = float(deadline)
        fixed = arithmetic == "fixed"
        self.capabilities: Capabilities = self._fixed.capabilities if fixed else floating.capabilities(self.dt)
        self.promises: Promises = self._fixed.promises

    @staticmethod
    def setup(
        python: str | None = None, *, force: bool = False, deadline: float = environment.BUILD_DEADLINE,
        say: Callable[[str], None] = _log.info,
    ) -> list[str]:  # fmt: skip
        """Build the environment, as :func:`hwloop_lava.environment.ensure`; lines that say what there is now."""
        built = environment.ensure(python, force=force, deadline=deadline, say=say)
        return [f"{built.firmware}: ready in {built.folder}", f"made from {built.made_from} in {built.seconds:.0f} s"]

    @staticmethod
    def doctor() -> list[tuple[str, str, str]]:
        """Rows ``(what, found, to do)`` on the environment."""
        now = environment.state()
        if now.environment is None:
            advice = "hwloop lava setup, or open the target: about 15 s and 300 MB" if environment.supported() else ""
            return [("lava: environment", f"{now.reason} ({now.root})", advice)]
        ready = now.environment
        return [("lava: environment", f"{ready.firmware}, made from {ready.made_from}, in {ready.folder}", "")]

    def describe(self) -> list[tuple[str, str, str]]:
        """What the arithmetic does to a network, one ``(name, value, source)`` each."""
        if self.arithmetic == "fixed":
            return self._fixed.describe()
        return [
            ("time step", f"{self.dt:g} s", "option dt"),
            ("input spikes", "several of one unit in one tick count once", "models tagged floating_pt"),
        ]

    @property
    def compiler(self) -> tuple[str, dict[str, Any]]:
        """The target that compiles the same programs, and needs no lava-nc where that is ``loihi``."""
        return self._fixed.compiler if self.arithmetic == "fixed" else ("lava", {"dt": self.dt, "arithmetic": "float"})

    @property
    def device_id(self) -> str:
        """Arithmetic and step: another step is another device."""
        return f"lava/{self.arithmetic}/{self.dt * 1e6:g}us"

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> LoihiProgram | FloatProgram:
        """``net`` as a program; options and errors as for :func:`hwloop.mapping.compile_network`."""
        if self.arithmetic == "fixed":
            return self._fixed.compile(net, weight_scale=weight_scale, mask=mask, like=like)
        return floating.compile_float(net, self.dt, weight_scale=weight_scale, mask=mask, like=like)

    def with_dt(self, dt: float) -> LavaTarget:
        """The same target with another step (s)."""
        return LavaTarget(dt=dt, arithmetic=self.arithmetic, headroom=self._fixed.headroom, deadline=self.deadline)

    def with_deadline(self, deadline: float) -> LavaTarget:
        """The same target with another longest silence (s)."""
        return LavaTarget(dt=self.dt, arithmetic=self.arithmetic, headroom=self._fixed.headroom, deadline=deadline)

    def choose_dt(self, net: Network, inputs: Spikes, *, decision: Decision = "first") -> StepChoice:
        """The step that keeps ``net``'s output spikes for ``inputs`` closest, measured on ``loihi``, the same in fixed point.

        Raises :class:`OptionError` in floating point, where a smaller step is always closer.
        """
        if self.arithmetic == "float":
            raise OptionError("in floating point a smaller dt is always closer, and slower; name a step: --dt SECONDS")
        return self._fixed.choose_dt(net, inputs, decision=decision)

    def open(self) -> LavaDevice:
        """Lava, its environment built; raises :class:`TargetError` where that fails."""
        return LavaDevice(self, environment.ensure())

    def step_device(self, net: StepNetwork, *, spikes: SpikeKind | None = None) -> StepDevice:
        """Lava holding a network in steps that resets by subtraction, in fixed point; see :mod:`.soft_device`."""
        from .soft_device import LavaSoftDevice  # imports the training rules, which few users of a target need

        where = environment.ensure()
        return LavaSoftDevice(net, f"lava/fixed, {where.firmware}", where, self.deadline, spikes or "signed")


class LavaDevice(DeviceBase):
    """An opened Lava. Deterministic: what it returns depends on program and input alone.

    The first run starts the worker (half a second). One that fails is ended, with all it started, and the next run
    starts a new one.
    """

    def __init__(self, target: LavaTarget, where: Environment) -> None:
        super().__init__(target, target.device_id, f"{where.firmware}, {TAGS[target.arithmetic]}", "emulator")
        self._target, self._where = target, where
        self._worker: Worker | None = None

    def close(self) -> None:
        """End the worker; closing twice is allowed."""
        super().close()
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _check_program(self, program: Program) -> None:
        _graph_of(program, self.device_id)

    def _write(self, program: Program) -> int:
        held = None if self.program is None else self.program.layers
        if held is None or [layer.codes.shape for layer in held] != [layer.codes.shape for layer in program.layers]:
            return sum(layer.codes.size for layer in program.layers)
        pairs = zip(held, program.layers, strict=True)
        return sum(int(np.count_nonzero(old.codes != new.codes)) for old, new in pairs)

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        graph = _graph_of(program, self.device_id)
        n_ticks = checked_ticks(spikes.t_stop, graph)
        inputs, merged = encode(spikes, graph.dt)
        if isinstance(graph, FixedGraph) and isinstance(program, LoihiProgram):
            # Lava does not say when a current wraps; its twin does, in a fiftieth of the time
            check_wraps(Emulator(graph).run(inputs, n_ticks).wraps, program, spikes)
        ran = self.run_graph(graph, inputs, n_ticks)
        dtype = getattr(torch, program.layers[0].dtype)
        populations = tuple(
            repeat(decode_late(ticks, late, graph.dt, spikes.t_stop, dtype).to(spikes.times.device), repeats)
            for ticks, late in zip(ran, graph.late, strict=True)
        )
        return Measured(populations, lost_events=merged * repeats)

    def run_graph(self, graph: FixedGraph | FloatGraph, inputs: TickSpikes, n_ticks: int) -> tuple[TickSpikes, ...]:
        """Spikes of every layer of any graph, each sample from rest; what :meth:`run` does below seconds.

        Raises :class:`TargetError` as a run does.
        """
        self._check_open()
        if self._worker is None or not self._worker.alive:
            self._worker = Worker(self._where.interpreter, deadline=self._target.deadline)
        layout = plan(graph, len(inputs), n_ticks)
        answers = [self._worker.ask(request) for request in requests(graph, inputs, layout)]
        return spikes_of(answers, graph, len(inputs), layout)


def _graph_of(program: Program, device: str) -> FixedGraph | FloatGraph:
    if not isinstance(program, (LoihiProgram, FloatProgram)):
        raise TargetError(
            f"{device} runs programs compiled for lava or loihi; got {type(program).__name__}: compile the network for it, "
            "hwloop.compile(net, device)"
        )
    return program.graph
