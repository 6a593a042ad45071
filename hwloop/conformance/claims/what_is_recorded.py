"""What a recording holds."""

from __future__ import annotations

from typing import get_args

import torch

from ...device.registry import repetitions
from ...errors import InputError
from ...record import RanOn, Recording
from ...spikes import Spikes
from ..claim import claim, demand
from ..subject import Subject, refusal


@claim("recording")
def records_every_population(subject: Subject) -> None:
    """A recording has the spikes of every layer, for every sample, in the window that was asked for and the dtype of the network.

    Gradients of hidden layers are taken at the spikes measured there.
    """
    for dtype in (torch.float32, torch.float64):
        net, spikes = subject.network(dtype), subject.usual
        _, recording = subject.measure(net, spikes)
        demand(isinstance(recording, Recording), f"run answered {type(recording).__name__}; expected a Recording")
        sizes = [population.n_units for population in recording.populations]
        expected = [lif.n for _, lif in net.blocks]
        demand(sizes == expected, f"populations of {sizes} neurons; expected {expected}")
        for k, population in enumerate(recording.populations):
            demand(len(population) == len(spikes), f"population {k}: {len(population)} samples of {len(spikes)}")
            demand(population.times.dtype == dtype, f"population {k}: times are {population.times.dtype}, not {dtype}")
            demand(population.t_stop == spikes.t_stop, f"population {k}: a window of {population.t_stop} s")
        demand(int(recording.output.counts.sum()) > 0, "the output never fired, although it is driven strongly")


@claim("ordering")
def orders_events_in_time(subject: Subject) -> None:
    """Events of a sample are sorted by time, lie in the window, are of neurons that exist, and are padded with infinity.

    All that reads recordings relies on it; nothing sorts them again.
    """
    _, recording = subject.measure(subject.network(), subject.usual)
    for k, p in enumerate(recording.populations):
        error = refusal(lambda p=p: Spikes(p.times, p.units, p.counts, p.n_units, p.t_stop), InputError)  # type: ignore[misc]
        demand(error is None, f"population {k}: {error}")
        times = torch.where(p.valid, 0.0, p.times)
        demand(bool(((times == 0) | torch.isinf(times)).all()), f"population {k}: padding that is not infinite")


@claim("recording")
def names_where_it_ran(subject: Subject) -> None:
    """A recording names the device, its firmware, and what ran: an emulator, a simulation of the circuit, or hardware.

    Nobody is to take emulated figures for measured ones.
    """
    with subject.device() as device:
        device.load(subject.compile(subject.network(), device))
        spikes = subject.usual
        recording = device.run(spikes)
        for name in ("device_id", "firmware", "ran_on"):
            said, is_ = getattr(recording, name), getattr(device, name)
            demand(said == is_ and said, f"{name} of the recording is {said!r}, of the device {is_!r}")
        allowed = [kind for kind in get_args(RanOn) if kind != "simulator"]
        demand(recording.ran_on in allowed, f"ran_on = {recording.ran_on!r}; allowed: {', '.join(allowed)}")
        demand(recording.wall_time > 0, f"wall_time = {recording.wall_time} s; it took longer")
        same = recording.inputs is not None and torch.equal(recording.inputs.times, spikes.times)
        demand(same, "the recording's inputs are not those that were sent")


@claim("recording")
def repeats_follow_each_other(subject: Subject) -> None:
    """`repeats=3` runs the batch three times; the recording holds all of it, first repeat first.

    Noise is averaged over repeats, which `repetitions` cuts apart again.
    """
    spikes = subject.usual
    _, recording = subject.measure(subject.network(), spikes, repeats=3)
    found, expected = len(recording.output), 3 * len(spikes)
    demand(found == expected, f"{found} samples; expected {expected}")
    parts = repetitions(recording, 3)
    for number, part in enumerate(parts):
        demand(part.inputs is not None, "a repeat without its inputs")
        same = part.inputs is not None and torch.equal(part.inputs.times, spikes.times)
        demand(same, f"repeat {number}: other inputs")
        fired = part.output.counts
        silent = int(fired[-1])
        demand(silent == 0, f"repeat {number}: {silent} output spikes in its last sample, which has no input event")
        demand(bool(fired[:2].any()), f"repeat {number}: no output spike in its first samples, which drive it strongly")
