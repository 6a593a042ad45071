"""Loss that compiling causes is told, and the remedy that is named was tried and works."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.errors import CompileWarning
from hwloop.mapping import Capabilities, LayerProgram, compile_network, network_values
from hwloop.mapping.loss import LARGE_SHARE, far_delays, lost, ticks_off, weight_losses
from hwloop.mapping.probe import _change
from hwloop.network import LIF, Dense, Network
from hwloop_lava.device import LavaTarget

DT = 1e-4


@pytest.fixture(autouse=True)
def _no_filters() -> Iterator[None]:
    """Warnings here are looked at, not raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield


def outlier(value: float = 2000.0) -> Network:
    """384 weights of 1.2, one of them ``value``, and a second layer."""
    generator = torch.Generator().manual_seed(0)
    net = Network([
        Dense(12, 32), LIF(32, 10e-3, 5e-3),
        Dense(32, 7, generator=generator), LIF(7, 10e-3, 5e-3),
    ]).double()  # fmt: skip
    with torch.no_grad():
        net.blocks[0][0].weight.fill_(1.2)
        net.blocks[0][0].weight[0, 0] = value
    return net


def layer(codes: Any, scale: float = 1.0, max_code: int | None = 7) -> LayerProgram:
    values = np.asarray(codes)
    return LayerProgram(values, scale, max_code, np.arange(len(values)), {})


def told(found: list[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message) for warning in found if warning.category is CompileWarning]


def test_the_share_lost_is_that_of_an_average_neuron() -> None:
    weight = np.array([[3.0, 1.0], [0.4, 0.4], [0.0, 0.0], [20.0, 0.0]])
    found = lost(weight, layer([[3, 0], [0, 0], [0, 0], [7, 0]]))
    assert found.zeroed == pytest.approx((0.25 + 1.0 + 0 + 0) / 4)
    # 7.5 is the largest weight that does not saturate
    assert found.saturated == pytest.approx((12.5 / 20) / 4)


def test_signs_do_not_matter() -> None:
    weight = np.array([[-3.0, 1.0], [-0.4, 0.4]])
    assert lost(weight, layer([[-3, 0], [0, 0]])).zeroed == pytest.approx((0.25 + 1.0) / 2)


def test_real_valued_weights_lose_nothing() -> None:
    found = lost(np.ones((2, 2)), layer(np.ones((2, 2)), max_code=None))
    assert (found.zeroed, found.saturated) == (0.0, 0.0)


@pytest.mark.parametrize("target", ["loihi", "lava", "emulator:0"])
def test_an_outlier_that_silences_a_layer_is_told_with_a_rule_that_keeps_it(target: str) -> None:
    described = find(target)
    net = outlier()
    with warnings.catch_warnings(record=True) as found:
        program = hl.compile(net, described)
    (text,) = told(found)
    assert "layer 0 (Dense): 383 of 384 weights became 0" in text
    assert "97% of an average neuron's input" in text
    assert "0 become 0 and 1 saturate (tried)" in text
    assert str(program.report()).startswith(f"warning: {text}\n")
    assert program.report().to_dict()["warnings"] == (text,)
    rule = ast.literal_eval(re.search(r"weight_scale=(\[.*\])$", text)[1])  # type: ignore[index]
    with warnings.catch_warnings(record=True) as found:
        kept = hl.compile(net, described, weight_scale=rule)
    assert told(found) == []
    assert kept.warnings == ()
    assert np.count_nonzero(kept.layers[0].codes) == 384


def test_the_remedy_brings_the_spikes_back() -> None:
    net = outlier()
    spikes = hl.Spikes.from_events([([i * 1e-3 for i in range(12)], list(range(12)))], 12, 60e-3)
    fired = []
    for rule in ("max", ["quantile:0.99", "max"]):
        with hl.open("loihi") as device:
            device.load(hl.compile(net, device, weight_scale=rule))
            fired.append(int((device.run(spikes)[0].unit_counts() > 0).sum()))
    assert fired == [1, 32]
    assert int((net(spikes)[0].unit_counts() > 0).sum()) == 32


