"""Images of both kinds: what is read is what was written, and nothing else is read."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwloop_serial
from hwloop_fixed_point.reference import run_fixed
from hwloop_serial import event_lists, fixed_image, fixed_limits, fixed_reader
from hwloop_serial.fixed_layout import HEADER, ImageHeader
from tests.backends.loihi.random_graphs import random_graph, random_raster, random_wiring

VECTORS: dict[str, Any] = json.loads((Path(hwloop_serial.__file__).parent / "vectors.json").read_text())
MAKERS = [random_graph, random_wiring]


@pytest.mark.parametrize("make", MAKERS)
def test_an_image_computes_as_the_graph_that_it_was_made_from(make: Any) -> None:
    for seed in range(40):
        graph = make(seed)
        image = fixed_image.write(graph)
        found = fixed_reader.read(image)
        assert fixed_image.write(found) == image
        raster = random_raster(graph, seed, 2, 20)
        for expected, spikes in zip(run_fixed(graph, raster), run_fixed(found, raster), strict=True):
            np.testing.assert_array_equal(spikes, expected)


@pytest.mark.parametrize("entry", VECTORS["images"], ids=lambda entry: entry["name"])
def test_images_of_the_file_answer_as_it_says(entry: dict[str, Any]) -> None:
    image = bytes.fromhex(entry["hex"])
    assert hashlib.sha256(image).hexdigest() == entry["sha256"]
    graph = fixed_reader.read(image)
    given = event_lists.unpack(bytes.fromhex(entry["input"]), entry["batch"], event_lists.TICKS)
    raster = np.zeros((entry["batch"], entry["n_ticks"], graph.n_in), bool)
    raster[given.samples, given.times, given.units] = True
    expected = event_lists.unpack(bytes.fromhex(entry["output_by_tick"]), entry["batch"], event_lists.TICKS)
    whole = np.concatenate(run_fixed(graph, raster), axis=2)
    sample, tick, unit = np.nonzero(whole)
    np.testing.assert_array_equal(sample, expected.samples)
    np.testing.assert_array_equal(tick, expected.times)
    np.testing.assert_array_equal(unit, expected.units)


def test_an_image_that_is_changed_anywhere_is_refused_or_another_graph() -> None:
    """Every byte of the tables, set to 0, FF and one more: an error of the reader, never another one."""
    image = fixed_image.write(random_wiring(5))
    header = ImageHeader(*HEADER.unpack_from(image))
    refused = 0
    for place in range(header.projections_at + 44 * header.projections):
        for value in (0, 0xFF, (image[place] + 1) % 256):
            changed = image[:place] + bytes((value,)) + image[place + 1 :]
            with contextlib.suppress(fixed_reader.ImageError):
                fixed_reader.read(changed)
                continue
            refused += 1
    assert refused > header.projections_at


@pytest.mark.parametrize("length", [0, 10, 39, 40, 100])
def test_an_image_that_ends_early_is_refused(length: int) -> None:
    with pytest.raises(fixed_reader.ImageError):
        fixed_reader.read(fixed_image.write(random_graph(3))[:length])


def test_needs_of_a_graph_are_those_of_the_reference_firmware() -> None:
    """Layer sizes, depth and exponents of a small graph, by hand."""
    graph = random_graph(3)
    used = fixed_limits.needs(graph)
    ring = 0
    for layer in graph.layers:
        parts = [layer.synapses, *([] if layer.recurrent is None else [layer.recurrent])]
        depths = [1 if part.delay is None else int(part.delay.max()) + 1 for part in parts]
        ring += max(depths) * layer.n
    folded = max(
        (
            (1 if part.delay is None else int(part.delay.max()) + 1) * layer.n
            for layer in graph.layers
            for part in (layer.synapses, layer.recurrent)
            if part is not None and part.exponent < 0
        ),
        default=0,
    )
    n = sum(graph.sizes)
    assert used.neurons == n
    assert used.state_bytes == 12 * n + 8 * len(graph.layers) + 4 * (ring + folded)


def test_projections_that_share_their_weights_are_refused() -> None:
    """A small image would otherwise take as long as a large one."""
    image = bytearray(fixed_image.write(random_wiring(5)))
    header = ImageHeader(*HEADER.unpack_from(image))
    first, second = (header.projections_at + 44 * k + 28 for k in range(2))
    image[second : second + 4] = image[first : first + 4]
    with pytest.raises(fixed_reader.ImageError, match="share"):
        fixed_reader.read(bytes(image))
