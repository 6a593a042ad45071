"""A backend for hwloop from outside its distribution: ``hwloop.open("mychip:0")``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hwloop.errors import InputError, TargetError
from hwloop.mapping import Capabilities, Program, Range, ScaleRule, compile_network
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop.target import DeviceBase, Measured, Promises, repeat

from .driver import Array, Driver, DriverError

__all__ = ["MyChipDevice", "MyChipTarget"]


class MyChipTarget:
    """The chip in slot ``address``.

    Parameters
    ----------
    address : "0" or "1"
        What follows the colon in ``hwloop.open("mychip:0")``.
    tick : float (s)
        Step of the recorded time stamps; an option of this backend, ``hwloop.open("mychip:0", tick=1e-6)``.

    Raises
    ------
    TargetError
        No such slot.
    InputError
        ``tick`` is not positive.
    """

    def __init__(self, address: str, *, tick: float = 10e-6) -> None:
        if address not in ("0", "1"):
            raise TargetError(f"mychip:{address} does not exist; allowed: mychip:0, mychip:1")
        if not 0 < tick < 1:
            raise InputError(f"tick = {tick} s; allowed: > 0 s and < 1 s")
        self.name = f"mychip:{address}"
        self.slot = int(address)
        self.tick = tick
        self.capabilities = Capabilities(
            name="mychip",
            n_neurons=256,
            fan_in=128,
            weight_bits=8,
            reset_kinds=("value",),
            ranges={"tau_mem": Range(1e-3, 100e-3, "device_s"), "tau_syn": Range(1e-3, 100e-3, "device_s")},
            max_events=10_000,
            time_step=tick,
        )
        # what `hwloop conform` holds it to: stamps are rounded down to a tick, nothing else differs from the model
        self.promises = Promises(deterministic=True, time_error=tick)

    def compile(
        self,
        net: Network,
        *,
        weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
        mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:
        """``net`` as a program; the compiler of hwloop checks the limits above, quantises and places."""
        return compile_network(net, self.capabilities, weight_scale=weight_scale, mask=mask, like=like)

    def open(self) -> MyChipDevice:
        """Connect to the chip; TargetError where it does not answer."""
        try:
            return MyChipDevice(self, Driver(self.slot, self.tick))
        except DriverError as error:
            raise TargetError(f"{self.name} does not open: {error}; is the board plugged in?") from error


class MyChipDevice(DeviceBase):
    """The opened chip. DeviceBase checks, counts and notes the provenance of every run."""

    def __init__(self, target: MyChipTarget, driver: Driver) -> None:
        # a real chip says "hardware"; the id is the chip's own serial number, since calibrations are bound to it
        super().__init__(target, device_id=driver.serial, firmware=driver.version, ran_on="emulator")
        self._driver = driver

    def _write(self, program: Program) -> int:
        cells = 0
        for number, layer in enumerate(program.layers):
            cells += self._driver.write_codes(number, layer.neurons, layer.codes)
            self._driver.configure(number, layer)
        self._driver.use_layers(len(program.layers))
        return cells

    def read_codes(self) -> tuple[Array, ...]:
        """What the chip's weight cells hold, layer by layer; not what was written to them."""
        self._check_open()
        return tuple(self._driver.read_codes(number) for number in range(len(self._loaded().layers)))

    def _forget(self) -> None:
        # a write broke off: the driver's account of what the chip holds is worth nothing, the next one writes all
        self._driver.forget()

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        # the recording holds all repeats, first repeat first; a chip that repeats by itself would be told the number
        populations = self._driver.play(repeat(spikes, repeats))
        return Measured(tuple(populations), lost_events=self._driver.lost, late_events=0)

    def close(self) -> None:
        """Give the chip back."""
        super().close()
        self._driver.disconnect()