def test_the_threshold_is_a_tenth() -> None:
    def found(small: float) -> list[str]:
        net = Network([Dense(2, 1), LIF(1, 10e-3, 5e-3)]).double()
        with torch.no_grad():
            net.blocks[0][0].weight.copy_(torch.tensor([[1.0, small]]))
        chip = Capabilities(name="chip", n_neurons=9, fan_in=9, weight_bits=3)  # codes -3..3
        return list(compile_network(net, chip).warnings)

    assert LARGE_SHARE == 0.1
    assert found(0.110) == []  # .0991 of the input
    assert len(found(0.112)) == 1  # .1007 of it
    assert found(0.17) == []  # code 1


def test_tiny_weights_are_no_loss_however_many() -> None:
    net = outlier(1.2)
    with torch.no_grad():
        net.blocks[0][0].weight[:, 1:] = 1e-6
        net.blocks[0][0].weight[:, 0] = 1.0
    program = compile_network(net, find("emulator:0").capabilities)
    assert program.layers[0].zeroed == 32 * 11
    assert program.warnings == ()


def test_what_no_rule_keeps_says_so() -> None:
    net = outlier(1.2)
    with torch.no_grad():
        net.blocks[0][0].weight[::2] = 2000.0
    (text,) = compile_network(net, find("emulator:0").capabilities).warnings
    assert text.endswith("No scale rule keeps them: clip the largest weights, or split the layer")


def test_every_layer_is_told_and_the_advice_holds_for_all() -> None:
    net = outlier()
    with torch.no_grad():
        net.blocks[1][0].weight.fill_(0.3)
        net.blocks[1][0].weight[0, 0] = 500.0
    described = find("emulator:0")
    first, second = described.compile(net).warnings
    assert first.startswith("layer 0 (Dense)")
    assert second.startswith("layer 2 (Dense): 223 of 224")
    rules = {re.search(r"weight_scale=(.*)$", text)[1] for text in (first, second)}  # type: ignore[index]
    (rule,) = rules
    assert described.compile(net, weight_scale=ast.literal_eval(rule)).warnings == ()


