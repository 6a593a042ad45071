"""State of a training between epochs, and its way into checkpoints and back; the same in every training loop."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from ..checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from ..errors import CheckpointError, InputError
from ..ranks import ALONE, Ranks
from .evaluate import Evaluation
from .options import Model, without_address
from .weights import Average, Best, Weights, named_values

_log = logging.getLogger(__name__)


class AnyEpoch(Protocol):
    """What a run has to know of an epoch: a frozen dataclass of plain values."""

    @property
    def number(self) -> int: ...

    @property
    def validation(self) -> Evaluation: ...


E = TypeVar("E", bound=AnyEpoch)


class Run(ABC, Generic[E]):
    """A training between its epochs.

    Parameters
    ----------
    net : network that is trained
    weights : of it, what the optimiser moves
    optimizer
    options : dict
        What has to be the same where the run is resumed, as plain values.
    folder : path or None
        Where a checkpoint is saved after every epoch.
    averaging : float
        Decay a step of the average that is validated and kept; 0: the weights themselves are.
    ranks : processes that train together; the first saves, and the others stand where it does
    """

    #: Name of the loop, as errors and checkpoints have it.
    loop = "fit"

    def __init__(
        self,
        net: Model,
        weights: Weights,
        optimizer: torch.optim.Optimizer,
        options: dict[str, Any],
        folder: Path | str | None,
        averaging: float,
        ranks: Ranks = ALONE,
    ) -> None:
        self.net, self.weights, self.optimizer, self.options, self.ranks = net, weights, optimizer, options, ranks
        self.folder = folder if ranks.first else None
        self.average = Average(weights, averaging) if averaging else None
        self.best = Best()
        self.history: list[E] = []

    @property
    def finished(self) -> int:
        """Epochs that are done."""
        return len(self.history)

    def moved(self) -> None:
        """The weights have taken a step."""
        if self.average is not None:
            self.average.update()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """The network with the weights that are validated and kept, the average, inside; with its own again after."""
        if self.average is None:
            yield
            return
        with self.weights.holding(self.average.values):
            yield

    def add(self, epoch: E) -> None:
        """Take a finished epoch, and save it where a folder is named."""
        self.history.append(epoch)
        with self.kept():
            self.best.offer(epoch.number, epoch.validation, self.net)
        self.save()

    def save(self) -> None:
        """Save a checkpoint where a folder is named."""
        if self.folder is not None:
            save_checkpoint(self.folder, self.net, self.state(), step=self.finished)

    def restore_best(self) -> Evaluation:
        """Put the best weights into the network; their validation."""
        if self.best.validation is None:
            raise InputError("no epoch was run")
        self.best.restore(self.net)
        return self.best.validation

    # -- checkpoints --------------------------------------------------------------------------

    def begin_with_others(self, resume: bool, epochs: int) -> None:
        """Begin, or go on from the newest checkpoint: the first rank by :meth:`resumed`, the others where it stands then."""
        if self.ranks.first:
            self.resumed(resume, epochs)
        if self.ranks.size == 1:
            return
        state = self.ranks.from_first(lambda: self.state() if self.finished else {"torch_rng": torch.get_rng_state()})
        if self.ranks.first:
            pass
        elif "history" in state:
            self.take(state)
        else:
            torch.set_rng_state(state["torch_rng"])
        self.same()

    def same(self) -> None:
        """Put the first rank's weights into the others: machines that round differently would drift apart."""
        self.ranks.put_same([*self.net.state_dict().values(), *(() if self.average is None else self.average.values)])

    def resumed(self, resume: bool, epochs: int) -> bool:
        """Go on from the newest checkpoint; false where the run starts anew. Refuses to write over one unasked."""
        if self.folder is None:
            if resume:
                raise InputError("resume=True without checkpoint_dir; name the folder that holds the checkpoints")
            return False
        if not resume:
            existing = newest_manifest(self.folder)
            if existing is not None:
                raise CheckpointError(f"{existing} is there already; pass resume=True, or name another folder")
            return False
        checkpoint = load_checkpoint(self.folder, self.net)
        if checkpoint is None:
            return False
        try:
            self._check_same(checkpoint.state)
            found = len(checkpoint.state["history"])
            if found > epochs:
                raise CheckpointError(
                    f"{checkpoint.path} holds {found} epochs, this run asks for {epochs}; pass epochs={found} or more, "
                    "or name another folder"
                )
            self.take(checkpoint.state)
        except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
            raise CheckpointError(
                f"{checkpoint.path} is no checkpoint of {self.loop} ({type(error).__name__}: {error}); name another folder"
            ) from error
        _log.info("resumed %s after epoch %d", checkpoint.path, self.finished)
        return True

    def state(self) -> dict[str, Any]:
        """All that a checkpoint holds; a loop adds its own."""
        best = self.best
        return {
            "loop": self.loop,
            "options": self.options,
            "network": dict(self.net.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "average": None
            if self.average is None
            else dict(zip(self.weights.named, self.average.values, strict=True)),
            "best": {"epoch": best.epoch, "weights": best.weights},
            "best_validation": None if best.validation is None else asdict(best.validation),
            "torch_rng": torch.get_rng_state(),
            "history": [asdict(epoch) for epoch in self.history],  # type: ignore[call-overload]
        }

    def take(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` stands."""
        history = [self.epoch_of(entry) for entry in state["history"]]
        average = None if self.average is None else named_values(self.weights, state["average"])
        best = self._best_of(state, history)
        self.net.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        _lay_out(self.optimizer)
        if self.average is not None and average is not None:
            self.average.values = [
                torch.empty_like(own).copy_(new) for own, new in zip(self.average.values, average, strict=True)
            ]
        if state.get("torch_rng") is not None:  # version 0.1.0's finetune kept none
            torch.set_rng_state(state["torch_rng"])
        self.history, self.best = history, best

    @abstractmethod
    def epoch_of(self, entry: dict[str, Any]) -> E:
        """An epoch from its plain values."""

    def _best_of(self, state: dict[str, Any], history: list[E]) -> Best:
        saved, epoch = state["best"]["weights"], int(state["best"]["epoch"])
        if not isinstance(saved, Mapping):  # of version 0.1.0's finetune: the trained weights alone
            saved = {
                **state["network"],
                **dict(zip(self.weights.named, named_values(self.weights, saved), strict=True)),
            }
        held = state.get("best_validation")
        validation = history[epoch - 1].validation if held is None else Evaluation(**held)
        return Best(epoch, validation, dict(saved))

    def _check_same(self, state: dict[str, Any]) -> None:
        """Refuse a checkpoint of another loop, or of other options; those that it does not name are not compared."""
        if state.get("loop", self.loop) != self.loop:
            raise CheckpointError(f"the checkpoint is one of {state['loop']}, this is {self.loop}; name another folder")
        then = state["options"]
        for name, value in self.options.items():
            if name in then and _plain(then[name]) != _plain(value):
                raise CheckpointError(
                    f"the checkpoint was made with {name} = {then[name]!r}, this run has {value!r}; "
                    "use the same options, or name another folder"
                )


def _lay_out(optimizer: torch.optim.Optimizer) -> None:
    """Give loaded moments the memory layout of their parameters, which fused optimisers take for granted.

    A checkpoint holds tensors row by row; the weights of :class:`~hwloop.network.Dense` lie column by column.
    """
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value).detach()


def _plain(value: Any) -> Any:
    return without_address(value) if isinstance(value, str) else value
