"""Which program ran."""

from __future__ import annotations

import numpy as np

from ..claim import claim, demand
from ..subject import STRONG, Subject
from .weight_cells import one_by_one


@claim("digests")
def names_the_program_that_ran(subject: Subject) -> None:
    """Every recording names the digest of the program that was loaded when it ran, and its spikes are of that program.

    Two programs are loaded in turn: results are told apart by their digest.
    """
    n_in, n_out = subject.inputs(2), subject.neurons(4)
    on = np.full((n_out, n_in), STRONG)
    off = np.where(np.arange(n_in) == 0, -STRONG, STRONG / 1000) * np.ones((n_out, 1))
    with subject.device() as device:
        programs = [subject.compile(subject.layer(weight), device) for weight in (on, off)]
        demand(programs[0].digest != programs[1].digest, "programs of other weights have one digest")
        for turn in (0, 1, 0):
            device.load(programs[turn])
            recording = device.run(one_by_one(subject, n_in))
            named, loaded = recording.program_digest, programs[turn].digest
            demand(named == loaded, f"the recording names program {named[:12]}; loaded was {loaded[:12]}")
            fired = int(recording.output.counts.sum())
            demand((fired > 0) == (turn == 0), f"{fired} spikes: not those of the program that the recording names")
