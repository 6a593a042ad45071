"""What a device refuses, and stays usable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...device.registry import Device
from ...errors import InputError, TargetError
from ...mapping import Program
from ..claim import claim, demand, skip
from ..subject import Subject, refusal


def _foreign(program: Program) -> Program:
    """``program`` as if compiled for another target."""
    return replace(program, capabilities=replace(program.capabilities, name="another target"))


def _loaded(subject: Subject, device: Device) -> Program:
    program = subject.compile(subject.network(), device)
    device.load(program)
    return program


@claim("refusals")
def refuses_to_run_without_a_program(subject: Subject) -> None:
    """A run before any load is a TargetError: there is nothing whose spikes could be returned."""
    with subject.device() as device:
        found = refusal(lambda: device.run(subject.usual), TargetError)
    demand(found, "it ran although nothing was loaded")


@claim("refusals")
def refuses_everything_once_closed(subject: Subject) -> None:
    """A closed device refuses load, run and `with`, as a TargetError; closing it twice is allowed.

    It may be another process's by then.
    """
    with subject.device() as device:
        program = _loaded(subject, device)
        device.close()
        for name, action in (
            ("load", lambda: device.load(program)), ("run", lambda: device.run(subject.usual)), ("with", device.__enter__),
        ):  # fmt: skip
            demand(refusal(action, TargetError), f"{name} on a closed device is not refused")
        device.close()


@claim("refusals")
def refuses_spikes_of_another_width(subject: Subject) -> None:
    """Spikes of more or fewer units than the program has inputs are refused, not cut or filled up."""
    with subject.device() as device:
        n = _loaded(subject, device).n_in
        for other in (n - 1, n + 1):
            if other < 1:
                continue
            spikes = subject.spikes([([1.0], [0])], other)
            found = refusal(lambda spikes=spikes: device.run(spikes), (TargetError, InputError))  # type: ignore[misc]
            demand(found, f"spikes of {other} units ran on a program of {n} inputs")


@claim("refusals")
def refuses_a_program_for_another_target(subject: Subject) -> None:
    """A program that was compiled for other limits is a TargetError: its codes mean something else here."""
    with subject.device() as device:
        foreign = _foreign(subject.compile(subject.network(), device))
        demand(refusal(lambda: device.load(foreign), TargetError), "a program for another target was loaded")


@claim("refusals")
def refuses_senseless_repeats(subject: Subject) -> None:
    """`repeats` of 0, -1 or 1.5 is an InputError: there is no such number of runs to average over."""
    with subject.device() as device:
        _loaded(subject, device)
        for repeats in (0, -1, 1.5):
            found = refusal(lambda repeats=repeats: device.run(subject.usual, repeats=repeats), InputError)  # type: ignore[misc]
            demand(found, f"repeats = {repeats} ran")


@claim("refusals")
def refuses_more_events_than_it_takes(subject: Subject) -> None:
    """A sample of more input events than `max_events` is a TargetError before anything runs; none is left out."""
    limit = subject.limits.max_events
    if limit is None:
        skip("no limit on input events")
    with subject.device() as device:
        n = _loaded(subject, device).n_in
        times = np.linspace(0.0, 11.0, limit + 1)
        many = subject.spikes([(times, np.zeros(limit + 1, dtype=np.int64))], n)
        demand(refusal(lambda: device.run(many), TargetError), f"{limit + 1} events ran; the limit is {limit}")


@claim("refusals")
def is_usable_after_a_refusal(subject: Subject) -> None:
    """After a refused load the device holds what it held, and runs it."""
    with subject.device() as device:
        program = _loaded(subject, device)
        refusal(lambda: device.load(_foreign(program)), TargetError)
        recording = device.run(subject.usual)
    named = recording.program_digest
    demand(named == program.digest, f"after a refused load it ran program {named[:12]}, not {program.digest[:12]}")
