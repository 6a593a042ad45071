"""Images moved, turned and scaled for training."""

from __future__ import annotations

import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import InputError


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _image(side: int = 28) -> rules.Values:
    y, x = torch.meshgrid(torch.arange(side) - side / 2 + 0.5, torch.arange(side) - side / 2 + 0.5, indexing="ij")
    blob = torch.exp(-((x - 4) ** 2 / 8 + (y + 2) ** 2 / 18))
    return rules.Values(blob.reshape(1, -1).repeat(200, 1), torch.arange(200))


def _centres(values: torch.Tensor, side: int = 28) -> torch.Tensor:
    images = values.reshape(len(values), side, side)
    at = torch.arange(side) - side / 2 + 0.5
    total = images.sum((1, 2))
    return torch.stack([(images.sum(1) * at).sum(1) / total, (images.sum(2) * at).sum(1) / total], 1)


def test_without_any_amount_an_image_stays_what_it_is() -> None:
    batch = _image()
    moved = rules.RandomAffine(0, 0, 0)(batch, _generator())
    assert torch.allclose(moved.values, batch.values, atol=1e-6)
    assert moved.keys is batch.keys


def test_a_shift_moves_the_centre_by_up_to_that_many_pixels_and_no_more() -> None:
    batch = _image()
    away = _centres(rules.RandomAffine(2.0, 0, 0)(batch, _generator()).values) - _centres(batch.values)
    assert 1.8 < away.abs().max() < 2.02
    assert away.mean(0).abs().max() < 0.3  # uniform over both directions: a deviation of 1.15 / sqrt(200)


def test_turning_and_scaling_move_the_centre_as_plane_geometry_says() -> None:
    batch = _image()
    before = _centres(batch.values)[0]
    turned = _centres(rules.RandomAffine(0, 30.0, 0)(batch, _generator()).values)
    angle = torch.atan2(turned[:, 1], turned[:, 0]) - torch.atan2(before[1], before[0])
    assert torch.allclose(turned.norm(dim=1), before.norm().expand(200), rtol=0.02)
    assert 27 < torch.rad2deg(angle).abs().max() < 30.5
    scaled = _centres(rules.RandomAffine(0, 0, 0.2)(batch, _generator()).values).norm(dim=1) / before.norm()
    assert 0.79 < scaled.min() < 0.83
    assert 1.17 < scaled.max() < 1.21


def test_bytes_become_shares_and_the_generator_decides() -> None:
    batch = rules.Values(torch.full((3, 64), 255, dtype=torch.uint8), torch.arange(3))
    first, again = (rules.RandomAffine()(batch, _generator()).values for _ in range(2))
    assert first.max() <= 1.0
    assert torch.equal(first, again)
    assert not torch.equal(first, rules.RandomAffine()(batch, _generator(1)).values)


def test_an_elastic_deformation_is_the_smoothed_field_of_its_sigma_and_strength() -> None:
    batch = _image()
    assert torch.allclose(rules.ElasticDeformation(0.0)(batch, _generator()).values, batch.values, atol=1e-6)
    field = rules.ElasticDeformation(34.0, 4.0)._field(200, 28, _generator(), torch.float64) * 14
    # in the middle, away from the border: variance of uniform noise, 1/3, times the sum of squares of the kernel
    middle = field[:, 13:15, 13:15].std()
    at = torch.arange(-12, 13, dtype=torch.float64)
    kernel = torch.exp(-(at**2) / 32) / torch.exp(-(at**2) / 32).sum()
    assert middle == pytest.approx(34.0 * float((kernel**2).sum()) / 3**0.5, rel=0.1)
    assert (field[:, 1:] - field[:, :-1]).std() < 0.3 * field.std()  # smooth: neighbours move alike


def test_an_elastic_deformation_moves_a_small_blob_by_the_field_where_it_is() -> None:
    batch = _image()
    deform = rules.ElasticDeformation(34.0, 6.0)
    away = _centres(deform(batch, _generator()).values) - _centres(batch.values)
    field = deform._field(200, 28, _generator(), torch.float32)[:, 11, 17] * 14  # the blob's place: x = +4, y = -2
    assert torch.corrcoef(torch.stack([away[:, 0], -field[:, 0]]))[0, 1] > 0.9
    assert torch.corrcoef(torch.stack([away[:, 1], -field[:, 1]]))[0, 1] > 0.9


@pytest.mark.parametrize("options", [{"alpha": -1.0}, {"alpha": float("nan")}, {"sigma": 0.0}, {"sigma": float("inf")}])
def test_strengths_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} = .*allowed"):
        rules.ElasticDeformation(**options)


@pytest.mark.parametrize("options", [{"shift": -1.0}, {"rotation": 200.0}, {"scale": 1.0}, {"shift": float("inf")}])
def test_amounts_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(options))} = .*allowed"):
        rules.RandomAffine(**options)


def test_values_that_are_no_image_and_tasks_of_spikes_are_refused() -> None:
    with pytest.raises(InputError, match="60 values a sample are no square image"):
        rules.RandomAffine()(rules.Values(torch.ones(2, 60), torch.arange(2)), _generator())
    task = hl.datasets.yin_yang(sizes=(20, 10, 10))
    net = hl.Network([hl.Dense(5, 3), hl.LIF(3, 10e-3, 5e-3)])
    with pytest.raises(InputError, match="augment changes pixels, and yin-yang has spikes"):
        hl.fit(net, task, hl.losses.FirstSpike(1e-3), augment=rules.RandomAffine(), epochs=1, progress=False)


def test_training_with_it_goes_on_from_a_checkpoint_bit_for_bit_and_refuses_another_augmentation(
    tmp_path: object,
) -> None:
    values, labels = torch.rand(60, 64, generator=_generator()), torch.arange(60) % 2
    part = rules.ValueSet(values, labels)
    task = rules.ValueTask("images", part, part, part, 64, 2)
    options = {"batch_size": 20, "progress": False, "augment": rules.RandomAffine(shift=1.0), "rule": "spikegrad"}

    def network() -> rules.StepNetwork:
        first = hl.Dense(64, 2).init_normal_(0.0, 0.2, _generator())
        return rules.StepNetwork([first, rules.SignedNeurons()], in_shape=64, steps=1)

    whole, parted = network(), network()
    loss = rules.ReadoutCrossEntropy()
    hl.fit(whole, task, loss, epochs=3, **options)
    hl.fit(parted, task, loss, epochs=1, checkpoint_dir=tmp_path, **options)
    hl.fit(parted, task, loss, epochs=3, checkpoint_dir=tmp_path, resume=True, **options)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parted.parameters(), strict=True))
    with pytest.raises(hl.errors.CheckpointError, match="augment"):
        hl.fit(network(), task, loss, epochs=3, checkpoint_dir=tmp_path, resume=True, **{**options, "augment": None})
