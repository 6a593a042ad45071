"""NIR value by value: which field holds what, how each is converted, and both sides of every rule of evidence."""

from __future__ import annotations

import logging
import re
from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest
import torch

from hwloop import LIF, Dense, InputError, Network, OptionError
from hwloop.network.nir.graphs import from_nir, to_nir

#: Values that no two parameters share.
OWN = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.5, "v_leak": 0.25, "v_reset": -0.5, "t_ref": 0.75e-3}


def own_network(delay: Any = None, **more: Any) -> Network:
    values = {name: torch.tensor([value, 2 * value], dtype=torch.float64) for name, value in OWN.items()}
    values["v_reset"] = torch.tensor([-0.5, -0.75], dtype=torch.float64)
    net = Network([Dense(3, 2, delay=delay), LIF(2, **{**values, **more})]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.arange(6.0).reshape(2, 3))
    return net


def neurons(n: int = 2, **fields: Any) -> nir.CubaLIF:
    plain: dict[str, Any] = {
        "tau_mem": 10e-3,
        "tau_syn": 5e-3,
        "r": 1.0,
        "v_leak": 0.0,
        "v_threshold": 1.0,
        "w_in": 5e-3,
    }
    metadata = fields.pop("metadata", None)
    arrays = {name: np.broadcast_to(np.asarray(fields.get(name, value)), (n,)).copy() for name, value in plain.items()}
    if "v_reset" in fields:
        arrays["v_reset"] = np.broadcast_to(np.asarray(fields["v_reset"]), (n,)).copy()
    node = nir.CubaLIF(**arrays)
    if metadata is not None:
        node.metadata = metadata
    return node


def graph(*nodes: nir.NIRNode, **metadata: Any) -> nir.NIRGraph:
    found = nir.NIRGraph.from_list(*nodes, type_check=False)
    found.metadata = metadata
    return found


def plain_graph(node: nir.CubaLIF | None = None, **metadata: Any) -> nir.NIRGraph:
    return graph(nir.Linear(np.ones((2, 3))), node or neurons(), **metadata)


# -- out ------------------------------------------------------------------------------------------


def test_each_parameter_stands_in_its_own_field() -> None:
    net = own_network(delay=torch.tensor([1e-3, 2e-3, 3e-3], dtype=torch.float64))
    found = to_nir(net)
    assert list(found.nodes) == ["input", "delay_0", "dense_0", "lif_0", "output"]
    assert [tuple(edge) for edge in found.edges] == [
        ("input", "delay_0"), ("delay_0", "dense_0"), ("dense_0", "lif_0"), ("lif_0", "output")
    ]  # fmt: skip
    lif = found.nodes["lif_0"]
    for field, name in (("tau_mem", "tau_mem"), ("tau_syn", "tau_syn"), ("v_threshold", "v_th"), ("v_leak", "v_leak")):
        assert getattr(lif, field).tolist() == [OWN[name], 2 * OWN[name]]
    assert lif.v_reset.tolist() == [-0.5, -0.75]
    assert lif.r.tolist() == [1.0, 1.0]
    assert lif.w_in.tolist() == lif.tau_syn.tolist()
    assert lif.metadata["t_ref"].tolist() == [0.75e-3, 1.5e-3]
    assert lif.metadata["reset"] == "value"
    assert "max_spikes" not in lif.metadata
    assert found.nodes["dense_0"].weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.nodes["delay_0"].delay.tolist() == [1e-3, 2e-3, 3e-3]
    assert found.nodes["input"].input_type["input"].tolist() == [3]
    assert found.nodes["output"].output_type["output"].tolist() == [2]


def test_layers_are_numbered_and_only_those_with_a_delay_have_one() -> None:
    net = Network([Dense(3, 2), LIF(2, 10e-3, 5e-3), Dense(2, 4, delay=1e-3), LIF(4, 10e-3, 5e-3)])
    found = to_nir(net)
    assert list(found.nodes) == ["input", "dense_0", "lif_0", "delay_1", "dense_1", "lif_1", "output"]
    assert len(found.edges) == 6
    assert found.nodes["output"].output_type["output"].tolist() == [4]


