"""What the numbers of a NIR graph mean: unit, spike and reset, each by evidence, or refused with the candidates."""

from __future__ import annotations

import logging
import re
from typing import Any

import nir
import numpy as np
import pytest

import hwloop as hl
from hwloop import InputError, OptionError
from hwloop.network.nir.read import from_nir

from .made import cuba, cubali, graph, integrate_and_fire, li, lif, linear, row, stepped, weight

# -- the unit of time -----------------------------------------------------------------------------


def unit_of(low: float, high: float | None = None, asked: str | None = None, **metadata: Any) -> str:
    node = cuba(tau_mem=low if high is None else high, tau_syn=low)
    return str(from_nir(row(linear(), node, spike="jump", **metadata), asked).nir_evidence)


@pytest.mark.parametrize(
    ("spelling", "unit"),
    [
        ("s", "s"), ("sec", "s"), ("second", "s"), ("Seconds", "s"), ("ms", "ms"), ("millisecond", "ms"), ("MILLISECONDS", "ms"),
        ("us", "us"), ("µs", "us"), ("μs", "us"), (b"us", "us"),
    ],
)  # fmt: skip
def test_every_spelling_of_a_unit_is_read(spelling: Any, unit: str) -> None:
    assert unit_of(5e3, time_unit=spelling).startswith(f"time unit {unit}: metadata time_unit = ")


@pytest.mark.parametrize("exporter", ["hwloop", "norse", "Rockpool", "snnTorch", "spikingjelly"])
def test_exporters_that_write_seconds_are_known(exporter: str) -> None:
    assert unit_of(5.0, exporter=exporter).startswith(
        f"time unit s: metadata exporter = {exporter!r}, which writes s; "
    )
    assert unit_of(5.0, exporter=exporter.encode()).startswith("time unit s: metadata exporter")
    # what the graph says itself comes first
    assert unit_of(5.0, exporter=exporter, time_unit="ms").startswith("time unit ms: metadata time_unit = 'ms'")


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [
        (1e-4, 1e-3, "s"), (1e-3, 1.0, "s"), (0.09, 1.0, "s"), (5.0, 10.0, "ms"), (0.2, 2.0, "ms"), (1.1, 99.0, "ms"), (99.0, 200.0, "ms"),
        (1001.0, 1e4, "us"), (500.0, 1e6, "us"),
    ],
)  # fmt: skip
def test_a_unit_that_alone_makes_all_time_constants_plausible_is_taken(low: float, high: float, unit: str) -> None:
    said = f"time unit {unit}: not stated; time constants of {low:g}..{high:g} are plausible in {unit} alone"
    assert unit_of(low, high).startswith(said)


@pytest.mark.parametrize(
    ("low", "high", "what", "candidates"),
    [
        (0.1, 1.0, "may be s or ms", ["s", "ms"]), (0.5, 0.6, "may be s or ms", ["s", "ms"]), (100.0, 1e3, "may be ms or us", ["ms", "us"]),
        (1e-5, 1e-3, "fit none of s, ms, us", ["s", "ms", "us"]), (1e-3, 10.0, "fit none", ["s", "ms", "us"]),
        (0.05, 1.1, "fit none", ["s", "ms", "us"]), (50.0, 2e3, "fit none", ["s", "ms", "us"]),
    ],
)  # fmt: skip
def test_doubt_between_two_units_is_refused_and_either_may_be_passed(
    low: float, high: float, what: str, candidates: list[str]
) -> None:
    with pytest.raises(InputError, match=re.escape(f"time constants of {low:g}..{high:g} {what}")) as caught:
        unit_of(low, high)
    assert f"pass time_unit, one of {', '.join(map(repr, candidates))}" in str(caught.value)
    for name in candidates:
        assert unit_of(low, high, name).startswith(f"time unit {name}: given by the caller;")


