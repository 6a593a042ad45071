"""HM2-BP against the authors' own run: every spike, and the sign of every weight's first step."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import DataError
from hwloop.files import data_folder
from hwloop.rules.hm2bp import reference as reference
from hwloop.rules.hm2bp import step_simulation as hm2bp_step
from hwloop.rules.hm2bp.rule import HM2BP, LeakyNeurons, WeightDecay


@pytest.fixture(scope="module")
def golden() -> Path:
    try:
        return data_folder(None, "hm2bp_golden", "mnist/weights/*") / "mnist"
    except DataError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs the authors' reference run: {error}")


#: Steps of the reference run; its files count them from 1.
GOLDEN_STEPS = 450


def golden_raster(path: Path, n: int) -> np.ndarray:
    raster = np.zeros((GOLDEN_STEPS, n), np.uint8)
    for neuron, step in np.loadtxt(path, dtype=int):
        if neuron >= 0:
            raster[step - 1, neuron] = 1
    return raster


def golden_weights(path: Path) -> np.ndarray:
    weight = np.zeros((10, 400))
    for line in path.read_text().splitlines():
        _, source, target, value = line.split()
        weight[int(target.rsplit("_")[-1]), int(source.rsplit("_")[-1])] = float(value)
    return weight


def golden_run(folder: Path, part: str) -> tuple[rules.StepNetwork, rules.StepRecord, np.ndarray]:
    """Network, record of the hidden spikes of ``part`` (train: before the update, test: after it), reference outputs."""
    name = {"train": "o_weights_info.txt", "test": "o_weights_info_trained.txt"}[part]
    hidden = golden_raster(folder / f"spikes/Hidden_Response_Supv/{part}/5/hidden_0_spikes_0_5.dat", 400)
    output = golden_raster(folder / f"spikes/Readout_Response_Supv/{part}/5/readout_spikes_0_5.dat", 10)
    dense = hl.Dense(400, 10).double()
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(golden_weights(folder / "weights" / name)))
    net = rules.StepNetwork([dense, LeakyNeurons(5.0, lateral=-1.0)], in_shape=400, steps=GOLDEN_STEPS)
    given = torch.from_numpy(hidden)[None]
    spikes = hm2bp_step.population(net.stages[0], given)
    values = rules.Values(torch.zeros(1, 400), torch.zeros(1, dtype=torch.int64))
    record = rules.StepRecord((spikes,), spikes.sum(1).double(), values, 1e-3, traces={"inputs": given})
    return net, record, output


@pytest.mark.parametrize("part", ["train", "test"])
def test_no_spike_of_the_authors_run_is_missed_before_and_after_the_update(golden: Path, part: str) -> None:
    _, record, wanted = golden_run(golden, part)
    assert wanted.sum() == 35 or part == "test"
    assert record.rasters is not None
    assert int((record.rasters[0][0].numpy() != wanted).sum()) == 0


def golden_gradient(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Gradient, regulariser included, and the authors' first step."""
    net, record, _ = golden_run(folder, "train")
    attached = record.with_readout(record.readout.clone().requires_grad_())
    rules.ReadoutError(35.0, 5.0, margin=5.0)(net, attached, torch.tensor([5])).backward()  # type: ignore[no-untyped-call]
    found = HM2BP().gradients(net, record, attached.readout.grad)["layers.0.weight"]
    WeightDecay()(net, record, torch.tensor([5])).backward()  # type: ignore[no-untyped-call]
    weight = net.stages[0].connection.weight
    assert weight.grad is not None
    step = golden_weights(folder / "weights/o_weights_info_trained.txt") - weight.detach().numpy()
    return (found + weight.grad).numpy(), step


def test_the_first_step_agrees_in_sign_for_every_weight_with_a_gradient(golden: Path) -> None:
    gradient, step = golden_gradient(golden)
    large = np.abs(gradient) > 1e-3
    assert large.sum() > 3900
    assert int((np.sign(-gradient) != np.sign(step))[large].sum()) == 0


def test_where_the_first_step_falls_short_of_its_length_it_tells_the_gradient(golden: Path) -> None:
    gradient, step = golden_gradient(golden)
    # Adam's first step is lr g / (|g| + 1e-8): its lack is 1e-8 / |g|; files hold six digits, so it shows where |w| is
    # small: 6 of 4000 weights lack more than ten times that rounding
    weight = golden_weights(golden / "weights/o_weights_info.txt")
    lack = 1 - np.abs(step) / 1e-3
    rounding = 10.0 ** np.floor(np.log10(np.maximum(np.abs(weight), 1e-3))) * 1e-5 / 1e-3
    telling = lack > 10 * rounding
    assert telling.sum() >= 3
    np.testing.assert_allclose(np.abs(gradient[telling]), 1e-8 / lack[telling], rtol=0.1)
