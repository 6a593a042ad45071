"""What a training loop holds between its steps: weights, averages, the best epoch, figures, and what it goes on from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.errors import CheckpointError, InputError
from hwloop.evaluation import Evaluation
from hwloop.mapping import LayerProgram
from hwloop.network import LIF, Dense, Network
from hwloop.record import Health, LayerHealth, Record
from hwloop.spikes import Spikes
from hwloop.training.checkpointed import Run
from hwloop.training.loop_figures import HEALTH_BATCHES, LoopEpoch, Tally
from hwloop.training.loop_state import Loop
from hwloop.training.weights import Average, Best, Weights, named_values, within


def network() -> Network:
    net = Network([Dense(2, 3), LIF(3, 1e-2, 5e-3)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.arange(6.0).reshape(3, 2))
    return net


def record(*counts: int) -> Record:
    """One output neuron of three that fires so often in each sample."""
    samples = [([0.1 * (k + 1) for k in range(n)], [1] * n) for n in counts]
    return Record((Spikes.from_events(samples, 3, 1.0, torch.float64),))


# -- weights --------------------------------------------------------------------------------------


def test_weights_are_named_as_in_the_network_and_others_by_their_place() -> None:
    net, other = network(), torch.zeros(2)
    weights = Weights(net, [other, net.blocks[0][0].weight])
    assert list(weights.named) == ["tensor 0", "layers.0.weight"]
    copies = weights.copies()
    copies[0] += 1
    assert other.tolist() == [0.0, 0.0]
    weights.put([np.array([1.0, 2.0]), torch.full((3, 2), 7.0)])
    assert (other.tolist(), net.blocks[0][0].weight.max().item()) == ([1.0, 2.0], 7.0)
    with pytest.raises(ValueError, match="zip"):
        weights.put([np.zeros(2)])


def test_what_is_held_for_a_while_is_taken_back_whatever_happens() -> None:
    tensor = torch.tensor([1.0, 2.0])
    weights = Weights(network(), [tensor])

    def fail() -> None:
        with weights.holding([torch.tensor([3.0, 4.0])]):
            assert tensor.tolist() == [3.0, 4.0]
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fail()
    assert tensor.tolist() == [1.0, 2.0]


def layer(max_code: int | None, scale: float = 0.5, gain: Any = None) -> LayerProgram:
    return LayerProgram(np.zeros((2, 2)), scale, max_code, np.arange(2), {}, gain=gain)


def test_weights_stay_within_what_codes_can_say_half_a_code_beyond_the_last() -> None:
    tensors = [torch.tensor([[-9.0, 1.0], [1.8, 9.0]]) for _ in range(3)]
    layers = (layer(3), layer(None), layer(3, gain=np.array([1.0, 2.0])))

    class Program:
        pass

    program = Program()
    program.layers = layers  # type: ignore[attr-defined]
    Weights(network(), tensors).limit(program)  # type: ignore[arg-type]
    assert tensors[0].tolist() == [[-1.75, 1.0], [1.75, 1.75]]
    assert tensors[1].tolist() == torch.tensor([[-9.0, 1.0], [1.8, 9.0]]).tolist()
    assert tensors[2].tolist() == [[-1.75, 1.0], [pytest.approx(1.8), 3.5]]
    assert within(torch.tensor([[2.0], [-2.0]]), 1.5).tolist() == [[1.5], [-1.5]]


def test_an_average_moves_by_its_share_and_begins_anew_where_asked() -> None:
    tensor = torch.tensor([1.0])
    average = Average(Weights(network(), [tensor]), 0.75)
    assert average.values[0].item() == 1.0
    tensor.fill_(5.0)
    assert average.values[0].item() == 1.0
    average.update()
    assert average.values[0].item() == 2.0
    average.restart()
    assert average.values[0].item() == 5.0


def test_the_best_epoch_keeps_its_weights_and_a_loss_that_is_none_ranks_last() -> None:
    net, best = network(), Best()
    best.restore(net)  # nothing yet
    assert (best.epoch, best.validation, best.weights) == (0, None, None)
    ranks = [
        Evaluation(0.5, 1, 0, math.nan),
        Evaluation(0.5, 1, 0),
        Evaluation(0.5, 1, 0, 9.0),
        Evaluation(0.4, 1, 0, 0.0),
    ]
    assert [best.offer(k + 1, one, net) for k, one in enumerate(ranks)] == [True, False, True, False]
    assert (best.epoch, best.validation) == (3, ranks[2])
    before = net.blocks[0][0].weight.detach().clone()
    with torch.no_grad():
        net.blocks[0][0].weight.zero_()
    best.restore(net)
    assert torch.equal(net.blocks[0][0].weight, before)


def test_saved_values_are_found_by_name_also_under_that_of_an_averaged_model_or_by_place() -> None:
    weights = Weights(network(), [torch.zeros(1), torch.zeros(1)])
    one, two = torch.ones(1), 2 * torch.ones(1)
    for saved in ({"tensor 1": two, "tensor 0": one}, {"module.tensor 0": one, "tensor 1": two}, [one, two]):
        assert [float(value) for value in named_values(weights, saved)] == [1.0, 2.0]
    with pytest.raises(ValueError, match="1 tensors for 2 weights"):
        named_values(weights, [one])


# -- figures --------------------------------------------------------------------------------------


class Ran:
    def __init__(self, missing: int, extra: int) -> None:
        self.found = missing, extra

    def difference(self) -> tuple[int, int]:
        return self.found


def healthy(used: int, floored: int) -> Record:
    layers = tuple(LayerHealth(part, floored, torch.zeros(3), 0) for part in (used, 2 * used))
    return replace(record(1), health=Health(layers, 0.1, "clip", (Ran(1, 2), Ran(3, 4))))


def test_figures_of_an_epoch_add_up_and_only_its_first_batches_are_compared_with_the_model() -> None:
    tally = Tally()
    tally.add(record(1))  # a rule without health
    assert (tally.batches, tally.spikes) == (1, 0)
    for _ in range(HEALTH_BATCHES):
        tally.add(healthy(10, 3))
    assert (HEALTH_BATCHES, tally.batches, tally.spikes, tally.floored) == (4, 5, 120, 24)
    assert (tally.compared, tally.missing, tally.extra) == (90, 12, 18)
    tally.loss, tally.right, tally.silent, tally.writes, tally.lost, tally.late = 12.0, 9, 7, 5, 4, 3
    validation = Evaluation(0.5, 2, 1)
    epoch = tally.epoch(8, 0.1, validation, 6, 2, 1.5)
    assert epoch == LoopEpoch(8, 0.1, 2.0, 9 / 12, 3, validation, epoch.health, 5, 4, 3, 1.5)
    assert vars(epoch.health) == {"spikes": 120, "below_floor": 0.2, "missing": 12 / 90, "extra": 18 / 90}
    once = Tally()
    once.spikes = once.floored = 1
    assert once.epoch(1, 0.1, validation, 1, 1, 0.0).health.below_floor == 1.0
    silent = Tally().epoch(1, 0.1, validation, 1, 1, 0.0).health
    assert vars(silent) == {"spikes": 0, "below_floor": 0.0, "missing": 0.0, "extra": 0.0}


# -- a run between its epochs ---------------------------------------------------------------------


@dataclass(frozen=True)
class Epoch:
    number: int
    validation: Evaluation


class Toy(Run[Epoch]):
    loop = "toy"

    def epoch_of(self, entry: dict[str, Any]) -> Epoch:
        return Epoch(entry["number"], Evaluation(**entry["validation"]))


def toy(folder: Path | None, averaging: float = 0.5, **options: Any) -> Toy:
    net = network()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    return Toy(net, Weights(net, [net.blocks[0][0].weight]), optimizer, options, folder, averaging)


def epoch(run: Toy, accuracy: float) -> None:
    """A step up by a tenth, and the epoch that it was."""
    run.net.blocks[0][0].weight.grad = -torch.ones_like(run.net.blocks[0][0].weight)  # type: ignore[union-attr]
    run.optimizer.step()
    run.moved()
    run.add(Epoch(run.finished + 1, Evaluation(accuracy, 4, 0)))


def test_a_run_keeps_the_average_as_its_best_and_goes_on_where_it_stood(tmp_path: Path) -> None:
    run = toy(tmp_path, lr=0.1)
    start = run.net.blocks[0][0].weight.detach().clone()  # type: ignore[union-attr]
    assert not run.resumed(False, 3)
    epoch(run, 0.75)
    epoch(run, 0.5)
    assert (run.finished, run.best.epoch) == (2, 1)
    assert run.best.weights is not None
    # after one step of a tenth, half of it
    torch.testing.assert_close(run.best.weights["layers.0.weight"], start + 0.05, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(run.net.blocks[0][0].weight.detach(), start + 0.2, rtol=1e-6, atol=1e-6)  # type: ignore[union-attr]
    torch.manual_seed(5)
    run.save()
    drawn = torch.rand(1)
    again = toy(tmp_path, lr=0.1)
    assert again.resumed(True, 2)
    assert torch.equal(torch.rand(1), drawn)
    assert (again.history, again.best.epoch, again.best.validation) == (run.history, 1, Evaluation(0.75, 4, 0))
    assert run.average is not None
    assert again.average is not None
    assert torch.equal(again.average.values[0], run.average.values[0])
    epoch(run, 0.25)
    epoch(again, 0.25)
    assert torch.equal(again.net.blocks[0][0].weight, run.net.blocks[0][0].weight)  # type: ignore[union-attr]
    assert again.restore_best() == Evaluation(0.75, 4, 0)
    torch.testing.assert_close(again.net.blocks[0][0].weight.detach(), start + 0.05, rtol=1e-6, atol=1e-6)  # type: ignore[union-attr]


def test_without_an_average_the_weights_themselves_are_kept() -> None:
    run = toy(None, averaging=0.0)
    assert run.average is None
    with pytest.raises(InputError, match="no epoch was run"):
        run.restore_best()
    with run.kept():
        assert run.net.blocks[0][0].weight[2, 1] == 5.0  # type: ignore[union-attr]
    epoch(run, 0.5)
    assert run.best.weights is not None
    assert run.best.weights["layers.0.weight"][2, 1].item() == pytest.approx(5.1)


def test_a_folder_is_needed_to_resume_and_not_written_over_unasked(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="resume=True without checkpoint_dir; name the folder that holds the checkpoints"
    ):
        toy(None).resumed(True, 1)
    assert not toy(None).resumed(False, 1)
    assert not toy(tmp_path).resumed(True, 1)  # nothing there yet
    epoch(toy(tmp_path), 0.5)
    with pytest.raises(CheckpointError, match="step-00000001.json is there already; pass resume=True, or name another"):
        toy(tmp_path).resumed(False, 1)


def test_a_run_is_not_resumed_with_fewer_epochs_or_other_options(tmp_path: Path) -> None:
    run = toy(tmp_path, lr=0.1, loss="<f at 0x7f1>")
    epoch(run, 0.5)
    epoch(run, 0.5)
    same = {"lr": 0.1, "loss": "<f at 0x2b3>"}
    assert toy(tmp_path, **same).resumed(True, 2)
    assert toy(tmp_path, **same, new="is not compared").resumed(True, 2)
    with pytest.raises(CheckpointError, match="holds 2 epochs, this run asks for 1; pass epochs=2 or more, or name"):
        toy(tmp_path, **same).resumed(True, 1)
    with pytest.raises(CheckpointError, match=r"made with lr = 0.1, this run has 0.2; use the same options, or name"):
        toy(tmp_path, lr=0.2).resumed(True, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.update(loop="fit"), "the checkpoint is one of fit, this is toy; name another folder"),
        (lambda state: state.pop("history"), r"is no checkpoint of toy \(KeyError: 'history'\); name another folder"),
        (lambda state: state.update(best=[]), r"is no checkpoint of toy \(TypeError: "),
        (lambda state: state.update(average=[]), r"is no checkpoint of toy \(ValueError: 0 tensors for 1 weights\)"),
        (lambda state: state.update(network={}), r"is no checkpoint of toy \(RuntimeError: "),
        (lambda state: state.update(best={"epoch": 9, "weights": {}}, best_validation=None), r"is no checkpoint of toy \(IndexError: "),
    ],
)  # fmt: skip
def test_a_state_of_another_kind_is_refused_and_changes_nothing(tmp_path: Path, change: Any, message: str) -> None:
    run = toy(tmp_path / "a")
    epoch(run, 0.5)
    loaded = load_checkpoint(tmp_path / "a", run.net)
    assert loaded is not None
    change(loaded.state)
    save_checkpoint(tmp_path / "b", run.net, loaded.state, step=1)
    other = toy(tmp_path / "b")
    with pytest.raises(CheckpointError, match=message):
        other.resumed(True, 1)
    assert (other.history, other.best.validation) == ([], None)


@pytest.mark.parametrize("averaged", [True, False])
def test_where_the_device_moved_the_best_begins_anew_however_good_it_was(averaged: bool) -> None:
    net, happened = network(), []
    best = Best(2, Evaluation(0.9, 4, 0), {"layers.0.weight": torch.zeros(3, 2, dtype=torch.float64)})

    def validated(data: Any, repeats: int) -> Evaluation:
        happened.append(f"validated {data} {repeats}")
        return Evaluation(0.5, 4, 0)

    run: Any = SimpleNamespace(
        net=net, best=best, finished=3, program="before", validated=validated,
        average=SimpleNamespace(restart=lambda: happened.append("restarted")) if averaged else None,
        load=lambda: happened.append(f"loaded on {run.program}"), save=lambda: happened.append("saved"),
    )  # fmt: skip
    Loop.move(run, "trimmed anew", "data", 2)  # type: ignore[arg-type]
    assert happened == ["restarted"] * averaged + ["loaded on trimmed anew", "validated data 2", "saved"]
    assert (best.epoch, best.validation) == (3, Evaluation(0.5, 4, 0))
    assert best.weights is not None
    assert torch.equal(best.weights["layers.0.weight"], net.blocks[0][0].weight)  # type: ignore[union-attr]
