"""Commands as one of several processes: ``hwloop train --distributed``, and the refusal of all others under torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError

if TYPE_CHECKING:
    from ..experiment import Experiment
    from ..ranks import Ranks


def others() -> int:
    """Processes that torchrun started beside this one."""
    size = os.environ.get("WORLD_SIZE", "")
    return int(size) - 1 if "TORCHELASTIC_RUN_ID" in os.environ and size.isdecimal() else 0


def helps(distributed: bool) -> bool:
    """Whether this process is not the first of several, and leaves it to that one to say how far they are."""
    return distributed and os.environ.get("RANK", "0") != "0"


def refuse_torchrun(command: str) -> None:
    """Raise :class:`OptionError` where torchrun started ``command`` several times: each would do the same work."""
    if count := others():
        what = "drives one device" if command == "finetune" else "runs in one process"
        remedy = "add --distributed" if command == "train" else f"start it without torchrun: hwloop {command} ..."
        raise OptionError(f"torchrun started `hwloop {command}` {count + 1} times, and it {what}; {remedy}")


@contextmanager
def ranks_of(distributed: bool, deadline: float | None, path: Path) -> Iterator[Ranks]:
    """The ranks of a run into ``path``; one process alone unless ``distributed``."""
    from ..ranks import ALONE, DEADLINE, joined

    if not distributed:
        if deadline is not None:
            raise OptionError(f"--deadline {deadline:g} without --distributed; leave it out, or add --distributed")
        yield ALONE
        return
    with joined(DEADLINE if deadline is None else deadline) as ranks:
        ranks.remedy = (
            f"{path} keeps the last finished epoch: go on with the same command and --resume, with any number of processes, or "
            "without torchrun and --distributed"
        )
        with ranks.ending_on_sigterm():
            yield ranks


def help_first(experiment: Experiment, ranks: Ranks) -> None:
    """Train beside the first of ``ranks``, which writes what comes out."""
    from ..training import fit

    task, net, loss = experiment.build_task(), experiment.build_network(), experiment.build_loss()
    fit(net, task, loss, ranks=ranks, **experiment.fit_options())
