"""The probe's sentences on counts that are known: which rule is named, of how many samples, by which names."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError
from hwloop.mapping import probe

NET = hl.Network([hl.Dense(1, 2), hl.LIF(2, 1e-2, 5e-3), hl.Dense(2, 2), hl.LIF(2, 1e-2, 5e-3)])
TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}
SPIKES = hl.Spikes.from_events([([0.0], [0])] * 201, 1, 0.02)
FINE, SILENT, LOUD = [30, 30], [0, 0], [70, 70]


def told(monkeypatch: pytest.MonkeyPatch, now: Any, by_rule: dict[str, Any]) -> tuple[list[str], list[int]]:
    """What is said of layers that fire 30 times a neuron in the model, ``now`` with the codes; and samples that ran."""
    samples: list[int] = []

    def counts(net: Any, spikes: hl.Spikes) -> list[torch.Tensor]:
        samples.append(len(spikes))
        return [torch.tensor(FINE)] * 2

    def quantised(net: Any, program: Any, spikes: hl.Spikes) -> list[torch.Tensor]:
        samples.append(len(spikes))
        return [torch.tensor(layer) for layer in (now if program is None else by_rule[program])]

    def compiling(rule: Any) -> Any:
        if rule not in by_rule:
            raise CompileError("a limit", "more", "a layer", "less")
        return rule

    monkeypatch.setattr(probe, "counts", counts)
    monkeypatch.setattr(probe, "quantised_counts", quantised)
    return probe.probe_losses(NET, None, SPIKES, compiling), samples  # type: ignore[arg-type]


SILENCED = "falls silent on the probe with the rounded weights: 0 spikes, 60 in the model"


def test_the_first_rule_by_which_no_layer_changes_is_named_after_the_last_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = {"max": (SILENT, SILENT), "quantile:0.99": (FINE, LOUD), "quantile:0.95": (FINE, [29, 20]), "quantile:0.9": (FINE, FINE)}  # fmt: skip
    found, samples = told(monkeypatch, (SILENT, LOUD), rules)
    assert found == [
        f"layer 1 (LIF) {SILENCED}",
        "layer 3 (LIF) saturates in 2 neurons on the probe with the rounded weights: 140 spikes, 60 in the model: "
        "compile with weight_scale='quantile:0.95' (tried: 60, 49 spikes)",
    ]
    assert samples == [200] * 5  # the model, what is compiled, three rules; never more than 200 samples


def test_where_no_rule_helps_or_none_compiles_training_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for rules in ({}, {"max": (SILENT, FINE), "quantile:0.5": (FINE, SILENT)}):
        found, _ = told(monkeypatch, (SILENT, FINE), rules)
        assert found == [f"layer 1 (LIF) {SILENCED}: no scale rule helps: fine-tune on the target"]


def test_where_nothing_changed_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, (FINE, [15, 60]), {}) == ([], [200, 200])


def test_layers_that_are_silent_in_the_model_are_told_by_the_name_that_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = hl.Network.graph(
        {"in": hl.Input(1), "first": hl.LIF(2, **TAUS), "last": hl.DeltaLIF(2, 1e-2)},
        [hl.Projection("in", "first", hl.Dense(1, 2)), hl.Projection("first", "last", hl.Dense(2, 2))],
    )
    monkeypatch.setattr(probe, "counts", lambda net, spikes: [torch.tensor([0, 1]), torch.tensor(SILENT)])
    said = " is silent on the probe, in the model already: train it, or raise the weights before it"
    assert probe.silent_layers(NET, SPIKES) == ["layer 3 (LIF)" + said]
    assert probe.silent_layers(graph, SPIKES) == ["population 'last' (DeltaLIF)" + said]


def test_counts_are_summed_over_samples_and_the_network_keeps_its_weights() -> None:
    net = hl.Network([hl.Dense(1, 2), hl.LIF(2, **TAUS)])
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.tensor([[6.0], [1.0]]))
    chip = hl.mapping.Capabilities("chip", 9, 9, weight_bits=3)  # type: ignore[attr-defined]
    program = hl.mapping.compile_network(net, chip, weight_scale=8.0)  # type: ignore[attr-defined]
    spikes = hl.Spikes.from_events([([0.0], [0]), ([0.0], [0]), ([], [])], 1, 0.1)
    assert [layer.tolist() for layer in probe.counts(net, spikes)] == [[2, 0]]
    # a weight of 6 is one code of 8, which fires more often
    more = hl.Network([hl.Dense(1, 2), hl.LIF(2, **TAUS)])
    with torch.no_grad():
        more.blocks[0][0].weight.copy_(torch.tensor([[8.0], [0.0]]))
    found = probe.quantised_counts(net, program, spikes)
    assert [layer.tolist() for layer in found] == [layer.tolist() for layer in probe.counts(more, spikes)]
    assert found[0].tolist() != [2, 0]
    assert net.blocks[0][0].weight.tolist() == [[6.0], [1.0]]