def test_time_constants_of_all_layers_count_readouts_too() -> None:
    nodes = [linear(), cuba(), linear(2, 2), li(tau=10.0)]
    with pytest.raises(InputError, match=r"time constants of 0.005..10 fit none"):
        from_nir(row(*nodes, spike="jump"))


@pytest.mark.parametrize(
    ("asked", "metadata", "evidence", "level"),
    [
        (None, {"time_unit": "s"}, "metadata time_unit = 's'", "INFO"),
        (None, {"exporter": "norse"}, "metadata exporter = 'norse', which writes s", "INFO"),
        (None, {}, "not stated; time constants of 0.005..0.01 are plausible in s alone", "WARNING"),
        (None, {"exporter": "sinabs"}, "not stated; time constants of 0.005..0.01 are plausible in s alone", "WARNING"),
        ("s", {}, "given by the caller", "INFO"),
        ("s", {"time_unit": "seconds"}, "given by the caller", "INFO"),
        ("s", {"time_unit": "steps"}, "given by the caller", "INFO"),
        ("s", {"time_unit": "ms"}, "given by the caller, against the ms of its metadata time_unit = 'ms'", "WARNING"),
        ("ms", {"exporter": "norse"}, "given by the caller, against the s of its metadata exporter = 'norse', which writes s", "WARNING"),
    ],
)  # fmt: skip
def test_the_evidence_is_stated_and_its_weight(
    asked: str | None, metadata: dict[str, Any], evidence: str, level: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    net = from_nir(row(linear(), cuba(), spike="delta", **metadata), asked)
    assert net.nir_evidence == (
        f"time unit {asked or 's'}: {evidence}; spikes: deltas, metadata spike = 'delta'; "
        "reset: value, not stated; the same for a current that carries the membrane over its threshold"
    )
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (level, f"NIR import: {net.nir_evidence}")
    ]


def test_a_unit_that_nobody_knows_is_refused_whoever_names_it() -> None:
    with pytest.raises(
        InputError, match=r"metadata time_unit = 'steps'; allowed: s, ms, us. Pass time_unit to override"
    ):
        unit_of(5e-3, time_unit="steps")
    for asked in ("seconds", "MS", ""):
        with pytest.raises(OptionError, match=f"time_unit = '{asked}'; allowed: 's', 'ms', 'us'"):
            unit_of(5e-3, asked=asked)


def test_norse_s_default_export_is_refused_by_the_option_that_mends_it() -> None:
    short = cuba(tau_mem=10e-6, tau_syn=5e-6, w_in=1.0)
    for metadata in ({"bare": True}, {"exporter": "norse"}, {"spike": "jump"}):
        with pytest.raises(
            InputError, match=r"norse writes them by default.*Export it with norse.to_nir\(net, x, dt=1\)"
        ):
            from_nir(row(linear(), short, **metadata))
    # said, they may be so short; and what does not look like norse's is only a unit that nothing fits
    assert from_nir(row(linear(), short, spike="jump"), "s").blocks[0][1].tau_mem[0].item() == 10e-6
    with pytest.raises(InputError, match="fit none of s, ms, us"):
        from_nir(row(linear(), cuba(tau_mem=10e-6, tau_syn=5e-6, w_in=2.0), spike="jump"))


def test_a_graph_without_time_needs_no_unit_and_one_with_delays_does(caplog: pytest.LogCaptureFixture) -> None:
    nodes = [linear(), integrate_and_fire(metadata={"reset": "value"})]
    with caplog.at_level("WARNING"):
        assert str(from_nir(row(*nodes, bare=True)).nir_evidence).startswith("time unit none: not needed")
    assert not caplog.records  # nothing was guessed
    late = row(nir.Delay(np.full(3, 2.0)), *nodes, bare=True)
    with pytest.raises(
        InputError, match=r"has delays \('n0'\) but no time constants .*pass time_unit: 's', 'ms', 'us'"
    ):
        from_nir(late)
    assert projection_delay(from_nir(late, "ms")) == [2e-3] * 3


