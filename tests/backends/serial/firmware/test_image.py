"""A program image is checked before anything of it is used; what does not fit is named by its offset."""

from __future__ import annotations

import struct

import pytest

from .built import FIRMWARE
from .library import read_image
from .small import CHAIN, seed_program

BAD_IMAGE, TOO_LARGE = 10, 7
#: seed.py: two populations of 3 and 2 neurons at 40, four projections at 104; the third is a list with delays.
SEED = seed_program(FIRMWARE)
FIRST, SECOND, WIRES = 40, 72, 104


def wire(index: int, field: int) -> int:
    """Place of a field of projection ``index``."""
    return WIRES + 44 * index + field


def changed(at: int, value: int, form: str = "<I") -> bytes:
    image = bytearray(SEED)
    struct.pack_into(form, image, at, value)
    return bytes(image)


def word(at: int) -> int:
    return int(struct.unpack_from("<I", SEED, at)[0])


def test_good_images_are_read_and_their_memory_is_told() -> None:
    # two populations: 8 bytes and 12 a neuron; the second has a ring of one row; see PROTOCOL.md, section 8
    assert read_image(CHAIN).state_bytes == 2 * 8 + 2 * 12 + 4 * (1 + 1)
    # rings of 64 and 6 rows; the projection that is shifted right has 6 delays onto 2 neurons
    assert read_image(SEED).state_bytes == 2 * 8 + 5 * 12 + 4 * (64 * 3 + 6 * 2) + 4 * 6 * 2


def test_memory_that_is_too_small_is_told_with_what_is_needed() -> None:
    needed = read_image(SEED).state_bytes
    for there in (needed - 4, 16, 0):
        found = read_image(SEED, there)
        assert (found.code, found.other) == (TOO_LARGE, there)
        # without room for a table of the populations the rings are not counted
        assert found.detail == needed if there > 100 else 76
    assert read_image(SEED, needed).code == 0


@pytest.mark.parametrize("length", [0, 3, 39])
def test_what_is_shorter_than_a_header_is_no_image(length: int) -> None:
    found = read_image(SEED[:length])
    assert (found.code, found.detail) == (BAD_IMAGE, 0)


def test_an_image_cut_anywhere_is_refused() -> None:
    for length in range(len(SEED)):
        whole = read_image(SEED[:length])
        assert whole.code == BAD_IMAGE
        if length >= 40:  # the length that it says of itself agrees: something else has to be found missing
            cut = bytearray(SEED[:length])
            struct.pack_into("<I", cut, 24, length)
            assert read_image(bytes(cut)).code == BAD_IMAGE or length > len(SEED) - 4


@pytest.mark.parametrize(
    ("at", "value", "form"),
    [
        (0, 0, "<I"), (4, 2, "<H"), (6, 0, "<H"), (10, 1, "<H"), (24, 0, "<I"), (28, 2, "<I"), (28, 4, "<I"),
        (28, 2**32 - 4, "<I"), (28, len(SEED), "<I"), (32, 0, "<I"), (32, len(SEED) - 40, "<I"), (36, 1, "<I"), (20, 24, "<I"),
        (20, 2**32 - 1, "<I"), (16, 6, "<I"),
        (FIRST, 0, "<I"), (FIRST, 6, "<I"), (FIRST, 2**32 - 1, "<I"), (FIRST + 4, 1, "<I"), (FIRST + 8, 4096, "<I"),
        (FIRST + 12, 0, "<I"), (FIRST + 12, 4097, "<I"), (FIRST + 16, 1, "<I"), (FIRST + 16, 2**32 - 64, "<I"),
        (FIRST + 16, 131072 << 6, "<I"), (FIRST + 20, 2, "<I"), (FIRST + 20, len(SEED) - 8, "<I"), (FIRST + 24, 2**32 - 4, "<I"),
        (FIRST + 28, 36, "<I"), (SECOND + 4, 2, "<I"),
        (wire(0, 0), 2, "<I"), (wire(0, 0), -2, "<i"), (wire(0, 4), 4, "<I"), (wire(0, 8), 0, "<I"), (wire(0, 8), 5, "<I"),
        (wire(0, 8), 2**32 - 1, "<I"), (wire(0, 12), 2, "<I"), (wire(0, 16), 8, "<I"), (wire(0, 16), -9, "<i"),
        (wire(0, 20), 0, "<I"), (wire(0, 20), 65, "<I"), (wire(0, 24), 3, "<B"), (wire(0, 25), 2, "<B"), (wire(0, 26), 1, "<H"),
        (wire(0, 28), 0, "<I"), (wire(0, 28), 102, "<I"), (wire(0, 28), len(SEED) - 8, "<I"), (wire(0, 32), len(SEED), "<I"),
        (wire(0, 36), 104, "<I"), (wire(0, 40), 104, "<I"),
        (wire(2, 36), 0, "<I"), (wire(2, 36), len(SEED) - 8, "<I"), (wire(2, 40), 0, "<I"), (wire(2, 40), len(SEED) - 4, "<I"),
    ],
)  # fmt: skip
def test_a_field_that_does_not_fit_is_named_by_its_offset(at: int, value: int, form: str) -> None:
    found = read_image(changed(at, value, form))
    assert (found.code, found.detail) == (BAD_IMAGE, at)


