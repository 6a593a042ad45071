"""Every remedy that a refusal names is followed, on the case that raised it, and works."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.errors import CompileError, InputError, TargetError
from hwloop.mapping import network_values
from hwloop.network import LIF, Dense, Network
from hwloop_lava.device import LavaTarget
from hwloop_loihi import choose_dt, compile_loihi
from hwloop_loihi.remedy import Compilation, Refusal, mended, shown, step_of

from .support import network, with_weight

DT = 1e-4
Build = Callable[[], Network]


def rebuilt(net: Network, index: int, **values: Any) -> Network:
    """``net`` with parameters of population ``index`` replaced."""
    blocks: list[torch.nn.Module] = []
    for k, (dense, lif) in enumerate(net.blocks):
        parameters = {name: value.detach() for name, value in lif.parameters_dict().items()}
        changed = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in values.items() if k == index}
        blocks += [dense, LIF(lif.n, **{**parameters, **changed})]
    return Network(blocks).double()


def follow(fix: str, net: Network, options: dict[str, Any]) -> None:
    """Do what ``fix`` says, and compile; ``options`` of the compilation that was refused."""
    if found := re.fullmatch(r"open the target with dt=(\S+)", fix):
        hl.compile(net, hl.open("loihi", dt=float(found[1])), weight_scale=options.get("weight_scale", "max"))
        return
    dt = options.get("dt", DT)
    rest = {name: value for name, value in options.items() if name != "dt"}
    if found := re.fullmatch(r"compile with weight_scale=(.+)", fix):
        compile_loihi(net, dt, **{**rest, "weight_scale": ast.literal_eval(found[1])})
    elif found := re.fullmatch(r"multiply the weights of layer (\d+) \(Dense\) by (\S+)", fix):
        with torch.no_grad():
            net.blocks[int(found[1]) // 2][0].weight.mul_(float(found[2]))
        compile_loihi(net, dt, **rest)
    elif found := re.fullmatch(r"multiply v_th - v_reset of layer (\d+) \(LIF\) by (\S+)", fix):
        index = int(found[1]) // 2
        lif = net.blocks[index][1].parameters_dict()
        compile_loihi(
            rebuilt(net, index, v_th=lif["v_reset"] + float(found[2]) * (lif["v_th"] - lif["v_reset"])), dt, **rest
        )
    elif found := re.fullmatch(r"build the layer with (tau_mem|tau_syn|v_leak)(?:=| up to )(\S+)(?: \(s\).*)?", fix):
        compile_loihi(rebuilt(net, 0, **{found[1]: float(found[2])}), dt, **rest)
    elif fix == "build the layer with v_leak = v_reset":
        compile_loihi(rebuilt(net, 0, v_leak=0.0), dt, **rest)
    elif found := re.fullmatch(r"shorten the delays of layer 0 \(Dense\) to (\S+) s", fix):
        dense, lif = net.blocks[0]
        shorter = Dense(dense.n_in, dense.n_out, delay=float(found[1]))
        compile_loihi(Network([shorter, lif]).double(), dt, **rest)
    else:
        raise AssertionError(f"no way to follow {fix!r}")


CASES: dict[str, tuple[Build, dict[str, Any]]] = {
    "tau_mem beyond the decays": (lambda: network(3, 2, tau_mem=10.0), {}),
    "tau_mem beyond the decays at every step": (lambda: network(3, 2, tau_mem=100.0), {}),
    "tau_syn shorter than a step": (lambda: network(3, 2, tau_syn=1e-5), {}),
    "a delay of 64 ticks": (lambda: network(1, 1, delay=6.4e-3), {}),
    "a delay of 65 ticks": (lambda: network(3, 2, delay=6.5e-3), {}),
    "a delay of 1000 ticks": (lambda: network(3, 2, delay=0.1), {}),
    "a delay longer than any step allows": (lambda: network(3, 2, delay=1.0), {}),
    "a leak beyond the bias": (lambda: network(3, 2, v_leak=200.0), {}),
    "a leak beyond the bias at every step": (lambda: network(3, 2, v_leak=1e6), {}),
    "weights far above the threshold": (lambda: with_weight(network(3, 2), 0, np.full((2, 3), 1e9)), {}),
    "weights somewhat above the threshold": (lambda: with_weight(network(3, 2), 0, np.full((2, 3), 3e6)), {}),
    "weights far below the threshold": (lambda: with_weight(network(3, 2), 0, np.full((2, 3), 1e-9)), {}),
    "weights somewhat below the threshold": (lambda: with_weight(network(3, 2), 0, np.full((2, 3), 5e-4)), {}),
    "a volley that wraps": (lambda: with_weight(network(1200, 1), 0, np.ones((1, 1200))), {}),
    "a volley that wraps at most scales": (lambda: with_weight(network(60_000, 1), 0, np.ones((1, 60_000))), {}),
    "a scale too fine": (lambda: network(3, 2), {"weight_scale": 1e-4}),
    "a scale too coarse": (lambda: network(3, 2), {"weight_scale": 100.0}),
    "one scale of two too coarse": (lambda: network(3, 2, 2), {"weight_scale": ["max", 1e4]}),
    "one scale of two too fine": (lambda: network(3, 2, 2), {"weight_scale": [1e-4, 0.1]}),
    "no exponents": (lambda: with_weight(network(3, 2), 0, np.full((2, 3), 3e5)), {"exponents": False}),
}


@pytest.mark.parametrize("case", CASES)
def test_every_remedy_of_the_compiler_works(case: str) -> None:
    build, options = CASES[case]
    with pytest.raises(CompileError) as caught:
        compile_loihi(build(), options.get("dt", DT), **{k: v for k, v in options.items() if k != "dt"})
    assert type(caught.value) is CompileError
    fixes = caught.value.fix.split(", or ")
    assert 1 <= len(fixes) <= 2
    for fix in fixes:
        follow(fix, build(), options)


@pytest.mark.parametrize("delay", [6.4e-3, 6.35e-3 + 1e-9, 7.77e-3, 1.2345e-2])
@pytest.mark.parametrize("target", ["loihi", "lava", "float"])
def test_the_step_that_a_delay_needs_is_named_to_the_digit(delay: float, target: str) -> None:
    net = network(2, 1, delay=delay)

    def compiling(dt: float) -> Any:
        if target == "loihi":
            return hl.target.find("loihi", dt=dt).compile(net)
        return LavaTarget(dt=dt, arithmetic="float" if target == "float" else "fixed").compile(net)

    with pytest.raises(CompileError) as caught:
        compiling(DT)
    found = re.match(r"open the target with dt=([\d.e-]+), or shorten", caught.value.fix)
    assert found is not None
    compiling(float(found[1]))
    with pytest.raises(CompileError):
        compiling(delay / 64)


def test_layers_refused_one_after_the_other_are_mended_one_after_the_other() -> None:
    net = network(3, 2, 2)
    for k in range(2):
        with_weight(net, k, np.full((2, (3, 2)[k]), 1e9))
    for k in range(2):
        with pytest.raises(CompileError, match=rf"layer {2 * k + 1} \(LIF\)") as caught:
            compile_loihi(net, DT)
        found = re.match(rf"multiply the weights of layer {2 * k} \(Dense\) by ([\d.e-]+)", caught.value.fix)
        assert found is not None
        assert ("then layer 3 (LIF) is left: thresholds" in caught.value.fix) is (k == 0)
        with torch.no_grad():
            net.blocks[k][0].weight.mul_(float(found[1]))
    compile_loihi(net, DT)


def test_what_no_change_mends_says_so() -> None:
    refusal = Refusal("a", "b", "layer 0 (Dense)", "think again", [step_of(1e-3)])
    asked = Compilation(tuple(network_values(network(2, 2))), DT)

    def never(_: Compilation) -> None:
        raise CompileError("x", "y", "layer 0 (Dense)", "z")

    assert mended(refusal, asked, never).fix == "no single change that was tried makes the network fit: think again"
    plain = CompileError("a", "b", "c", "d")
    assert mended(plain, asked, never) is plain


def test_other_refusals_name_what_works() -> None:
    with pytest.raises(CompileError) as caught:
        compile_loihi(network(3, 2, t_ref=1e-3), DT)
    assert "t_ref=0" in caught.value.fix
    compile_loihi(network(3, 2, t_ref=0.0), DT)
    assert 'open "lava" with arithmetic="float"' in caught.value.fix
    LavaTarget(dt=DT, arithmetic="float").compile(network(3, 2, t_ref=1e-3))
    with pytest.raises(CompileError, match=r"v_reset = v_leak = 0.5"):
        compile_loihi(network(3, 2, v_leak=0.5), DT)
    compile_loihi(network(3, 2, v_leak=0.5, v_reset=0.5), DT)
    with pytest.raises(CompileError, match="train it until a weight is not zero"):
        compile_loihi(with_weight(network(3, 2), 0, np.zeros((2, 3))), DT)
    compile_loihi(with_weight(network(3, 2), 0, np.eye(2, 3)), DT)


# -- currents that wrap ---------------------------------------------------------------------------


def crowd(weight: float, n: int = 200, t_stop: float = 25e-3) -> tuple[Network, hl.Spikes]:
    """``n`` inputs that all spike in every tick."""
    net = with_weight(network(n, 1, tau_mem=20e-3, tau_syn=20e-3), 0, np.full((1, n), weight))
    times = np.repeat(np.arange(0, 20e-3, DT), n)
    return net, hl.Spikes.from_events([(times, np.tile(np.arange(n), 200))], n, t_stop)


@pytest.mark.parametrize("rule", ["max", 50.4, 1.0])
def test_a_current_that_wraps_names_an_opening_that_runs(rule: Any) -> None:
    net, given = crowd(50.0)
    with hl.open("loihi") as device:
        device.load(device.target.compile(net, weight_scale=rule))
        with pytest.raises(TargetError, match=r"layer 0 \(Dense\), sample 0: a current went beyond 2\^23") as caught:
            device.run(given)
    found = re.search(
        r"Open the target with headroom=(\d+)(, and compile with weight_scale=(\S+))? \(tried", str(caught.value)
    )
    assert found is not None
    assert (found[2] is None) is (rule == "max")
    with hl.open("loihi", headroom=int(found[1])) as device:
        program = device.target.compile(net, weight_scale=ast.literal_eval(found[3] or '"max"'))
        device.load(program)
        measured = device.run(given)
    # a strong drive: it fires in every tick, as the model does with a refractory time of a tick
    assert measured.output.counts.item() > 100
    assert f"codes up to {int(program.layers[0].codes.max())} of 127" in str(caught.value)
    np.testing.assert_allclose(program.layers[0].weight(), 50.0, rtol=1e-6)


def test_only_the_layer_that_wraps_gives_resolution_away() -> None:
    net, given = crowd(50.0)
    two = Network([*net.blocks[0], Dense(1, 3), LIF(3, 20e-3, 2e-4)]).double()
    with hl.open("loihi") as device:
        device.load(device.target.compile(two))
        with pytest.raises(TargetError) as caught:
            device.run(given)
    found = re.search(r"headroom=(\[[^]]+\])", str(caught.value))
    assert found is not None
    headroom = ast.literal_eval(found[1])
    assert headroom[1] is None
    with hl.open("loihi", headroom=headroom) as device:
        program = device.target.compile(two)
        device.load(program)
        device.run(given)
    assert int(np.abs(program.layers[1].codes).max()) == 127


def test_where_no_headroom_is_enough_the_message_says_what_else_and_that_works() -> None:
    net, given = crowd(50.0, n=500)
    with hl.open("loihi") as device:
        device.load(device.target.compile(net))
        with pytest.raises(TargetError) as caught:
            device.run(given)
    text = str(caught.value)
    found = re.search(r"[Oo]pen the target with (?:dt=(\S+), )?headroom=(\d+)", text)
    assert found is not None
    if factor := re.search(r"Divide all weights by (\d+)", text):
        with torch.no_grad():
            net.blocks[0][0].weight.div_(float(factor[1]))
    with hl.open("loihi", dt=float(found[1] or DT), headroom=int(found[2])) as device:
        device.load(device.target.compile(net))
        device.run(given)


def test_headroom_lowers_the_exponent_then_the_codes_and_leaves_the_rest() -> None:
    net = with_weight(network(10, 1), 0, np.full((1, 10), 1.0))
    plain, four, many = (compile_loihi(net, DT, headroom=h) for h in (None, 4, 400.0))
    assert plain.graph.digest == four.graph.digest
    assert plain.fits[0].headroom >= 4
    assert many.fits[0].headroom >= 400
    top = int(many.layers[0].codes.max())
    # codes of ten inputs: 20 top 400 <= 131071
    assert top == 131071 // (20 * 400)
    np.testing.assert_allclose(many.layers[0].weight(), 1.0, rtol=1e-6)
    assert many.with_weights(net).fits[0].headroom >= 400


@pytest.mark.parametrize("headroom", [0.5, 0, -1, float("inf"), float("nan"), "4", True, [4, 0.5], ["x"]])
def test_a_headroom_that_is_none_is_refused(headroom: Any) -> None:
    with pytest.raises(InputError, match="headroom = .*allowed: a finite number >= 1"):
        hl.open("loihi", headroom=headroom)


def test_headrooms_of_another_number_of_layers_are_refused() -> None:
    with pytest.raises(InputError, match="headroom has 2 entries; the network has 1 layers"):
        hl.target.find("loihi", headroom=[4, np.float64(8)]).compile(network(2, 2))


def test_a_step_that_wraps_is_left_out_of_the_choice_of_steps() -> None:
    net, given = crowd(50.0)
    with pytest.raises(TargetError, match="a current went beyond"):
        choose_dt(net, given, steps=[1e-4])
    choice = choose_dt(net, given, steps=[1e-4, 19e-3])
    refused = {step.dt: step.refused for step in choice.steps}
    assert "a current went beyond 2^23" in refused[1e-4]
    assert choice.dt == 19e-3
    assert choose_dt(net, given, steps=[1e-4], headroom=128.0).dt == 1e-4


# -- rounding -------------------------------------------------------------------------------------


def test_scale_rules_are_shown_as_they_are_written() -> None:
    assert shown(["max", "max"]) == '"max"'
    assert shown([0.25]) == "0.25"
    assert shown(["max", 0.0123456789]) == '["max", 0.0123457]'
