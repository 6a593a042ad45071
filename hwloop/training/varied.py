"""Training data as one epoch sees them: augmented and thinned, drawn anew every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..datasets import Stimulus
from ..encoding import thinned
from ..rules import Augment, Values
from ..spikes import Spikes
from .augmented import augmented
from .evaluate import Samples


class Varied:
    """The batches of ``data`` in epoch ``number``: first ``augment``, then a ``dropout`` share of the events left out.

    Drawn for the whole batch, from ``seed`` and ``number`` alone: the same whoever runs how much of it.
    """

    def __init__(
        self,
        data: Samples,
        augment: Augment | None,
        dropout: float,
        seed: int,
        number: int,
        images: Stimulus | None,
    ) -> None:
        self._data, self._augment, self._dropout, self._images = data, augment, dropout, images
        self._generator = torch.Generator()
        self._generator.manual_seed(int(np.random.default_rng([seed, number, 1]).integers(2**62)))

    def __len__(self) -> int:
        return len(self._data)

    def batches(self, size: int, generator: np.random.Generator | None = None) -> Iterator[tuple[Any, Tensor]]:
        """See :class:`Samples`."""
        for inputs, labels in self._data.batches(size, generator):
            yield self._varied(inputs), labels

    def _varied(self, inputs: Spikes | Values) -> Spikes | Values:
        seen = inputs if self._augment is None else augmented(inputs, self._augment, self._generator, self._images)
        if not self._dropout:
            return seen
        if isinstance(seen, Spikes):
            return thinned(seen, self._dropout, self._generator)
        return seen.dropped(self._dropout, self._generator)