def projection_delay(net: hl.Network) -> Any:
    return net.structure.links[0].composition.maps[0].delay.tolist()  # type: ignore[union-attr, operator]


# -- what a spike is ------------------------------------------------------------------------------


def meaning(*nodes: nir.NIRNode, asked: Any = None, **metadata: Any) -> str:
    layers = [part for node in nodes for part in (linear(2, 2), node)]
    net = from_nir(row(*layers, time_unit="s", **metadata), spike=asked, reset="value")
    return str(net.nir_evidence).split("spikes: ")[1].split("; reset")[0]


STEP = "pulses of one step of 0.0001 s, since tau_mem / r = tau_syn / w_in is that in every neuron"


def test_a_step_on_which_all_layers_agree_is_the_width_of_a_pulse() -> None:
    assert meaning(stepped(1e-4)) == STEP
    assert meaning(stepped(1e-4), stepped(1e-4, tau_mem=[20e-3, 7e-3], tau_syn=[3e-3, 9e-3])) == STEP
    net = from_nir(row(linear(), stepped(1e-4), time_unit="s"))
    # w r w_in dt / tau_syn = w tau_mem / dt
    np.testing.assert_allclose(weight(net), 100.0, rtol=1e-12)


def test_a_step_may_be_any_share_of_the_time_constants() -> None:
    for dt in (1e-5, 4e-3, 5e-3, 8e-3):
        assert meaning(stepped(dt)).startswith(f"pulses of one step of {dt:g} s")


@pytest.mark.parametrize("node", [lif(r=100.0), li(r=100.0), integrate_and_fire(r=1e4)])
def test_neurons_without_a_current_join_the_agreement(node: nir.NIRNode) -> None:
    assert meaning(stepped(1e-4), node).startswith("pulses of one step of 0.0001 s")
    node.r = node.r * 2
    with pytest.raises(InputError, match=r"is no common time step, but 5e-05..0.0001"):
        meaning(stepped(1e-4), node)


@pytest.mark.parametrize(("off", "agrees"), [(0.9e-5, True), (-0.9e-5, True), (1.1e-5, False), (-1.1e-5, False)])
def test_a_step_agrees_to_a_hundred_thousandth(off: float, agrees: bool) -> None:
    # three of four ratios are the step itself, so is their median
    node = stepped(1e-4, r=np.array([100.0, 100.0 / (1 + off)]))
    if agrees:
        assert meaning(node) == STEP
    else:
        with pytest.raises(InputError, match="is no common time step"):
            meaning(node)


@pytest.mark.parametrize(
    ("nodes", "doubt"),
    [
        ([cuba(w_in=1.0)], "all gains are 1"),  # norse with dt = 1
        ([cuba(tau_mem=5e-3, w_in=1.0)], "all gains are 1"),  # equal time constants: agreement by chance
        ([lif(), lif()], "all gains are 1"),
        ([stepped(1e-4), stepped(2e-4)], "is no common time step, but 0.0001..0.0002"),
        ([cuba(r=19.02, w_in=1.0)], "is no common time step"),  # rockpool
        ([lif(r=100.0)], "tau / r of one layer alone is no evidence"),
        ([integrate_and_fire(r=1e4)], "1 / r of one layer alone is no evidence"),
        ([cuba(r=-1.0)], "a gain r or w_in is not positive"),
        ([cuba(w_in=[5e-3, 0.0])], "a gain r or w_in is not positive"),
    ],
)
def test_without_agreement_a_graph_is_refused_and_every_candidate_may_be_passed(
    nodes: list[nir.NIRNode], doubt: str
) -> None:
    with pytest.raises(InputError, match=f"not evident: .*{re.escape(doubt)}") as caught:
        meaning(*nodes)
    for candidate in ("spike='jump'", "spike='delta'", "spike=dt, the exporter's time step in seconds"):
        assert candidate in str(caught.value)
    assert meaning(*nodes, asked="jump") == "jumps by the weight times the gains, given by the caller"
    assert meaning(*nodes, asked="delta") == "deltas, given by the caller"
    assert meaning(*nodes, asked=1e-3) == "pulses of 0.001 s, given by the caller"


