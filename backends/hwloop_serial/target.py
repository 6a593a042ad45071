"""``serial:PORT`` as a target: what a board says of itself decides how networks are compiled for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hwloop.arguments import is_bool, whole
from hwloop.device.abilities import Promises, promises_of
from hwloop.device.registry import Target
from hwloop.errors import InputError, OptionError
from hwloop.losses import Decision
from hwloop.mapping import Capabilities, Program, ScaleRule, compile_network
from hwloop.mapping.partition import partition_network
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_loihi import StepChoice, compile_loihi
from hwloop_loihi.device import DEFAULT_DT, LoihiTarget
from hwloop_loihi.limits import capabilities as loihi_capabilities
from hwloop_loihi.remedy import Headroom

from . import fixed_image, fixed_limits
from .address import FoundPort, port_of, ports
from .emulated import twin_of
from .information import Info
from .messages import Hello
from .owner import Held, Owner
from .remote import Remote
from .session import DEADLINE, Session, Watch
from .transport import DEFAULT_BAUD, SerialPort

if TYPE_CHECKING:
    from .device import SerialDevice

#: Bits of a byte on the line, with start and stop.
BITS_A_BYTE = 10
#: Limits of the rate (bits a second), and largest noise session.
BAUDS, MOST_SESSION = (300, 100_000_000), 2**63 - 1


class SerialTarget:
    """A board on a serial line, a pseudo-terminal or a socket; the entry point of ``serial``.

    Parameters
    ----------
    address : port (``/dev/ttyUSB0``), pySerial URL (``socket://127.0.0.1:4000``), ``VID:PID`` or ``sn=SERIALNUMBER``
    dt : one tick (model s) of a fixed-point board that leaves it to the host; default 1e-4
    baud : bits a second
    deadline : longest silence of the board (s) before a call raises :class:`~hwloop.errors.LinkError`
    session : noise session that an emulated board begins with, as of ``emulator:N``
    headroom : of a fixed-point board, as of :class:`hwloop_loihi.LoihiTarget`
    watch : called with time (s), ``"sent"`` or ``"received"``, and each frame
    log : path of a session log: every frame, load and run of the opened board is recorded there

    Raises
    ------
    TargetError
        No port, or none such; lists those there are.
    InputError
        An option is outside its bounds.
    """

    def __init__(
        self,
        address: str = "",
        *,
        dt: float | None = None,
        baud: int = DEFAULT_BAUD,
        deadline: float = DEADLINE,
        session: int | None = None,
        headroom: Headroom = None,
        watch: Watch | None = None,
        log: Path | str | None = None,
    ) -> None:
        self.port = port_of(address)
        self.baud = whole("baud", baud, *BAUDS)
        self._take_options(f"serial:{address}", dt, deadline, session, headroom, watch, log)

    def _take_options(
        self, name: str, dt: float | None, deadline: float, session: int | None, headroom: Headroom, watch: Watch | None,
        log: Path | str | None,
    ) -> None:  # fmt: skip
        """Keep what is no matter of the line; raises as the class says."""
        self.name = name
        if is_bool(deadline) or not isinstance(deadline, (int, float, np.number)) or not 0 < deadline < math.inf:
            raise InputError(f"deadline = {deadline!r}; allowed: finite and > 0 (s)")
        self.deadline = float(deadline)
        self.session = None if session is None else whole("session", session, 0, MOST_SESSION)
        # both check what they are given; dt may also be the board's own
        self._asked_dt = None if dt is None else LoihiTarget(dt=dt).dt
        self.headroom = LoihiTarget(headroom=headroom).headroom
        self.watch, self.log = watch, log
        self._said: tuple[Info, Hello] | None = None

    @staticmethod
    def ports() -> list[FoundPort]:
        """The serial ports of this computer, for the list of targets."""
        return ports()

    @staticmethod
    def serve(target: Target, port: str, room: dict[str, int], say: Callable[[str], None]) -> None:
        """Make a board of ``target`` on ``port`` until a signal ends it; see :mod:`.board.until_told`."""
        from .board.until_told import serve

        serve(target, port, room, say)

    # -- what the board is --------------------------------------------------------------------

    @property
    def info(self) -> Info:
        """What the board says of itself; asked once."""
        return self._asked()[0]

    def _asked(self) -> tuple[Info, Hello]:
        if self._said is None:
            owner = self.own()
            try:
                remote = self.remote(owner)
                remote.close()
            finally:
                owner.release()
            self._said = (remote.info, remote.hello)
        return self._said

    def own(self) -> Held:
        """The line, held by nobody else until it is released."""
        return Owner(self.port)

    def session_on(self, held: Held) -> Session:
        """A session, not yet open, with the board on the line that is held."""
        return Session(
            lambda: SerialPort(self.port, self.baud),
            name=self.name,
            deadline=self.deadline,
            byte_seconds=BITS_A_BYTE / self.baud,
            watch=self.watch,
        )

    def remote(self, held: Held) -> Remote:
        """The board, greeted."""
        session = self.session_on(held)
        try:
            return Remote(session)
        except BaseException:
            session.close()
            raise

    @property
    def fixed(self) -> bool:
        """Whether it takes fixed-point graphs; else codes."""
        return self.info.kind == "fixed"

    @property
    def dt(self) -> float:
        """One tick (model s) of a fixed-point board."""
        bound = self.info.dt
        if not self.fixed:
            raise OptionError(f"{self.name} runs in continuous time; leave dt out")
        if bound is not None and self._asked_dt not in (None, bound):
            raise OptionError(
                f"{self.name} is bound to ticks of {bound:g} s; dt = {self._asked_dt:g} was asked: leave it out"
            )
        return bound or self._asked_dt or DEFAULT_DT

    @property
    def capabilities(self) -> Capabilities:
        """Limits as data: of a fixed-point board those of the arithmetic; what it has room for is checked in :meth:`compile`."""
        said = self.info.capabilities
        if said is None:
            return loihi_capabilities(self.dt)
        if self._asked_dt is not None:
            raise OptionError(f"{self.name} runs in continuous time; leave dt out")
        return said.capabilities()

    @property
    def promises(self) -> Promises | None:
        """As exact as what the board is known to compute; None for a board of codes that is no emulated chip known here."""
        if self.fixed:
            return LoihiTarget(dt=self.dt).promises
        twin = twin_of(self.info, self.session)
        return promises_of(twin) if isinstance(twin, Target) else None

    def with_deadline(self, deadline: float) -> SerialTarget:
        """The same board with another longest silence (s)."""
        return SerialTarget(
            self.name.partition(":")[2], dt=self._asked_dt, baud=self.baud, deadline=deadline, session=self.session,
            headroom=self.headroom, watch=self.watch, log=self.log,
        )  # fmt: skip

    @property
    def device_id(self) -> str:
        """Which board it is."""
        return self.info.device_id

    def describe(self) -> list[tuple[str, str, str]]:
        """What the board does to a network, ``(name, value, source)`` each, as it says itself."""
        rows, limits = list(self.info.describe), self.info.limits
        if limits is not None:
            rows += [(name.replace("_", " "), str(value), "INFO of the board") for name, value in dict(limits).items()]
        return rows

    def in_words(self) -> tuple[list[str], list[str]]:
        """``(emulated, not emulated)``, as the board says."""
        emulated, left_out = self.info.in_words
        return list(emulated), list(left_out)

    def without_mismatch(self) -> Target | None:
        """The same noise without device differences, emulated in this process: a served chip keeps its own. None for others."""
        twin = twin_of(self.info, self.session)
        return None if twin is None else twin.without_mismatch()

    # -- compiling ----------------------------------------------------------------------------

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:
        """``net`` as a program; options and errors as for :func:`hwloop.mapping.compile_network`."""
        if not self.fixed:
            return compile_network(net, self.capabilities, weight_scale=weight_scale, mask=mask, like=like)
        program = compile_loihi(net, self.dt, weight_scale=weight_scale, mask=mask, like=like, headroom=self.headroom)
        self.check_graph(program.graph, fixed_image.write(program.graph))
        return program

    @property
    def compiler(self) -> tuple[str, dict[str, Any]] | None:
        """The target that compiles for a fixed-point board, whose limits of memory aside; None for boards of codes."""
        return LoihiTarget(dt=self.dt, headroom=self.headroom).compiler if self.fixed else None

    def check_graph(self, graph: Any, image: bytes) -> None:
        """Raise :class:`~hwloop.errors.CompileError` where a fixed-point board has no room for ``graph``."""
        info, hello = self._asked()
        if info.limits is not None:
            fixed_limits.check(graph, info.limits, image, hello.program_bytes, info.device_id)

    def partition(
        self, net: Network, *, weight_scale: ScaleRule | Sequence[ScaleRule] = "max", mask: Iterable[int] = ()
    ) -> Program:
        """``net`` as a program, in pieces where it is larger than the board; see :mod:`hwloop.mapping.partition`."""
        if self.fixed:
            raise OptionError(f"{self.name} runs no networks in pieces; leave partition out")
        return partition_network(net, self.capabilities, weight_scale=weight_scale, mask=mask)

    def choose_dt(self, net: Network, inputs: Spikes, *, decision: Decision = "first") -> StepChoice:
        """The step that keeps ``net``'s output spikes for ``inputs`` closest, measured on ``loihi``, which computes alike."""
        if not self.fixed or self.info.dt is not None:
            raise OptionError(f"{self.name} has no time step to choose; leave --dt out")
        return LoihiTarget(headroom=self.headroom).choose_dt(net, inputs, decision=decision)

    # -- opening ------------------------------------------------------------------------------

    def open(self) -> Any:
        """The board, as new: it forgets what it held, and an emulated chip is opened anew.

        Raises :class:`~hwloop.errors.LinkError` where another process has the port, or no board answers.
        """
        if self.log is not None:
            from .recorded import opened_recorded

            return opened_recorded(self, self.log)
        _ = self.capabilities  # refuses options that are not this board's
        if self.fixed and self.session is not None:
            raise OptionError(f"{self.name} has no noise; leave session out")
        owner = self.own()
        try:
            return self._opened(owner, self.remote(owner))
        except BaseException:
            owner.release()
            raise

    def _opened(self, owner: Held, remote: Remote) -> SerialDevice:
        from .device import opened

        return opened(self, owner, remote)
