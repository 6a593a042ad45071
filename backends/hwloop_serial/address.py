"""What stands after ``serial:``: a port, a URL, or a board by its USB numbers; and which ports there are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hwloop.errors import TargetError

#: ``VID:PID`` in hexadecimal, and ``sn=SERIALNUMBER``.
_NUMBERS, _SERIAL = re.compile(r"([0-9A-Fa-f]{4}):([0-9A-Fa-f]{4})"), "sn="


@dataclass(frozen=True)
class FoundPort:
    """A port of this computer; ``usb`` is ``VID:PID``, empty where it is none."""

    device: str
    usb: str
    serial_number: str
    what: str

    def __str__(self) -> str:
        parts = [self.device, *([f"USB {self.usb}"] if self.usb else [])]
        parts += [f"serial number {self.serial_number}"] if self.serial_number else []
        parts += [self.what] if self.what and self.what != "n/a" else []
        return ", ".join(parts)


def ports() -> list[FoundPort]:
    """The serial ports of this computer."""
    from serial.tools import list_ports

    found = []
    for port in sorted(list_ports.comports(), key=lambda one: str(one.device)):
        usb = "" if port.vid is None else f"{port.vid:04X}:{port.pid:04X}"
        texts = [_shown(text) for text in (port.device, usb, port.serial_number or "", port.description or "")]
        found.append(FoundPort(*texts))
    return found


def port_of(address: str) -> str:
    """The port or URL that ``address`` means.

    Raises :class:`TargetError` that lists the ports there are where it is empty, or names a board that is not there or of
    which there are several.
    """
    if not address:
        raise TargetError(
            f"serial: names no port; allowed: serial:PORT, a URL such as serial:socket://HOST:PORT, serial:VID:PID or serial:sn=NUMBER. {listed(ports())}"
        )
    numbers = _NUMBERS.fullmatch(address)
    if numbers is None and not address.startswith(_SERIAL):
        return address
    found = ports()
    if numbers is not None:
        usb = f"{numbers[1]}:{numbers[2]}".upper()
        chosen = [port for port in found if port.usb == usb]
    else:
        chosen = [port for port in found if port.serial_number == address.removeprefix(_SERIAL)]
    if len(chosen) != 1:
        how = "several boards are" if chosen else "no board is"
        raise TargetError(f"serial:{address}: {how} connected that this names. {listed(found)}")
    return chosen[0].device


def listed(found: list[FoundPort]) -> str:
    """The ports, for a message."""
    if not found:
        return "This computer has no serial port: connect a board, or serve one: hwloop serve --target emulator:7"
    return "Ports of this computer: " + "; ".join(map(str, found))


def _shown(text: str) -> str:
    """What a board says of itself, without control characters."""
    return ascii(text)[1:-1][:100]
