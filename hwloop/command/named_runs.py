"""What the options of commands name: experiments, runs, and folders beside them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..experiment import Experiment
from . import data_provenance
from .folder import Trained, load_trained, stored_experiment


def experiment_of(name: str | None, resumed: Path | None) -> Experiment:
    """The experiment called ``name``; without a name that of the run in ``resumed``, else Yin-Yang.

    Raises :class:`OptionError` where there is nothing to resume: an experiment that nobody named is not begun there.
    """
    if name is None and resumed is not None:
        if (stored := stored_experiment(resumed)) is not None:
            return stored
        raise OptionError(f"{resumed} holds no run to resume; check --out, or name the experiment to begin it with")
    return Experiment.load(name or "yin-yang")


def with_options(experiment: Experiment, seed: int | None, data: str | None, changes: dict[str, Any]) -> Experiment:
    """``experiment`` with ``--seed`` and ``--data`` where given, and ``changes`` to its sections."""
    said = dict(changes)
    if seed is not None:
        said["seed"] = seed
    if data is not None:
        # absolute: the run may be used from another folder
        said["task"] = {"data": str(Path(data).expanduser().absolute())}
    return experiment.changed(**said) if said else experiment


def load(
    path: Path,
    experiment: str | None,
    data: str | None,
    seed: int | None = None,
    changes: dict[str, Any] | None = None,
) -> Trained:
    """The network in ``path`` and its experiment, with options as in :func:`with_options`."""
    trained = load_trained(path, None if experiment is None else Experiment.load(experiment))
    chosen = with_options(trained.experiment, seed, data, changes or {})
    data_provenance.note_changed(path if path.is_dir() else path.parent, chosen)
    return replace(trained, experiment=chosen)


def beside(run: Path, target: str) -> Path:
    """A folder beside ``run`` for what was fine-tuned on ``target``."""
    run = run.resolve()
    return run.with_name(f"{run.name}-{re.sub('[^A-Za-z0-9]+', '-', target).strip('-')}")
