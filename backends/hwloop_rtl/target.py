"""``rtl:`` as a target: a chip of given parameters, built and simulated on this machine."""

from __future__ import annotations

import secrets
from functools import cached_property
from pathlib import Path
from typing import ClassVar, cast

from hwloop.errors import HwloopError
from hwloop.mapping import Capabilities
from hwloop_loihi.device import DEFAULT_DT
from hwloop_loihi.limits import capabilities as loihi_capabilities
from hwloop_loihi.remedy import Headroom
from hwloop_serial.information import Info
from hwloop_serial.messages import Hello
from hwloop_serial.owner import Held
from hwloop_serial.remote import Remote
from hwloop_serial.session import DEADLINE, Session, Watch
from hwloop_serial.target import BITS_A_BYTE, SerialTarget

from . import building, parameters, tools
from .device import RtlDevice
from .parameters import Parameters
from .simulation_process import Simulation

#: Clocks that a simulation does in a second (1/s): about, for the first waits of a session.
USUAL_SPEED = 1e6


class RtlTarget(SerialTarget):
    """A chip of our own, simulated clock by clock; the entry point of ``rtl``.

    Programs are those of ``loihi``, and so are the spikes, bit for bit. Opening builds the simulation where there is none of these
    parameters yet, with Verilator, a C++ compiler and a compiler for RISC-V.

    Parameters
    ----------
    address : ``memory=BYTES``, ``core=hardware|software``, ``sha=0|1``, separated by commas; see :class:`.parameters.Parameters`
    dt : one tick (model s); default 1e-4
    deadline : longest silence of the chip (s) before a call raises :class:`~hwloop.errors.LinkError`
    headroom : as of :class:`hwloop_loihi.LoihiTarget`
    watch, log : as of :class:`hwloop_serial.SerialTarget`

    Raises
    ------
    TargetError
        The address has other parameters, or values outside their bounds.
    InputError
        An option is outside its bounds.
    """

    #: None: it has no ports that could be listed.
    ports: ClassVar[None] = None  # type: ignore[assignment]

    def __init__(
        self,
        address: str = "",
        *,
        dt: float | None = None,
        deadline: float = DEADLINE,
        headroom: Headroom = None,
        watch: Watch | None = None,
        log: Path | str | None = None,
    ) -> None:
        self.parameters: Parameters = parameters.read(address)
        self._take_options(f"rtl:{address}", dt, deadline, None, headroom, watch, log)

    @staticmethod
    def doctor() -> list[tuple[str, ...]]:
        """Rows of ``hwloop doctor``: the programs that build a chip."""
        rows: list[tuple[str, ...]] = []
        for name, package in tools.PACKAGES.items():
            path = tools.where(name)
            try:
                found = "not found" if path is None else tools.version(path)
            except HwloopError as error:
                found = str(error)
            rows.append((f"rtl: {name}", found, "" if path is not None else f"only for the target rtl: {package}"))
        return rows

    @cached_property
    def _built(self) -> tuple[Path, Path]:
        """The simulation, and the folder of its firmware."""
        found = tools.find()
        return building.simulation(self.parameters, found), building.firmware(self.parameters, found)

    # -- what the chip is: known before one runs ------------------------------------------------

    @property
    def fixed(self) -> bool:
        return True

    @property
    def dt(self) -> float:
        """One tick (model s)."""
        return self._asked_dt or DEFAULT_DT

    @property
    def capabilities(self) -> Capabilities:
        """Limits of the arithmetic; what there is room for is checked in :meth:`compile`."""
        return loihi_capabilities(self.dt)

    def with_deadline(self, deadline: float) -> RtlTarget:
        """The same chip with another longest silence (s)."""
        address = self.name.partition(":")[2]
        return RtlTarget(
            address, dt=self._asked_dt, deadline=deadline, headroom=self.headroom, watch=self.watch, log=self.log
        )

    # -- opening --------------------------------------------------------------------------------

    def own(self) -> Simulation:
        """A simulated chip that has just started."""
        simulation, folder = self._built
        return Simulation((str(simulation),), folder, seed=secrets.randbits(63))

    def session_on(self, held: Held) -> Session:
        return Session(
            cast(Simulation, held).connect,
            name=self.name,
            deadline=self.deadline,
            byte_seconds=BITS_A_BYTE * building.LINE_CLOCKS / USUAL_SPEED,
            watch=self.watch,
        )

    def _asked(self) -> tuple[Info, Hello]:
        if self._said is None:
            self._said = _SAID.get(self._built) or super()._asked()
            _SAID[self._built] = self._said
        return self._said

    def _opened(self, owner: Held, remote: Remote) -> RtlDevice:
        try:
            remote.reset(forget=True)
            return RtlDevice(self, owner, remote)
        except BaseException:
            remote.close()
            raise


#: What chips of one simulation and firmware said of themselves: they all say the same.
_SAID: dict[tuple[Path, Path], tuple[Info, Hello]] = {}
