"""T1 to T3: no damaged frame is accepted, and after any of it the next good one is."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from hwloop_serial import framing
from hwloop_serial.framing import Decoder, Frame
from hwloop_serial.messages import NUMBERS, pack_request

Rounds = Callable[[int, int], int]

#: A STATUS-like frame of 24 bytes on the wire, whose every damage can be tried.
SMALL = framing.encode(Frame(NUMBERS["RESET"], 0x11223344, 0x01010101, 0x55667788, b"\x01"))
NEXT = framing.encode(Frame(NUMBERS["STATUS"], 0x11223344, 0x01010102, 0x55667788))


def decoder() -> Decoder:
    return Decoder(framing.REQUESTS, 512)


def frames(rng: np.random.Generator, n: int) -> list[bytes]:
    """Good frames of 0 to 100 bytes of data, some with many zeros."""
    found = []
    for k in range(n):
        data = rng.integers(0, 256, int(rng.integers(1, 100)), np.uint8)
        data[rng.random(len(data)) < rng.choice([0, 0.3])] = 0
        body = pack_request("WRITE", (1, int(rng.integers(1, 2**32)), int(rng.integers(2**16))), data.tobytes())
        found.append(framing.encode(Frame(NUMBERS["WRITE"], int(rng.integers(1, 2**32)), k, 77, body)))
    return found


def flipped(wire: bytes, places: np.ndarray, bits: np.ndarray) -> bytes:
    data = bytearray(wire)
    for place, bit in zip(places.tolist(), bits.tolist(), strict=True):
        data[place] ^= 1 << bit
    return bytes(data)


def _two_flips(wire: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    places = rng.choice((len(wire) - 1) * 8, 2, replace=False)
    return flipped(wire, places // 8, places % 8)


def _many_flips(wire: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    places = rng.choice((len(wire) - 1) * 8, int(rng.integers(3, 40)), replace=False)
    return flipped(wire, places // 8, places % 8)


def _burst(wire: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    start = int(rng.integers(0, len(wire) - 4))
    noise = rng.integers(0, 256, int(rng.integers(1, 24)), np.uint8).tobytes()
    return wire[:start] + noise[: len(wire) - 1 - start] + wire[min(len(wire) - 1, start + len(noise)) :]


def _dropped(wire: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(0, len(wire) - 1))
    return wire[:place] + wire[place + 1 :]


def _inserted(wire: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    place = int(rng.integers(1, len(wire) - 1))
    return wire[:place] + bytes((int(rng.integers(0, 256)),)) + wire[place:]


def _joined(wire: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The tail of one frame and the delimiter lost: the next begins in its middle."""
    return wire[: int(rng.integers(1, len(wire) - 1))] + other


DAMAGES = [_two_flips, _many_flips, _burst, _dropped, _inserted, _joined]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.__name__.strip("_"))
def test_a_damaged_frame_is_never_accepted(
    damage: Callable[[bytes, bytes, np.random.Generator], bytes], rounds: Rounds
) -> None:
    """T1, a sixth of its count for each damage. By chance alone 2^-32 of them pass: 1 in 10,000 runs of this test."""
    rng = np.random.default_rng([1, DAMAGES.index(damage)])
    good, heard, tried = frames(rng, 200), decoder(), 0
    pairs = list(zip(good, good[1:] + good[:1], strict=True))
    while tried < rounds(400_000 // 6, 10**8 // 6):
        for wire, other in pairs:
            broken = damage(wire, other, rng)
            tried += broken not in (wire, other)
            accepted = heard.feed(broken)
            # a burst may write what was there; whatever is accepted was sent as it is
            assert all(framing.encode(frame) in (wire, other) for frame in accepted)
            assert not accepted or wire in b"\0" + broken or other in b"\0" + broken
            heard.feed(b"\0")
            assert heard.held == 0


def test_no_flip_of_one_or_two_bits_of_a_small_frame_is_accepted() -> None:
    """T2, exhaustive."""
    assert len(SMALL) <= 24
    n = 8 * (len(SMALL) - 1)
    for bits in itertools.chain(itertools.combinations(range(n), 1), itertools.combinations(range(n), 2)):
        broken = bytearray(SMALL[:-1])
        for bit in bits:
            broken[bit >> 3] ^= 1 << (bit & 7)
        assert decoder().feed(bytes(broken) + b"\0") == []


@pytest.mark.parametrize("length", range(len(SMALL) - 1))
def test_a_frame_cut_anywhere_is_not_accepted_and_the_next_one_is(length: int) -> None:
    heard = decoder()
    assert heard.feed(SMALL[:length] + b"\0") == []
    assert len(heard.feed(NEXT)) == 1


@pytest.mark.parametrize("split", range(len(SMALL) + 1))
def test_a_frame_arrives_in_any_two_pieces(split: int) -> None:
    heard = decoder()
    found = [*heard.feed(SMALL[:split]), *heard.feed(SMALL[split:])]
    assert [framing.encode(frame) for frame in found] == [SMALL]


def test_no_byte_put_into_a_small_frame_is_accepted() -> None:
    for place in range(1, len(SMALL) - 1):
        for value in range(256):
            heard = decoder()
            found = heard.feed(SMALL[:place] + bytes((value,)) + SMALL[place:])
            assert found == [], (place, value)
            assert len(heard.feed(b"\0" + NEXT)) == 1


@pytest.mark.parametrize("value", [0x00, 0xFF])
def test_a_stuck_line_says_nothing(value: int) -> None:
    """T3."""
    for length in range(5001):
        heard = decoder()
        assert heard.feed(bytes((value,)) * length) == []
        assert heard.feed(b"\0") == []
        assert len(heard.feed(NEXT)) == 1


def test_a_megabyte_of_noise_is_skipped_in_bounded_memory() -> None:
    rng, heard = np.random.default_rng(3), decoder()
    for _ in range(256):
        assert heard.feed(rng.integers(0, 256, 4096, np.uint8).tobytes()) == []
        assert heard.held <= framing.wire_bytes(512)
    for _ in range(64):
        assert heard.feed(rng.integers(1, 256, 4096, np.uint8).tobytes()) == []
        assert heard.held <= framing.wire_bytes(512)
    heard.feed(b"\0")
    assert len(heard.feed(NEXT)) == 1
