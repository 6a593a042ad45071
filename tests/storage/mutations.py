"""Files as an enemy, or a broken disk, makes them of good ones."""

from __future__ import annotations

import random
import re
import struct

#: What stands in the place of a number or a text.
VALUES = [
    b"-1", b"0", b"1e999", b"NaN", b"-Infinity", b"1e308", b"true", b"null", b'""', b"[]", b"{}", b'"../../../etc/passwd"',
    b'"/dev/zero"', b"99999999999999999999999", b"0.1", b'"\\u001b[2J"', b"[" * 3000, b'{"a":' * 2000, b'"' + b"x" * 20000 + b'"',
    b"2147483648", b"18446744073709551616", b'"\\ud800"', b'"{0.__class__}"', b'"__import__(\'os\').system(\'x\')"',
]  # fmt: skip
#: A pickle that would run a command, an empty archive, and the first bytes of other kinds of files.
OTHERS = [
    b"", b"\0", b"cos\nsystem\n(S'touch hwloop-canary'\ntR.", b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x05false\x94\x85\x94R\x94.",
    b"PK\x05\x06" + b"\0" * 18, b"\x89HDF\r\n\x1a\n", b"\x1f\x8b\x08\0", b"\x93NUMPY\x01\0", b"{}", b"[]", b"\xff\xfe{\0}\0", b"hwloop-session-log 1\n",
]  # fmt: skip
_SIZES = [0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
_TOKEN = re.compile(rb'-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|"(?:[^"\\]|\\.)*"|true|false|null')


def mutate(data: bytes, chance: random.Random) -> bytes:
    """``data`` damaged in one of many ways."""
    kind = chance.choice([_cut, _flip, _flip, _splice, _zero, _double, _lie, _token, _token, _token, _other])
    return kind(data, chance)


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data)) if data else 0


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 20]) if data else 0):
        changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _splice(data: bytes, chance: random.Random) -> bytes:
    place = _place(data, chance)
    return data[:place] + chance.randbytes(chance.choice([1, 8, 200])) + data[place + chance.choice([0, 1, 50]) :]


def _zero(data: bytes, chance: random.Random) -> bytes:
    place, length = _place(data, chance), chance.choice([1, 16, 4096])
    return data[:place] + b"\0" * min(length, len(data) - place) + data[place + length :]


def _double(data: bytes, chance: random.Random) -> bytes:
    start, end = sorted((_place(data, chance), _place(data, chance)))
    return data[:end] + data[start:]


def _lie(data: bytes, chance: random.Random) -> bytes:
    """A length that is not true: early, where lengths stand, or anywhere."""
    layout = chance.choice(["<I", ">I", "<Q", "<H"])
    size = struct.calcsize(layout)
    place = min(chance.choice([chance.randrange(64), _place(data, chance)]), max(0, len(data) - size))
    value = chance.choice(_SIZES) & (256**size - 1)
    return data[:place] + struct.pack(layout, value) + data[place + size :]


def _token(data: bytes, chance: random.Random) -> bytes:
    """Another value for one number or text of a document."""
    found = [m.span() for m in _TOKEN.finditer(data[:200_000])]
    if not found:
        return _flip(data, chance)
    start, end = chance.choice(found)
    return data[:start] + chance.choice(VALUES) + data[end:]


def _other(data: bytes, chance: random.Random) -> bytes:
    return chance.choice(OTHERS)
