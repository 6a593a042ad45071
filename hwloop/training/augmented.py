"""Augmentation of training images, also of those that have become spikes: back to pixels, changed, encoded again."""

from __future__ import annotations

from typing import cast

import torch

from ..datasets import Stimulus, Task
from ..encoding import intensity_to_latency, latency_to_intensity
from ..errors import InputError
from ..rules import Augment, Values, ValueTask
from ..spikes import Spikes


def check_augment(augment: Augment | None, task: Task | ValueTask) -> None:
    """Refuse to augment spikes that are not known to be images."""
    if augment is None or isinstance(task, ValueTask) or task.images is not None:
        return
    raise InputError(
        f"augment changes pixels, and {task.name} has spikes that are not known to be images; allowed: tasks of values "
        "(rules.ValueTask), image tasks such as datasets.mnist(), or a task of intensity_to_latency that states its "
        "images=datasets.Stimulus(t_early, t_late, t_stop)"
    )


def augmented(
    inputs: Spikes | Values, augment: Augment, generator: torch.Generator, images: Stimulus | None
) -> Spikes | Values:
    """The batch ``inputs`` changed by ``augment``; of spikes, ``images`` says how pixels became first-spike times.

    Pixels that become brighter than black spike, those that become black fall silent; a bias spike stays.
    """
    if isinstance(inputs, Values) or images is None:
        return augment(cast(Values, inputs), generator)
    n = inputs.n_units - (images.bias_time is not None)
    pixels = latency_to_intensity(inputs, images.t_early, images.t_late, n_units=n)
    changed = augment(Values(pixels, torch.arange(len(inputs))), generator).real(pixels.dtype).clamp(0, 1)
    return intensity_to_latency(changed, images.t_early, images.t_late, images.t_stop, bias_time=images.bias_time)
