"""The messages of PROTOCOL.md as text, as layouts, and the id that follows from the text.

The text is that of the page, which a test compares; layouts are read from it, so that the two cannot drift apart.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

#: Section 2 of PROTOCOL.md, line by line.
SCHEMA = """\
hwloop-link 1
header type:u8 session:u32 sequence:u32 boot:u32
01 HELLO magic:4s schema:u32 > magic:4s schema:u32 kind:u8 window:u8 max_body:u16 program_bytes:u32 input_bytes:u32 output_bytes:u32 features:u32 info_bytes:u32 info_crc:u32
02 STATUS > state:u8 flags:u8 run_error:u16 run_id:u32 samples_done:u32 output_bytes:u32 output_crc:u32 lost:u32 late:u32 program:32s settings:32s
03 BEGIN region:u8 flags:u8 length:u32 > transfer:u32
04 WRITE region:u8 transfer:u32 offset:u32 data > offset:u32
05 SEAL region:u8 transfer:u32 length:u32 > digest:32s
06 RUN run_id:u32 program:32s input:32s settings:32s batch:u32 repeats:u32 n_ticks:u32 t_stop:f64 format:u8 flags:u8 > run_id:u32
07 READ region:u8 tag:u32 offset:u32 length:u16 > region:u8 tag:u32 offset:u32 data
08 RESET what:u8 > what:u8
09 CALL function:u16 data > function:u16 result_bytes:u32 result_crc:u32 data
0A CONFIGURE key:u16 value:u32 > key:u16 value:u32
FF ERROR request:u8 code:u16 detail:u32 other:u32
"""

#: CRC-32 of the text: start value of every frame's CRC but those of HELLO, and compared in HELLO.
SCHEMA_ID = zlib.crc32(SCHEMA.encode("ascii"))

#: How a field type of the text is called by :mod:`struct`.
_TYPES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "f32": "f", "f64": "d"}
#: The field that is the rest of a body.
DATA = "data"


@dataclass(frozen=True)
class Layout:
    """One side of a message: names of its fixed fields, their packed form, and whether ``data`` follows."""

    fields: tuple[str, ...]
    packed: struct.Struct
    data: bool

    @classmethod
    def read(cls, text: str) -> Layout:
        """From ``name:type name:type [data]``."""
        words = text.split()
        data = bool(words) and words[-1] == DATA
        pairs = [word.split(":") for word in (words[:-1] if data else words)]
        form = "<" + "".join(_TYPES.get(kind, kind) for _, kind in pairs)
        return cls(tuple(name for name, _ in pairs), struct.Struct(form), data)


@dataclass(frozen=True)
class Message:
    """A message: its number, name, request and reply; an error has a reply alone."""

    number: int
    name: str
    request: Layout
    reply: Layout


def _messages() -> dict[str, Message]:
    found = {}
    for line in SCHEMA.splitlines()[2:]:
        head, _, reply = line.partition(">")
        number, name, *fields = head.split()
        if name == "ERROR":
            reply, fields = " ".join(fields), []
        found[name] = Message(int(number, 16), name, Layout.read(" ".join(fields)), Layout.read(reply))
    return found


#: Every message by its name.
MESSAGES = _messages()
#: The header of a frame.
HEADER = Layout.read(SCHEMA.splitlines()[1].removeprefix("header "))
