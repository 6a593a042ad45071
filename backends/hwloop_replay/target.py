"""``replay:LOG`` as a target: the limits of the device that was recorded, and its compiler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hwloop.arguments import whole
from hwloop.device.abilities import Promises, promises_of
from hwloop.device.registry import Target, find
from hwloop.errors import DataError, OptionError, TargetError
from hwloop.mapping import Capabilities, Program, ScaleRule, compile_network
from hwloop.network import Network
from hwloop.session_log import read_log
from hwloop_loihi.program import LoihiProgram

from .device import ReplayDevice


class ReplayTarget:
    """The session log ``address``; the entry point of ``replay``.

    Parameters
    ----------
    address : path of the log
    start : number of the run that is answered first
    compiler : target that programs are compiled for, such as ``"loihi"``; by default the one that the log names, else the
        compiler of codes

    Raises
    ------
    TargetError
        No path, or the log cannot be used: damaged before its end, or without a session.
    InputError
        ``start`` is no run of it.
    """

    def __init__(self, address: str, *, start: int = 0, compiler: str | None = None) -> None:
        if not address:
            raise TargetError("replay: names no log; allowed: replay:PATH, such as replay:session.log")
        try:
            self.log = read_log(address)
        except DataError as error:
            raise TargetError(str(error)) from error
        if not self.log.sessions or (self.log.damage is not None and not self.log.damage.cut):
            reason = self.log.damage or "no session in it"
            raise TargetError(f"{address}: {reason}. Nothing is replayed from it: restore it, or record anew")
        self.name = f"replay:{address}"
        self.start = whole("start", start, 0, len(self.log.runs))
        self.recorded = self.log.sessions[0].target
        self.capabilities: Capabilities = self.recorded.limits.capabilities()
        self._compiler = self._compiling(compiler)

    def _compiling(self, name: str | None) -> Target | None:
        target = find(name) if name is not None else self._recorded_compiler()
        if target is None:
            return None
        if target.capabilities != self.capabilities:
            raise TargetError(
                f"{target.name} compiles for other limits than those of the device in {self.log.path}; name the target with "
                "compiler=..., or install what it was recorded with"
            )
        return target

    def _recorded_compiler(self) -> Target | None:
        """That of the recorded device, as far as the log names one: a port is not opened to ask."""
        recorded = self.recorded
        if recorded.reopened:
            return recorded.find()
        if recorded.compiler is not None:
            return recorded.compiler.find()
        if any(load.kind == LoihiProgram.__name__ for load in self.log.loads):  # a log of before compilers were named
            return find("loihi", dt=self.capabilities.time_step)
        return None

    @property
    def promises(self) -> Promises | None:
        """Those of the recorded device, as far as its compiler tells."""
        return None if self._compiler is None else promises_of(self._compiler)

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:
        """``net`` as a program, by the compiler of the recorded device."""
        if self._compiler is not None:
            return self._compiler.compile(net, weight_scale=weight_scale, mask=mask, like=like)
        return compile_network(net, self.capabilities, weight_scale=weight_scale, mask=mask, like=like)

    def partition(
        self, net: Network, *, weight_scale: ScaleRule | Sequence[ScaleRule] = "max", mask: Iterable[int] = ()
    ) -> Program:
        """``net`` in pieces, where the recorded device's compiler makes them."""
        found = getattr(self._compiler, "partition", None)
        if found is None:
            raise OptionError(f"the device in {self.log.path} runs no networks in pieces; leave partition out")
        made: Program = found(net, weight_scale=weight_scale, mask=mask)
        return made

    def open(self) -> ReplayDevice:
        """The log as a device."""
        return ReplayDevice(self, self.log, self.start)
