"""Waits have an end."""

from __future__ import annotations

import threading
import time

from ...errors import TargetError
from ...mapping import Program
from ..claim import claim, demand
from ..subject import Subject

#: A deadline (s) that no line and no process can keep, and how long the error may take to come (s): what is ended takes its time.
IMPOSSIBLE, PATIENCE = 1e-6, 60.0


@claim("deadlines")
def gives_up_at_its_deadline(subject: Subject) -> None:
    """Opened with a deadline that nothing can keep, the target raises a TargetError, and soon; with its own one it then works.

    A loop that runs for days must not hang on a cable that was pulled.
    """
    target, net, spikes = subject.hurried, subject.network(), subject.usual
    demand(target.deadline > 0, f"deadline = {target.deadline!r} s; allowed: > 0")
    outcome: list[BaseException | None] = []

    def work(program: Program) -> None:
        try:
            with target.with_deadline(IMPOSSIBLE).open() as device:
                device.load(program)
                device.run(spikes)
            outcome.append(None)
        except BaseException as error:  # whatever it is belongs to the claim
            outcome.append(error)

    with subject.device() as device:
        program = subject.compile(net, device)
    begun = time.monotonic()
    thread = threading.Thread(target=work, args=(program,), name="hwloop conformance", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    took = time.monotonic() - begun
    demand(outcome, f"nothing came back within {PATIENCE:g} s with a deadline of {IMPOSSIBLE:g} s")
    error = outcome[0]
    demand(error is not None, f"it answered after {took:.3g} s with a deadline of {IMPOSSIBLE:g} s, and raised nothing")
    demand(
        isinstance(error, TargetError),
        f"with a deadline of {IMPOSSIBLE:g} s it raised {type(error).__name__}, no TargetError: {error}",
    )
    _, recording = subject.measure(net, spikes)
    demand(recording.output.counts.any(), "with its own deadline it then answers nothing")