@pytest.mark.parametrize("source", [0, 1])
def test_units_that_the_source_has_not_are_refused(source: int) -> None:
    image = bytearray(changed(wire(0, 0), source))
    found = read_image(bytes(image))  # four units of a population of three or two
    assert (found.code, found.detail) == (BAD_IMAGE, wire(0, 8))


def test_arrays_are_checked_item_by_item() -> None:
    pointer, targets, delays = (word(wire(2, field)) for field in (36, 40, 32))
    for at, value, form in (
        (pointer, 1, "<I"), (pointer + 4, 4, "<I"), (targets + 2, 3, "<H"), (targets + 4, 65535, "<H"),
    ):  # fmt: skip
        found = read_image(changed(at, value, form))
        assert found.code == BAD_IMAGE
        assert found.detail in (at, at + 4)  # a pointer that is too high is found at the one after it
    found = read_image(changed(delays + 1, 64, "<B"))
    assert (found.code, found.detail) == (BAD_IMAGE, delays + 1)
    found = read_image(changed(wire(2, 20), 63))
    assert (found.code, found.detail) == (BAD_IMAGE, delays)


def test_the_time_of_a_check_is_bounded_by_the_length_of_the_image() -> None:
    # a hundred projections that all lie over the same weights: each weight has to have a byte of its own
    n = 200
    wires = b"".join(struct.pack("<iIIIiIBBHIIII", -1, 0, n, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0) for _ in range(100))
    total = 40 + 32 + len(wires) + n * n
    head = struct.pack("<4sHHHHIIIIIII", b"HWF1", 1, 1, 100, 0, n, n, 100 * n * n, total, 40, 72, 0)
    image = head + struct.pack("<8I", n, 0, 0, 4096, 64, 0, 0, 0) + wires + bytes(n * n)
    found = read_image(image)
    assert (found.code, found.detail) == (BAD_IMAGE, 20)
    one = struct.pack("<I", n * n)
    found = read_image(image[:20] + one + image[24:])
    assert (found.code, found.detail) == (BAD_IMAGE, 72 + 44 + 28)


def test_lists_have_pointers_of_their_own() -> None:
    # two lists without a synapse over the same pointers, which take most of the image
    units = 100
    wires = b"".join(struct.pack("<iIIIiIBBHIIII", -1, 0, units, 0, 0, 1, 0, 1, 0, 0, 0, 160, 0) for _ in range(2))
    total = 160 + 4 * (units + 1)
    head = struct.pack("<4sHHHHIIIIIII", b"HWF1", 1, 1, 2, 0, units, 1, 0, total, 40, 72, 0)
    image = head + struct.pack("<8I", 1, 0, 0, 4096, 64, 0, 0, 0) + wires + bytes(4 * (units + 1))
    found = read_image(image)
    assert (found.code, found.detail) == (BAD_IMAGE, 72 + 44 + 36)
    one = image[:8] + struct.pack("<H", 1) + image[10:]
    assert read_image(one).code == 0