def test_the_refusal_says_what_each_candidate_makes_of_the_weights() -> None:
    node = cuba(r=[2.0, 4.0], w_in=1.0)
    with pytest.raises(InputError) as caught:
        from_nir(row(linear(), node, time_unit="s"))
    for option, factors in (("jump", [2.0, 4.0]), ("delta", [400.0, 800.0]), (1e-3, [0.4, 0.8])):
        net = from_nir(row(linear(), node, time_unit="s"), spike=option)
        np.testing.assert_allclose(weight(net)[:, 0], factors, rtol=1e-12)
        assert f"weights x {factors[0]:g}..{factors[1]:g}" in str(caught.value)


def test_gains_of_each_kind_of_neuron() -> None:
    """What a weight of 1 becomes, by kind of neuron and meaning of a spike; in milliseconds."""
    ms = {"time_unit": "ms"}
    nodes: list[tuple[nir.NIRNode, dict[Any, float]]] = [
        (cuba(tau_mem=10.0, tau_syn=5.0, r=2.0, w_in=3.0), {"jump": 6.0, "delta": 1.2, 0.5e-3: 0.6}),
        (cubali(tau_mem=10.0, tau_syn=5.0, r=2.0, w_in=3.0), {"jump": 6.0, "delta": 1.2, 0.5e-3: 0.6}),
        # where a pulse of a twentieth of tau leaves the membrane; and where its step adds w
        (lif(tau=10.0, r=2.0), {"jump": 2.0, "delta": 0.2, 0.5e-3: 2.0 * (1 - np.exp(-0.05))}),
        (li(tau=10.0, r=2.0), {"jump": 2.0, "delta": 0.2, 0.5e-3: 2.0 * (1 - np.exp(-0.05))}),
        (lif(tau=10.0, r=20.0), {"jump": 20.0, "delta": 2.0, 0.5e-3: 1.0}),
        (integrate_and_fire(r=2.0), {"jump": 2.0, "delta": 2.0, 0.5e-3: 1.0}),
    ]
    for node, factors in nodes:
        for spike, factor in factors.items():
            net = from_nir(row(linear(), node, **ms), spike=spike, reset="value")
            np.testing.assert_allclose(weight(net), factor, rtol=1e-12)


def test_integrators_with_a_gain_of_1_are_moved_by_the_weight_in_every_reading() -> None:
    net = from_nir(row(linear(value=0.3), integrate_and_fire(), bare=True), reset="subtract")
    assert "the membrane moves by w, since there are IF alone" in net.nir_evidence
    np.testing.assert_array_equal(weight(net), 0.3)


@pytest.mark.parametrize(
    ("metadata", "evidence"),
    [
        ({"spike": "delta"}, "deltas, metadata spike = 'delta'"),
        ({"spike": b"jump"}, "jumps, metadata spike = 'jump'"),
        ({"spike": "pulse", "dt": np.array([1e-3])}, "pulses of 0.001, metadata spike = 'pulse' and dt"),
        ({"spike": "pulse"}, STEP),
        ({"exporter": "hwloop"}, "deltas, metadata exporter = 'hwloop', which means those"),
        ({"exporter": "rockpool"}, "jumps, metadata exporter = 'rockpool', which means those"),
        ({"exporter": "norse"}, "jumps, metadata exporter = 'norse', which means those"),
        ({"exporter": "snntorch"}, STEP),
    ],
)
def test_what_a_graph_says_of_its_spikes_comes_before_its_gains(metadata: dict[str, Any], evidence: str) -> None:
    assert meaning(stepped(1e-4), **metadata) == evidence