def test_a_rule_that_the_target_refuses_is_not_named() -> None:
    class Values:
        weight = np.array([[100.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
        weights_at = "layer 0 (Dense)"

    program = layer([[7, 0], [0, 0], [0, 0]], 100 / 7)
    (text,) = weight_losses([Values()], [program], ["max"], lambda index, rule: None)  # type: ignore[list-item]
    assert "No scale rule keeps them" in text


def test_of_the_rules_that_keep_the_weights_the_one_that_loses_least_is_named() -> None:
    class Values:
        weight = np.array([[7.0, 0.9, 0.9, 0.9]])
        weights_at = "layer 0 (Dense)"

    # a layer that loses most of its weights; what other rules keep of it: all and cut off half, all but one, too little
    kept = {
        "quantile:0.999": layer([[1, 0, 0, 0]]), "quantile:0.99": layer([[7, 1, 1, 1]], 1.0), "quantile:0.95": layer([[3, 1, 1, 1]], 0.9, 3),
    }  # fmt: skip
    (text,) = weight_losses([Values()], [layer([[7, 0, 0, 0]], 1.0)], ["max"], lambda index, rule: kept.get(str(rule)))  # type: ignore[list-item]
    assert text == (
        "layer 0 (Dense): 0 of 4 weights became 0 at 1 a code; they bring 28% of an average neuron's input. "
        "With 'quantile:0.99' 0 become 0 and 0 saturate (tried): compile with weight_scale='quantile:0.99'"
    )


def test_a_rule_has_to_halve_the_loss() -> None:
    class Values:
        weight = np.array([[6.0, 1.0, 1.0, 1.0, 1.0]])
        weights_at = "layer 0 (Dense)"

    def found(saturated: float) -> str:
        """A rule that keeps the small weights, and cuts off so much of the large one."""
        other = layer([[7, 1, 1, 1, 1]], (6.0 - saturated) / 7.5)
        return weight_losses([Values()], [layer([[7, 0, 0, 0, 0]])], ["max"], lambda index, rule: other)[0]  # type: ignore[list-item]

    # .4 of the input is lost: less than .2, which is 2 of the 10, has to go
    assert "With 'quantile:0.999'" in found(1.9)
    assert "No scale rule keeps them" in found(2.1)


def test_a_rule_that_loses_a_tenth_to_zero_is_no_remedy() -> None:
    class Values:
        weight = np.array([[4.0, 3.0, 2.0, 1.0]])
        weights_at = "layer 0 (Dense)"

    def found(codes: list[int]) -> str:
        other = layer([codes], 1.0)
        return weight_losses([Values()], [layer([[7, 0, 0, 0]])], ["max"], lambda index, rule: other)[0]  # type: ignore[list-item]

    assert "With 'quantile:0.999'" in found([4, 3, 2, 0])  # a tenth itself
    assert "No scale rule keeps them" in found([4, 3, 0, 1])


def test_recompiling_with_the_scales_of_a_program_is_silent() -> None:
    net = outlier()
    for target in ("loihi", "emulator:0"):
        program = find(target).compile(net)
        assert len(program.warnings) == 1
        assert program.with_weights(net).warnings == ()


# -- delays ---------------------------------------------------------------------------------------


def delayed(*delays: float) -> Network:
    return Network(
        [Dense(len(delays), 2, delay=torch.tensor(delays, dtype=torch.float64)), LIF(2, 10e-3, 5e-3)]
    ).double()


def test_distances_from_ticks() -> None:
    assert ticks_off(np.array([1.0e-4, 1.25e-4, 1.5e-4, 1.9e-4]), DT) == pytest.approx([0, 0.25, 0.5, 0.1], abs=2e-6)
    near, far = (network_values(delayed(*delays))[0] for delays in ((1.1e-4, 1.9e-4, 0.0), (1.1e-4, 1.12e-4, 1.25e-4)))
    assert near.delay is not None
    assert far.delay is not None
    assert far_delays(near, ticks_off(near.delay, DT), DT) is None
    text = far_delays(replace(far, index=1), ticks_off(far.delay, DT), DT)
    assert text == (
        "layer 2 (Dense): 2 of 3 delays are rounded by more than a tenth of a tick of 0.0001 s, that of input unit 2, "
        "0.000125 s, by 0.25"
    )


def test_a_delay_a_tenth_of_a_tick_off_is_not_far() -> None:
    (one,) = network_values(delayed(1e-4, 2e-4))
    assert far_delays(one, np.array([0.1, 0.1]), DT) is None
    text = far_delays(one, np.array([0.1, 0.1001]), DT)
    assert text is not None
    assert text.startswith("layer 0 (Dense): 1 of 2 delays are rounded by more than a tenth of a tick of 0.0001 s")


@pytest.mark.parametrize(
    "delays", [(1.25e-4,), (1.25e-4, 2.5e-4), (1.04e-3, 3.12e-3), (7.3e-4, 1.1e-3), (0.0, 1.337e-3)]
)
@pytest.mark.parametrize("kind", ["fixed", "float"])
def test_a_step_that_keeps_delays_is_named_and_keeps_them(delays: tuple[float, ...], kind: Any) -> None:
    net = delayed(*delays)
    target = LavaTarget(dt=DT, arithmetic=kind)
    (text,) = target.compile(net).warnings
    assert "delays are rounded by more than a tenth of a tick" in text
    found = re.search(
        r"open the target with dt=(\S+) \(tried\), or build Dense with delays that are multiples of 0.0001 s", text
    )
    assert found is not None
    assert LavaTarget(dt=float(found[1]), arithmetic=kind).compile(net).warnings == ()
    assert target.compile(delayed(*(round(delay / DT) * DT for delay in delays))).warnings == ()


def test_where_no_step_keeps_the_delays_rounding_them_is_the_advice() -> None:
    generator = torch.Generator().manual_seed(2)
    delays = (6e-3 * torch.rand(40, generator=generator, dtype=torch.float64)).tolist()
    (text,) = find("loihi").compile(delayed(*delays)).warnings
    assert "(tried)" not in text
    assert text.endswith("build Dense with delays that are multiples of 0.0001 s")
    assert find("loihi").compile(delayed(*(round(delay / DT) * DT for delay in delays))).warnings == ()


# -- probe ----------------------------------------------------------------------------------------


def inputs(n: int, samples: int = 4) -> hl.Spikes:
    return hl.Spikes.from_events([([i * 1e-3 for i in range(n)], list(range(n)))] * samples, n, 60e-3)


def test_a_layer_that_loses_its_spikes_on_the_probe_is_told_with_a_rule_that_keeps_them() -> None:
    described, net = find("emulator:0"), outlier(-2000.0)
    with warnings.catch_warnings(record=True) as found:
        hl.compile(net, described, probe=inputs(12))
    texts = told(found)
    assert [text.split(" ")[1] for text in texts] == ["0", "1", "3"]
    assert re.search(
        r"layer 1 \(LIF\) falls silent on the probe .*: 0 spikes, 620 in the model",
        texts[1],
    )
    rule = re.search(r"weight_scale=('\S+') \(tried: (\d+), (\d+) spikes\)", texts[2])
    assert rule is not None
    with warnings.catch_warnings(record=True) as found:
        hl.compile(net, described, weight_scale=ast.literal_eval(rule[1]), probe=inputs(12))
    assert not any("probe" in text for text in told(found))


def test_a_probe_that_shows_nothing_adds_nothing() -> None:
    with warnings.catch_warnings(record=True) as found:
        program = hl.compile(outlier(1.2), find("emulator:0"), probe=inputs(12))
    assert told(found) == []
    assert program.warnings == ()


def test_a_layer_that_is_silent_in_the_model_stands_in_the_notes() -> None:
    net = outlier(1.2)
    with torch.no_grad():
        net.blocks[1][0].weight.fill_(-1.0)
    program = hl.compile(net, find("emulator:0"), probe=inputs(12))
    assert program.warnings == ()
    assert program.notes[-1] == (
        "layer 3 (LIF) is silent on the probe, in the model already: train it, or raise the weights before it"
    )


def test_where_no_rule_helps_the_probe_says_fine_tune() -> None:
    net = outlier(1.2)
    with torch.no_grad():  # excitation and inhibition that all but cancel: no code keeps their difference
        net.blocks[0][0].weight[:, ::2], net.blocks[0][0].weight[:, 1::2] = 40.3, -39.1
    spikes = hl.Spikes.from_events([([1e-3] * 12, list(range(12)))] * 4, 12, 60e-3)
    texts = hl.compile(net, find("emulator:0", preset="worst"), probe=spikes).warnings
    assert any("saturates" in text or "falls silent" in text for text in texts)
    assert texts[-1].endswith("no scale rule helps: fine-tune on the target")


def test_deploying_probes_with_the_validation_data_and_keeps_its_candidates_quiet() -> None:
    data = hl.Dataset(inputs(12, 8), torch.zeros(8, dtype=torch.int64))
    with hl.open("emulator:0") as device, warnings.catch_warnings(record=True) as found:
        program = hl.deploy(outlier(), device, validation=data, weight_scale="max")
    assert [text.split(" ")[1] for text in told(found)] == ["0", "1"]
    assert program.warnings == tuple(told(found))
    with hl.open("emulator:0") as device, warnings.catch_warnings(record=True) as found:
        program = hl.deploy(outlier(1.2), device, validation=data)
    assert told(found) == []
    assert device.program is program


@pytest.mark.parametrize(
    ("model", "found", "change"),
    [
        ([10, 10, 10], [5, 5, 5], None),
        ([10, 10, 10], [4, 4, 10], "falls silent in 2 neurons"),
        ([10, 10, 10, 10], [4, 4, 10, 10], None),
        ([10, 10, 10], [0, 0, 0], "falls silent"),
        ([10, 10, 0], [20, 20, 0], None),
        ([10, 10, 0], [21, 21, 0], "saturates in 2 neurons"),
        ([10, 10, 0, 0], [21, 21, 0, 0], None),
        ([0, 0, 0], [10, 10, 0], "saturates in 2 neurons"),
        ([10, 9, 0], [0, 0, 0], None),
        ([10, 10, 0], [0, 0, 0], "falls silent"),
        ([1] * 20, [0] * 20, "falls silent"),
        ([1] * 19, [0] * 19, None),
    ],
)
def test_a_layer_is_told_where_more_than_half_of_its_neurons_changed(
    model: list[int], found: list[int], change: str | None
) -> None:
    assert _change(torch.tensor(model), torch.tensor(found)) == change