def test_a_graph_says_who_wrote_it_in_which_unit_and_what_a_spike_is() -> None:
    import hwloop

    metadata = to_nir(own_network()).metadata
    assert metadata == {
        "exporter": "hwloop", "exporter_version": hwloop.__version__, "time_unit": "s", "spike": "delta"
    }  # fmt: skip


def test_a_graph_is_a_copy() -> None:
    net = own_network(delay=1e-3)
    found = to_nir(net)
    found.nodes["lif_0"].w_in[:] = 7.0
    assert found.nodes["lif_0"].tau_syn.tolist() == [5e-3, 10e-3]
    for node, field in (("dense_0", "weight"), ("lif_0", "tau_mem"), ("delay_0", "delay")):
        getattr(found.nodes[node], field)[:] = 9.0
    assert net.blocks[0][0].weight.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert net.blocks[0][1].tau_mem.tolist() == [10e-3, 20e-3]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"t_ref": 0.0}, None),
        ({"t_ref": 0.0, "reset": "subtract"}, ["reset by subtraction"]),
        ({"t_ref": 0.0, "max_spikes": 2}, ["max_spikes = 2"]),
        ({"t_ref": [0.0, 1e-3]}, ["a refractory time"]),
        (
            {"t_ref": 1e-3, "reset": "subtract", "max_spikes": 1},
            ["max_spikes = 1", "a refractory time", "reset by subtraction"],
        ),
    ],
)
def test_what_nir_has_no_field_for_is_warned_of_and_nothing_else(
    more: dict[str, Any], words: list[str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    found = to_nir(own_network(**more))
    expected = (
        []
        if words is None
        else [f"NIR node 'lif_0': {' and '.join(words)}, in metadata alone, which other tools do not read"]
    )
    assert [record.getMessage() for record in caplog.records] == expected
    assert found.nodes["lif_0"].metadata.get("max_spikes") == more.get("max_spikes")
    assert found.nodes["lif_0"].metadata["reset"] == more.get("reset", "value")


# -- in: values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "per_second"), [("s", 1.0), ("ms", 1e3), ("us", 1e6)])
def test_times_are_converted_and_potentials_are_not(unit: str, per_second: float) -> None:
    node = neurons(
        tau_mem=np.array([10e-3, 20e-3]) * per_second, tau_syn=np.array([5e-3, 4e-3]) * per_second, v_leak=[0.25, 0.5],
        v_threshold=[1.5, 2.5], v_reset=[-0.5, -0.75], w_in=np.array([5e-3, 4e-3]) * per_second,
        metadata={"t_ref": np.array([0.75e-3, 1e-3]) * per_second},
    )  # fmt: skip
    delay = nir.Delay(np.array([1e-3, 2e-3, 3e-3]) * per_second)
    dense, lif = from_nir(graph(delay, nir.Linear(np.full((2, 3), 4.0)), node, time_unit=unit, spike="delta")).blocks[0]
    assert lif.tau_mem.tolist() == pytest.approx([10e-3, 20e-3], rel=1e-15)
    assert lif.tau_syn.tolist() == pytest.approx([5e-3, 4e-3], rel=1e-15)
    assert lif.t_ref.tolist() == pytest.approx([0.75e-3, 1e-3], rel=1e-15)
    assert dense.delay is not None
    assert dense.delay.tolist() == pytest.approx([1e-3, 2e-3, 3e-3], rel=1e-15)
    assert (lif.v_leak.tolist(), lif.v_th.tolist(), lif.v_reset.tolist()) == ([0.25, 0.5], [1.5, 2.5], [-0.5, -0.75])
    # w r w_in / tau_syn: whatever the unit
    np.testing.assert_allclose(dense.weight.detach().numpy(), 4.0, rtol=1e-15)


def test_weights_take_the_gains_of_their_own_neuron() -> None:
    node = neurons(r=[2.0, 3.0], w_in=[0.5, 7.0], tau_syn=[0.25, 0.5])
    weight = from_nir(
        graph(nir.Linear(np.array([[1.0, -2.0, 0.5], [1.0, 0.0, -1.0]])), node, time_unit="s", spike="delta")
    )
    first, second = 2.0 * 0.5 / 0.25, 3.0 * 7.0 / 0.5
    assert weight.blocks[0][0].weight.tolist() == [[first, -2 * first, 0.5 * first], [second, 0.0, -second]]


@pytest.mark.parametrize(("width", "factor"), [(0, 1.0), (0.5, 0.5), (2e-3, 2e-3)])
def test_a_pulse_brings_its_area(width: float, factor: float) -> None:
    net = from_nir(plain_graph(time_unit="s"), spike_width=width)
    np.testing.assert_allclose(net.blocks[0][0].weight.detach().numpy(), factor, rtol=1e-15)
    wording = "deltas, given by the caller" if width == 0 else f"pulses of width {width:g}, given by the caller"
    assert net.nir_evidence == f"time unit s: metadata time_unit = 's'; spikes: {wording}"


@pytest.mark.parametrize("width", [-1e-9, np.nan, np.inf])
def test_a_width_that_is_none_is_refused(width: float) -> None:
    with pytest.raises(InputError, match=r"spike_width = .*; allowed: 0 \(a delta\) or a finite width"):
        from_nir(plain_graph(time_unit="s"), spike_width=width)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [(np.float16, torch.float32), (np.float32, torch.float32), (np.float64, torch.float64), (np.int32, torch.float64)],
)
def test_weights_keep_their_precision_and_whole_numbers_become_float64(given: Any, dtype: torch.dtype) -> None:
    weight = np.array([[1, 2, 3], [4, 5, 6]], dtype=given)
    dense = from_nir(graph(nir.Linear(weight), neurons(), time_unit="s", spike="delta")).blocks[0][0]
    assert dense.weight.dtype == dtype
    assert dense.weight.tolist() == weight.tolist()


def test_one_number_stands_for_all_neurons_and_another_shape_is_refused() -> None:
    node = neurons()
    node.tau_mem, node.r = np.array([20e-3]), np.float64(2.0)
    dense, lif = from_nir(plain_graph(node, time_unit="s", spike="delta")).blocks[0]
    assert lif.tau_mem.tolist() == [20e-3, 20e-3]
    assert dense.weight.tolist() == [[2.0] * 3] * 2
    node.tau_mem = np.array([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match=r"node 'cubalif': tau_mem has shape \(3,\); allowed: one number, or \(2,\)"):
        from_nir(plain_graph(node, time_unit="s"))
    for gain in ("r", "w_in"):
        node = neurons()
        setattr(node, gain, np.ones((2, 1)))
        with pytest.raises(
            InputError, match=rf"node 'cubalif': {gain} has shape \(2, 1\); allowed: one number, or \(2,\)"
        ):
            from_nir(plain_graph(node, time_unit="s", spike="delta"))
    with pytest.raises(InputError, match=r"node 'delay': delay has shape \(2,\); allowed: one number, or \(3,\)"):
        from_nir(graph(nir.Delay(np.zeros(2)), nir.Linear(np.ones((2, 3))), neurons(), time_unit="s"))
    delayed = from_nir(graph(nir.Delay(np.array([2e-3])), nir.Linear(np.ones((2, 3))), neurons(), time_unit="s"))
    assert delayed.blocks[0][0].delay is not None
    assert delayed.blocks[0][0].delay.tolist() == [2e-3] * 3


def test_metadata_of_a_neuron_are_taken_and_their_absence_means_nir() -> None:
    plain = from_nir(plain_graph(time_unit="s")).blocks[0][1]
    assert (plain.reset, plain.max_spikes, plain.t_ref.tolist(), plain.v_reset.tolist()) == (
        "value",
        None,
        [0, 0],
        [0, 0],
    )
    metadata = {"reset": "subtract", "max_spikes": 3.0, "t_ref": 1e-3}
    full = from_nir(plain_graph(neurons(metadata=metadata), time_unit="s")).blocks[0][1]
    assert (full.reset, full.max_spikes, type(full.max_spikes)) == ("subtract", 3, int)
    assert full.t_ref.tolist() == [1e-3, 1e-3]
    for bad in (2.5, -0.5):
        with pytest.raises(InputError, match=rf"max_spikes = {bad}; allowed: a whole number >= 1"):
            from_nir(plain_graph(neurons(metadata={"max_spikes": bad}), time_unit="s"))


def test_every_layer_of_a_row_is_read_in_order() -> None:
    net = from_nir(
        graph(
            nir.Linear(np.full((2, 3), 1.0)), neurons(tau_mem=7e-3), nir.Delay(np.array([1e-3, 2e-3])),
            nir.Affine(np.full((4, 2), 2.0), np.zeros(4)), neurons(4, tau_mem=9e-3), time_unit="s", spike="delta",
        )
    )  # fmt: skip
    (first, one), (second, two) = net.blocks
    assert (first.n_in, first.n_out, second.n_in, second.n_out) == (3, 2, 2, 4)
    assert (first.delay, one.tau_mem[0].item(), two.tau_mem[0].item()) == (None, 7e-3, 9e-3)
    assert second.delay is not None
    assert second.delay.tolist() == [1e-3, 2e-3]
    assert float(second.weight[3, 1].detach()) == 2.0


# -- in: the time unit ----------------------------------------------------------------------------


def unit_of(low: float, high: float | None = None, asked: str | None = None, **metadata: Any) -> str:
    node = neurons(tau_mem=low if high is None else high, tau_syn=low, w_in=1.0, r=3.0)
    return str(from_nir(plain_graph(node, **metadata), asked).nir_evidence)


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
        f"time unit s: metadata exporter = {exporter!r}, which writes s; spikes: "
    )
    assert unit_of(5.0, exporter=exporter.encode()).startswith("time unit s: metadata exporter")
    # what the graph says itself comes first
    assert unit_of(5.0, exporter=exporter, time_unit="ms").startswith("time unit ms: metadata time_unit = 'ms'")


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [
        (1e-6, 1e-6, "s"), (1e-6, 0.999, "s"), (1.0, 1.0, "ms"), (1.0, 999.0, "ms"), (1e3, 1e3, "us"), (1e3, 0.99e6, "us"),
        (0.99e-6, 1e-3, None), (1e-3, 1.0, None), (0.99, 1.0, None), (1.0, 1e3, None), (999.0, 1e3, None), (1e3, 1e6, None),
    ],
)  # fmt: skip
def test_without_a_word_all_time_constants_lie_within_one_units_range(
    low: float, high: float, unit: str | None
) -> None:
    if unit is not None:
        assert unit_of(low, high).startswith(
            f"time unit {unit}: not stated; time constants of {low:g}..{high:g} are plausible in {unit}"
        )
        return
    with pytest.raises(InputError, match=re.escape(f"time constants of {low:g}..{high:g} fit none of s, ms, us: pass")):
        unit_of(low, high)