def test_norse_means_jumps_where_there_is_a_current_alone() -> None:
    with pytest.raises(InputError, match="all gains are 1"):
        meaning(lif(), exporter="norse")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"spike": "graded"}, "metadata spike = 'graded'; allowed: 'jump', 'delta', or 'pulse' with dt. Pass spike"),
        ({"spike": "pulse", "dt": -1.0}, "metadata dt = -1; allowed: finite and > 0. Pass spike to override it"),
        ({"spike": "pulse", "dt": 0.0}, "metadata dt = 0; allowed: finite and > 0. Pass spike to override it"),
        ({"spike": "pulse", "dt": np.inf}, "metadata dt = inf; allowed: finite and > 0. Pass spike to override it"),
    ],
)
def test_what_a_graph_says_wrongly_of_its_spikes_is_refused(metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        meaning(stepped(1e-4), **metadata)
    assert meaning(stepped(1e-4), asked="delta", **metadata) == "deltas, given by the caller"


@pytest.mark.parametrize("spike", ["pulse", 0, -1e-3, float("nan"), float("inf"), True, [1e-3]])
def test_a_spike_that_is_none_is_refused(spike: Any) -> None:
    with pytest.raises(OptionError, match=r"spike = .*; allowed: 'jump', 'delta', or the width of a pulse in seconds"):
        meaning(stepped(1e-4), asked=spike)


def test_a_width_in_seconds_needs_the_unit_of_a_graph_without_time_constants() -> None:
    bare = row(linear(), integrate_and_fire(r=1e4), bare=True)
    with pytest.raises(InputError, match="spike = 0.001 s, but the graph has no time constants .*pass time_unit too"):
        from_nir(bare, spike=1e-3, reset="value")
    np.testing.assert_allclose(weight(from_nir(bare, "ms", spike=1e-3, reset="value")), 1e4)


# -- how neurons are reset ------------------------------------------------------------------------


@pytest.mark.parametrize("node", [lif, integrate_and_fire])
def test_a_reset_that_makes_a_difference_is_asked_for(node: Any) -> None:
    with pytest.raises(InputError, match="how 'n1' .* is reset NIR does not say.*reset='value'.*reset='subtract'"):
        from_nir(row(linear(), node()))
    for reset in ("value", "subtract"):
        net = from_nir(row(linear(), node()), reset=reset)
        assert net.structure.nodes["n1"].reset == reset
        assert str(net.nir_evidence).endswith(f"reset: {reset}, given by the caller")
        told = from_nir(row(linear(), node(metadata={"reset": reset})))
        assert told.structure.nodes["n1"].reset == reset
        assert str(told.nir_evidence).endswith(f"reset: {reset}, metadata reset")


def test_a_reset_that_makes_none_is_stated_and_may_be_chosen() -> None:
    net = from_nir(row(linear(), cuba()))
    assert net.blocks[0][1].reset == "value"
    assert "reset: value, not stated; the same for a current" in net.nir_evidence
    assert from_nir(row(linear(), cuba()), reset="subtract").blocks[0][1].reset == "subtract"


def test_a_reset_that_nobody_knows_is_refused_whoever_names_it() -> None:
    with pytest.raises(OptionError, match="reset = 'soft'; allowed: 'value', 'subtract'"):
        from_nir(row(linear(), cuba()), reset="soft")
    odd = row(linear(), cuba(metadata={"reset": "soft"}))
    with pytest.raises(
        InputError, match="node 'n1': metadata reset = 'soft'; allowed: 'value', 'subtract'. Pass reset"
    ):
        from_nir(odd)


def test_a_readout_alone_has_no_reset() -> None:
    assert "reset: none, no neuron spikes" in from_nir(graph(
        {"in": nir.Input(np.array([3])), "w": linear(), "li": li(), "out": nir.Output(np.array([2]))},
        [("in", "w"), ("w", "li"), ("li", "out")],
    )).nir_evidence  # fmt: skip
