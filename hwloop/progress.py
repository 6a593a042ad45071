"""Progress of long work: a bar on a terminal, silence in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class EpochProgress:
    """Progress of a run of epochs: a bar on a terminal, silence in a pipe.

    Parameters
    ----------
    epochs, samples : epochs of the run, samples of an epoch
    finished : epochs that were done before
    progress : True or False to decide, None to ask whether standard error is a terminal
    """

    def __init__(self, epochs: int, samples: int, finished: int = 0, progress: bool | None = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not (console.is_terminal if progress is None else progress),
        )
        self._epochs = epochs
        self._task = self._progress.add_task(
            "", total=epochs * samples, completed=finished * samples, epoch=f"{finished + 1}/{epochs}", figures=""
        )

    @contextmanager
    def shown(self) -> Iterator[EpochProgress]:
        """Show the bar while inside."""
        with self._progress:
            yield self

    def advance(self, samples: int) -> None:
        """Count trained samples."""
        self._progress.advance(self._task, samples)

    def epoch_done(self, number: int, figures: str) -> None:
        """Show the figures of epoch ``number``, and that the next one has begun."""
        following = min(number + 1, self._epochs)
        self._progress.update(self._task, epoch=f"{following}/{self._epochs}", figures=figures)
