"""The firmware as a shared library: its parts, and the whole device with a line in memory."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

from .built import built

#: Bytes that one call brings back at most: all that the board in memory keeps.
ROOM = 1 << 20
#: Bytes of the largest output of a run without the protocol.
OUTPUT_ROOM = 1 << 22


@cache
def load() -> ctypes.CDLL:
    """The library, built from the sources as they are."""
    library = ctypes.CDLL(str(built("shared", "libhwloop_device.so")))
    for name in ("test_sha256", "test_receiver_begin", "test_frame_send", "test_device_begin", "test_device_take"):
        getattr(library, name).restype = None
    for name in (
        "test_schema",
        "test_crc32",
        "test_receiver_take",
        "test_damage",
        "test_flips",
        "test_constant",
        "test_dropped",
    ):
        getattr(library, name).restype = ctypes.c_uint32
    library.hwl_memory_sent.restype = ctypes.c_size_t
    return library


def sent() -> bytes:
    """What the board in memory has sent since the last call."""
    bytes_ = ctypes.create_string_buffer(ROOM)
    count = load().hwl_memory_sent(bytes_, ctypes.c_size_t(ROOM))
    return bytes_.raw[:count]


def receive(data: bytes) -> tuple[int, bytes]:
    """Feed the receiver: good frames in ``data``, and header and body of the last one."""
    last, length = ctypes.create_string_buffer(1 << 15), ctypes.c_uint32(0)
    count = load().test_receiver_take(data, ctypes.c_size_t(len(data)), last, ctypes.byref(length))
    return int(count), last.raw[: length.value]


def sha256(data: bytes) -> bytes:
    digest = ctypes.create_string_buffer(32)
    load().test_sha256(data, ctypes.c_size_t(len(data)), digest)
    return digest.raw


@dataclass(frozen=True)
class Read:
    """What reading an image said."""

    code: int
    detail: int
    other: int
    state_bytes: int


def read_image(image: bytes, state_bytes: int = 1 << 22) -> Read:
    # exactly as large as the image: what reads behind it is found by a sanitizer
    state, result = (ctypes.c_uint32 * (state_bytes // 4))(), (ctypes.c_uint32 * 3)()
    code = load().test_image(image, len(image), state, state_bytes, result)
    return Read(code, *(int(value) for value in result))


def run_image(
    image: bytes, events: bytes, batch: int, n_ticks: int, wide: bool = False, room: int = OUTPUT_ROOM
) -> bytes | int:
    """Output of a run without the protocol, or the code of its error."""
    output, written = ctypes.create_string_buffer(room), ctypes.c_uint32(0)
    order = (ctypes.c_uint32 * 3)(batch, n_ticks, wide)
    code = load().test_run(image, len(image), events, len(events), order, output, room, ctypes.byref(written))
    return output.raw[: written.value] if code == 0 else int(code)


class MemoryLine:
    """The whole device, its line in memory."""

    def __init__(self) -> None:
        self.library = load()
        self.library.test_device_begin()

    def write(self, data: bytes) -> None:
        self.library.test_device_take(data, ctypes.c_size_t(len(data)))

    def read(self) -> bytes:
        return sent()

    def go_on(self) -> bool:
        """A slice of the run; whether one is in progress."""
        return bool(self.library.test_device_go_on())

    def wait(self, milliseconds: int) -> None:
        self.library.hwl_memory_wait(milliseconds)

    def restart(self) -> None:
        self.library.test_device_begin()
