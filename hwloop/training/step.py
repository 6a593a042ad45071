"""One step of training: from a record by way of its loss to checked, clipped gradients and a move of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import GradientError, InputError
from ..losses import Decision, Loss
from ..network import Network
from ..ranks import ALONE, Ranks
from ..record import Record
from .evaluate import Evaluation, Samples, Tally, batches_of, device_of, moved_to
from .options import Model, real
from .time_parameters import UNIT, Bounds, units

#: Where the spikes of a training step come from: ``forward(net, inputs) -> Record``.
Forward: TypeAlias = Callable[[Any, Any], Record]

#: Added to a norm that is divided by (torch's own clipping adds the same).
TINY = 1e-6


class Descent:
    """Gradients of a batch and the step that follows them; the same in every training loop.

    Parameters
    ----------
    net : network whose parameters get gradients
    loss : ``loss(net, record, labels) -> scalar``
    optimizer : moves the parameters that it holds
    clip_norm : float, > 0
        Largest norm of the gradient over all parameters of the optimiser.
    ranks : processes that share every batch; norm, clipping and whether a step is taken are those of the whole batch
    """

    def __init__(
        self,
        net: Model,
        loss: Loss,
        optimizer: torch.optim.Optimizer,
        clip_norm: float = math.inf,
        ranks: Ranks = ALONE,
    ) -> None:
        self._net, self._loss, self._optimizer, self._ranks = net, loss, optimizer, ranks
        self._clip_norm = real("clip_norm", clip_norm)
        names = {id(value): name for name, value in net.named_parameters()}
        held = [value for group in optimizer.param_groups for value in group["params"]]
        self._trained = [(names.get(id(value), "a parameter"), value) for value in held]
        self._all = list({id(value): value for value in [*net.parameters(), *held]}.values())
        self._moving = [value for value in self._all if value.requires_grad]
        self._units = units(optimizer)
        self._bounds = Bounds(net, max(self._units.values())) if self._units else None
        self._gradients: list[Tensor] = []
        self._norm: Tensor | None = None

    def differentiate(self, record: Record, labels: Tensor, batch: int, weight: float = 1.0) -> float:
        """Loss of ``record``; the gradients of the batch, of which it is the share ``weight``, are in the parameters, checked.

        Raises :class:`GradientError` naming the ``batch`` where loss or gradient is NaN or infinite; no weight has moved then.
        """
        value = self._loss(cast(Network, self._net), record, labels)
        if not isinstance(value, Tensor) or value.ndim:
            what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"the loss returned {what}; expected a scalar tensor, the mean over the batch")
        for parameter in self._all:
            parameter.grad = None
        if value.requires_grad:
            # the share goes in before: rules that pass errors back by spikes are not linear in their size
            (value if weight == 1 else weight * value).backward()  # type: ignore[no-untyped-call]
        found = float(value.item())
        self._check(self._ranks.mean_gradients(self._moving, found, weight), batch)
        return found

    def step(self) -> bool:
        """Clip the gradients and move the weights; without any gradient (every output silent) nothing moves."""
        if self._norm is None:
            return False
        if math.isfinite(self._clip_norm):
            share = self._clip_norm / (self._norm + TINY)
            if share.item() < 1:
                torch._foreach_mul_(self._gradients, share.to(self._gradients[0].dtype))
        self._optimizer.step()
        if self._bounds is not None:
            self._bounds.keep()
        return True

    def _check(self, loss: float, batch: int) -> None:
        self._gradients = [value.grad for _, value in self._trained if value.grad is not None]
        for _, value in self._trained if self._units else ():
            if value.grad is not None and id(value) in self._units:
                value.grad *= self._units[id(value)]  # towards the unit, as the weights' are towards 1
        self._norm = _norm(self._gradients) if self._gradients else None
        size = None if self._norm is None else self._norm.item()
        if math.isfinite(loss) and (size is None or math.isfinite(size)):
            if size == 0:  # every output silent: the optimiser's memory of earlier batches moves nothing either
                self._norm = None
            return
        bad = [n for n, p in self._trained if p.grad is not None and not bool(torch.isfinite(p.grad).all())]
        if not bad and math.isfinite(loss) and self._norm is not None:
            # finite numbers whose squares overflow
            self._norm = _norm([gradient.double() for gradient in self._gradients])
            return
        what = f"gradient of {bad[0]}" if bad else f"loss ({loss})"
        raise GradientError(f"batch {batch}: {what} is NaN or infinite; lower lr, or raise the floor of the derivative")


def _norm(gradients: list[Tensor]) -> Tensor:
    """Norm over all tensors, in one pass: NaN or infinite where one of their values is."""
    parts = torch._foreach_norm(gradients)
    return parts[0] if len(parts) == 1 else torch.linalg.vector_norm(torch.stack(parts))


def simulate_forward(net: Any, inputs: Any) -> Record:
    """The default ``forward``: simulate."""
    record: Record = net(inputs)
    return record


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate ``lr`` of every parameter group of ``optimizer``; that of times is one of their unit (:mod:`.time_parameters`)."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get(UNIT, 1.0)


def train_epoch(
    net: Model,
    data: Samples,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    *,
    batch_size: int,
    generator: np.random.Generator,
    decision: Decision = "first",
    forward: Forward = simulate_forward,
    clip_norm: float = math.inf,
    on_batch: Callable[[int], None] | None = None,
    on_step: Callable[[], None] | None = None,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """One pass over ``data`` in an order drawn from ``generator``, one optimiser step a batch.

    A batch whose loss passes no gradient (every output silent) makes no step. A gradient whose norm over all
    parameters exceeds ``clip_norm`` is scaled down to it: near grazing, ``dT ~ 1/D`` is unbounded. ``on_step`` is called
    after every batch, when the weights have moved, ``on_batch`` with its number of samples. ``ranks`` share every batch; all have
    to give the same ``data`` and ``generator``.

    Returns
    -------
    Evaluation of the training samples, each under the weights it was trained with.

    Raises
    ------
    GradientError
        The loss or a gradient is NaN or infinite, naming the batch; weights and optimiser are as before that batch.
    """
    descent, tally, device = Descent(net, loss, optimizer, clip_norm, ranks), Tally(), device_of(net)
    for number, batch in enumerate(batches_of(data, batch_size, generator)):
        with ranks.share(batch) as share:
            record = forward(net, moved_to(device, share.inputs))
            found = descent.differentiate(record, share.labels, number, share.weight)
        descent.step()
        if on_step is not None:
            on_step()
        tally.add(share.samples, record, share.labels, decision, found)
        if on_batch is not None:
            on_batch(len(batch[1]))
    return tally.evaluation(ranks)
