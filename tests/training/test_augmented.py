"""Images that have become spikes are augmented as images: decoded, changed, encoded again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import hwloop as hl
from hwloop import datasets, encoding, rules
from hwloop.errors import InputError
from hwloop.training.augmented import augmented

STIMULUS = datasets.Stimulus(1e-3, 11e-3, 40e-3)
BIASED = replace(STIMULUS, bias_time=2e-3)


def _pixels(n: int = 6, side: int = 8) -> torch.Tensor:
    found = torch.rand(n, side * side, generator=torch.Generator().manual_seed(0))
    return torch.where(found < 0.4, 0.0, found)  # black ones too


def _spikes(pixels: torch.Tensor, how: datasets.Stimulus = STIMULUS) -> hl.Spikes:
    return encoding.intensity_to_latency(pixels, how.t_early, how.t_late, how.t_stop, bias_time=how.bias_time)


def _task(how: datasets.Stimulus = STIMULUS, known: bool = True) -> hl.Task:
    data = datasets.Dataset(_spikes(_pixels(), how), torch.tensor([0, 1, 0, 1, 0, 1]))
    return hl.Task("squares", data, data, data, data.inputs.n_units, 2, how.t_stop, how if known else None)


def _half(batch: rules.Values, generator: torch.Generator) -> rules.Values:
    """Every pixel half as bright, and the first one white."""
    values = batch.values / 2
    values[:, 0] = 1.0
    return replace(batch, values=values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_way_back_finds_the_pixels(dtype: torch.dtype) -> None:
    pixels = _pixels().to(dtype)
    found = encoding.latency_to_intensity(_spikes(pixels), STIMULUS.t_early, STIMULUS.t_late)
    assert found.dtype == dtype
    assert torch.allclose(found, pixels, atol=1e-6 if dtype == torch.float32 else 1e-12)
    assert torch.equal(found == 0, pixels == 0)


@pytest.mark.parametrize("how", [STIMULUS, BIASED])
def test_spikes_are_those_of_the_changed_pixels_and_a_bias_stays(how: datasets.Stimulus) -> None:
    pixels, generator = _pixels(), torch.Generator()
    found = augmented(_spikes(pixels, how), _half, generator, how)
    wanted = pixels / 2
    wanted[:, 0] = 1.0
    assert isinstance(found, hl.Spikes)
    assert torch.allclose(found.first_times(), _spikes(wanted, how).first_times(), atol=1e-8)


def test_training_sees_what_the_augmentation_made_and_validation_does_not() -> None:
    seen: list[torch.Tensor] = []

    def forward(net: hl.Network, inputs: hl.Spikes) -> hl.Record:
        seen.append(inputs.first_times()[:, 0])
        return net(inputs)

    net = hl.Network([hl.Dense(64, 2).init_normal_(0.5, 0.5), hl.LIF(2, 10e-3, 5e-3)])
    task = _task()
    loss = hl.losses.FirstSpike(1e-3)
    hl.fit(net, task, loss, epochs=1, batch_size=3, augment=_half, forward=forward, progress=False)
    assert torch.allclose(torch.cat(seen), torch.tensor(STIMULUS.t_early))
    assert not torch.allclose(task.validation.inputs.first_times()[:, 0], torch.tensor(STIMULUS.t_early))


def test_it_draws_anew_in_every_epoch_and_goes_on_bit_for_bit(tmp_path: Path) -> None:
    task, options = _task(), {"batch_size": 3, "progress": False, "augment": rules.RandomAffine(1.0, 20.0, 0.1)}

    def network() -> hl.Network:
        return hl.Network(
            [hl.Dense(64, 2).init_normal_(0.3, 0.3, torch.Generator().manual_seed(1)), hl.LIF(2, 10e-3, 5e-3)]
        )

    loss, whole, pieces = hl.losses.FirstSpike(1e-3), network(), network()
    one = hl.fit(whole, task, loss, epochs=3, **options)
    assert len({epoch.loss for epoch in one.history}) == 3
    hl.fit(pieces, task, loss, epochs=1, checkpoint_dir=tmp_path, **options)
    again = hl.fit(pieces, task, loss, epochs=3, checkpoint_dir=tmp_path, resume=True, **options)
    assert [epoch.loss for epoch in again.history] == [epoch.loss for epoch in one.history]
    for a, b in zip(whole.parameters(), pieces.parameters(), strict=True):
        assert torch.equal(a, b)


def test_spikes_that_are_not_known_to_be_images_are_refused_and_stating_it_works() -> None:
    net = hl.Network([hl.Dense(64, 2), hl.LIF(2, 10e-3, 5e-3)])
    with pytest.raises(
        InputError, match=r"squares has spikes that are not known to be images.*images=datasets.Stimulus"
    ):
        hl.fit(net, _task(known=False), hl.losses.FirstSpike(1e-3), epochs=1, augment=_half, progress=False)
    stated = replace(_task(known=False), images=STIMULUS)
    hl.fit(net, stated, hl.losses.FirstSpike(1e-3), epochs=1, augment=_half, progress=False)


def test_the_way_back_refuses_times_that_are_no_code() -> None:
    spikes = _spikes(_pixels())
    with pytest.raises(InputError, match="t_early = 0.011 s, t_late = 0.001 s; allowed"):
        encoding.latency_to_intensity(spikes, 11e-3, 1e-3)
    with pytest.raises(InputError, match="n_units = 65; allowed: 1..64"):
        encoding.latency_to_intensity(spikes, 1e-3, 11e-3, n_units=65)
    with pytest.raises(InputError, match=r"sample 0, unit \d+: first spike at .* s; allowed: 0.001..0.005 s"):
        encoding.latency_to_intensity(spikes, 1e-3, 5e-3)


def test_image_tasks_say_how_their_pixels_spike() -> None:
    task = datasets.subset(datasets.mnist(size=8, stimulus=BIASED), 4, 4, 4)
    assert task.images == BIASED
    assert datasets.yin_yang(sizes=(4, 4, 4)).images is None