def test_time_constants_of_all_layers_count() -> None:
    nodes = [nir.Linear(np.ones((2, 3))), neurons(), nir.Linear(np.ones((2, 2))), neurons(tau_mem=10.0, tau_syn=5.0)]
    with pytest.raises(InputError, match="time constants of 0.005..10 fit none"):
        from_nir(graph(*nodes))
    assert from_nir(graph(*nodes), "ms").nir_evidence.startswith("time unit ms: given by the caller;")


@pytest.mark.parametrize(
    ("asked", "metadata", "evidence", "level"),
    [
        (None, {"time_unit": "s"}, "metadata time_unit = 's'", "INFO"),
        (None, {"exporter": "norse"}, "metadata exporter = 'norse', which writes s", "INFO"),
        (None, {}, "not stated; time constants of 0.005..0.01 are plausible in s", "WARNING"),
        (None, {"exporter": "sinabs"}, "not stated; time constants of 0.005..0.01 are plausible in s", "WARNING"),
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
    net = from_nir(plain_graph(spike="delta", **metadata), asked)
    assert net.nir_evidence == f"time unit {asked or 's'}: {evidence}; spikes: deltas, metadata spike = 'delta'"
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (level, f"NIR import: {net.nir_evidence}")
    ]


def test_a_unit_that_nobody_knows_is_refused_whoever_names_it() -> None:
    with pytest.raises(
        InputError, match=r"metadata time_unit = 'steps'; allowed: s, ms, us. Pass time_unit to override it"
    ):
        from_nir(plain_graph(time_unit="steps"))
    for asked in ("seconds", "MS", ""):
        with pytest.raises(OptionError, match=f"time_unit = '{asked}'; allowed: 's', 'ms', 'us'"):
            from_nir(plain_graph(time_unit="s"), asked)


# -- in: what a spike is --------------------------------------------------------------------------


def spikes_of(*nodes: nir.CubaLIF, **metadata: Any) -> str:
    layers = [part for node in nodes for part in (nir.Linear(np.ones((2, 2))), node)]
    return str(from_nir(graph(*layers, time_unit="s", **metadata)).nir_evidence).split("spikes: ")[1]


DELTAS = "deltas, as in the NIR specification"


def stepped(dt: float, tau_mem: Any = 10e-3, tau_syn: Any = 5e-3, **more: Any) -> nir.CubaLIF:
    """A neuron as exporters in steps of ``dt`` write it: ``r = tau_mem / dt``, ``w_in = tau_syn / dt``."""
    r, w_in = np.asarray(tau_mem) / dt, np.asarray(tau_syn) / dt
    return neurons(tau_mem=tau_mem, tau_syn=tau_syn, r=more.get("r", r), w_in=more.get("w_in", w_in))


def test_a_common_step_of_all_neurons_is_taken_for_the_width_of_a_pulse() -> None:
    found = spikes_of(stepped(1e-4), stepped(1e-4, [20e-3, 7e-3], [3e-3, 9e-3]))
    assert found == (
        "pulses of width 0.0001, the time step of the exporter, since tau_mem / r = tau_syn / w_in for every neuron"
    )
    net = from_nir(plain_graph(stepped(1e-4), time_unit="s"))
    # w r w_in dt / tau_syn = w tau_mem / dt
    np.testing.assert_allclose(net.blocks[0][0].weight.detach().numpy(), 100.0, rtol=1e-12)
    assert spikes_of(stepped(1e-4), stepped(2e-4)) == DELTAS
    assert spikes_of(stepped(1e-4), spike="delta") == "deltas, metadata spike = 'delta'"
    assert spikes_of(stepped(1e-4), spike=b"delta") == "deltas, metadata spike = 'delta'"
    assert spikes_of(stepped(1e-4), spike="pulse").startswith("pulses of width 0.0001")


@pytest.mark.parametrize(("off", "step"), [(0.9e-5, True), (-0.9e-5, True), (1.1e-5, False), (-1.1e-5, False)])
def test_a_step_agrees_to_a_hundred_thousandth(off: float, step: bool) -> None:
    # three of four ratios are the step itself, so is their median
    node = stepped(1e-4, r=np.array([100.0, 100.0 / (1 + off)]))
    assert spikes_of(node).startswith("pulses" if step else "deltas")


@pytest.mark.parametrize(("share", "step"), [(0.7499, True), (0.7501, False)])
def test_a_step_is_shorter_than_three_quarters_of_every_time_constant(share: float, step: bool) -> None:
    for node in (stepped(share * 5e-3), stepped(share * 4e-3, 4e-3, 5e-3), stepped(share * 3e-3, 10e-3, [5e-3, 3e-3])):
        assert spikes_of(node).startswith("pulses" if step else "deltas")


@pytest.mark.parametrize(
    "fields", [{"r": [100.0, 0.0]}, {"r": [100.0, -100.0]}, {"w_in": [50.0, 0.0]}, {"w_in": -50.0}]
)
def test_gains_that_are_not_positive_show_no_step(fields: dict[str, Any]) -> None:
    assert spikes_of(stepped(1e-4, **fields)) == DELTAS


# -- refusals -------------------------------------------------------------------------------------


def test_a_bias_is_refused_by_its_largest_and_zeros_are_none() -> None:
    layer = nir.Affine(np.ones((2, 3)), np.array([0.25, -0.75]))
    with pytest.raises(InputError, match=r"node 'affine': Affine with a bias of up to 0.75; allowed: none"):
        from_nir(graph(layer, neurons(), time_unit="s"))


def test_a_row_has_one_input_and_one_output() -> None:
    base = {"w": nir.Linear(np.ones((2, 2))), "lif": neurons()}
    inputs, outputs = nir.Input(np.array([2])), nir.Output(np.array([2]))
    edges = [("in", "w"), ("w", "lif"), ("lif", "out")]

    def built(more: dict[str, nir.NIRNode], edges: list[tuple[str, str]]) -> nir.NIRGraph:
        return nir.NIRGraph({**base, **more}, edges, metadata={"time_unit": "s"}, type_check=False)

    assert from_nir(built({"in": inputs, "out": outputs}, edges)).n_in == 2
    with pytest.raises(InputError, match=r"0 Input nodes \(none\); allowed: exactly one"):
        from_nir(built({"out": outputs}, edges[1:]))
    with pytest.raises(InputError, match=r"0 Output nodes \(none\); allowed: exactly one"):
        from_nir(built({"in": inputs}, edges[:2]))
    more = {"in": inputs, "out": outputs, "out2": nir.Output(np.array([2]))}
    with pytest.raises(InputError, match=r"2 Output nodes \('out', 'out2'\)"):
        from_nir(built(more, [*edges, ("lif", "out2")]))
    with pytest.raises(InputError, match=r"node 'x' \(CubaLIF\) takes from 0 nodes \(none\); allowed: 1"):
        from_nir(built({"in": inputs, "out": outputs, "x": neurons()}, [*edges, ("x", "w")]))
    with pytest.raises(InputError, match=r"node 'out' \(Output\) leads to 1 nodes \('y'\); allowed: 0"):
        from_nir(built({"in": inputs, "out": outputs, "y": neurons()}, [*edges, ("out", "y")]))
    with pytest.raises(
        InputError, match=r"edge 'lif' -> 'gone': the graph has no node 'gone'; it has 'w', 'lif', 'in', 'out'"
    ):
        from_nir(built({"in": inputs, "out": outputs}, [*edges, ("lif", "gone")]))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((nir.Delay(np.zeros(3)), nir.Delay(np.zeros(3)), nir.Linear(np.ones((2, 3))), neurons()), "'delay_1' is Delay; .*merge"),
        ((nir.Linear(np.ones((2, 3))), neurons(), neurons()), r"'cubalif_1' is CubaLIF; allowed: \[Delay,\] Linear or Affine, CubaLIF, in this order. .*merge neighbouring nodes"),
        ((nir.Delay(np.zeros(2)), neurons()), "'cubalif' is CubaLIF"),
        ((nir.Linear(np.ones((2, 3))), neurons(), nir.Threshold(np.ones(2))), "'threshold' is Threshold; .*Export the network without it"),
        ((nir.Linear(np.ones((2, 3))), neurons(), nir.Delay(np.zeros(2))), "ends after 'delay', before a layer is complete"),
    ],
)  # fmt: skip
def test_layers_are_delay_weights_neurons_in_this_order(nodes: tuple[nir.NIRNode, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_nir(graph(*nodes, time_unit="s"))


def test_sizes_that_do_not_fit_are_named_by_both_nodes() -> None:
    with pytest.raises(InputError, match=r"node 'cubalif'( and the weights 'linear' before it)?: .*\(2,\)"):
        from_nir(graph(nir.Linear(np.ones((3, 3))), neurons(2), time_unit="s"))


def test_a_cycle_is_named_along_its_edges() -> None:
    row = [("in", "w"), ("w", "lif"), ("lif", "out")]
    cycle = [("lif", "a"), ("a", "b"), ("b", "lif")]
    nodes = {
        "in": nir.Input(np.array([2])), "w": nir.Linear(np.ones((2, 2))), "lif": neurons(), "out": nir.Output(np.array([2])),
        "a": nir.Linear(np.ones((2, 2))), "b": nir.Linear(np.ones((2, 2))),
    }  # fmt: skip
    with pytest.raises(InputError, match="recurrent edges .*; allowed: feed-forward networks") as caught:
        from_nir(nir.NIRGraph(nodes, [*row, *cycle], metadata={"time_unit": "s"}, type_check=False))
    names = re.findall(r"'(\w+)'", str(caught.value))
    assert names[0] == names[-1]
    assert sorted(pairwise(names)) == sorted(cycle)
