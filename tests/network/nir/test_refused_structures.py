"""NIR graphs of a structure or with a value that is not carried: refused by the name of the node."""

from __future__ import annotations

from collections.abc import Callable

import nir
import numpy as np
import pytest
import torch

from hwloop import InputError, Network
from hwloop.network.nir.read import from_nir

from .made import (
    conv,
    cuba,
    ends,
    graph,
    li,
    lif,
    linear,
    nested,
    pool,
    row,
    two_by_two,
)


def made(nodes: dict[str, nir.NIRNode], *edges: tuple[str, str]) -> Callable[[], nir.NIRGraph]:
    return lambda: graph({**ends(), **nodes}, list(edges))


W_N = {"w": linear(2, 2), "n": cuba()}
ROW = (("in", "w"), ("w", "n"), ("n", "out"))


REFUSED: dict[str, tuple[Callable[[], nir.NIRGraph], str]] = {
    "threshold": (lambda: row(linear(), nir.Threshold(np.ones(2)), n_out=2), "node 'n1' is Threshold, which is not carried; it compares .*use LIF or IF"),
    "integrator": (lambda: row(linear(), nir.I(np.ones(2))), "node 'n1' is I, which is not carried; .*use LI"),
    "module": (made({"w": linear(2, 2), "n": None}, *ROW), "node 'n' is NoneType, .*its exporter met a module"),  # type: ignore[dict-item]
    "foreign": (made({"w": linear(2, 2), "n": "LIF"}, *ROW), "node 'n' is str, .*no node of NIR"),  # type: ignore[dict-item]
    "loose edge": (lambda: two_by_two(("n", "gone")), "edge 'n' -> 'gone': the graph has no node 'gone'; it has 'in', 'w', 'n', 'out'. Correct"),
    "edge twice": (lambda: two_by_two(("w", "n")), "edge 'w' -> 'n' stands 2 times; allowed: once"),
    "loose map": (lambda: two_by_two(v=linear()), "node 'v' .Linear. takes from nothing; add the edge into it"),
    "dead end": (lambda: two_by_two(("in", "v"), v=linear(2, 2)), "node 'v' .Linear. leads to nothing; add the edge out of it"),
    "loose neurons": (lambda: two_by_two(("m", "w"), m=cuba()), "node 'm' .CubaLIF. takes from nothing"),
    "loose input": (lambda: two_by_two(more=nir.Input(np.array([2]))), "node 'more' .Input. leads to nothing"),
    "into an input": (lambda: two_by_two(("n", "in")), "node 'in' .Input. takes from 'n'; allowed: nothing. Drop the edge"),
    "out of an output": (lambda: two_by_two(("out", "w")), "node 'out' .Output. leads to 'w'; allowed: nothing. Drop the edge"),
    "no neurons": (made({"w": linear(2, 2)}, ("in", "w"), ("w", "out")), "the graph has no neurons"),
    "no output": (lambda: graph({"in": nir.Input(np.array([2])), **W_N}, [("in", "w"), ("w", "n")]), "0 Output nodes .none.; allowed: one"),
    "no input": (lambda: graph({**W_N, "out": nir.Output(np.array([2]))}, [("w", "n"), ("n", "out"), ("n", "w")]), "0 inputs"),
    "ends in weights": (lambda: row(linear(), cuba(), linear(2, 2), n_out=2), "the graph ends in 'n2' .Linear., after which no neurons come; .*Add an LI"),
    "output of an input": (lambda: graph({**ends(), **W_N, "o": nir.Output(np.array([2]))}, [*ROW, ("in", "o")]), "'o' .Output. takes from 'in'; allowed: one node of neurons"),
    "output of two": (lambda: graph({**ends(), **W_N, "v": linear(2, 2), "m": cuba()}, [*ROW, ("in", "v"), ("v", "m"), ("m", "out")]), "'out' .Output. takes from 'n', 'm'; allowed: one"),
    "loop of maps": (lambda: two_by_two(("w", "v"), ("v", "w"), v=linear(2, 2)), "a loop without neurons: .*'w'.*'v'"),
    "readout that drives": (lambda: two_by_two(("n", "li"), ("li", "v"), ("v", "n"), li=li(), v=linear(2, 2)), "'li' does not spike and drives nothing"),
    "two gates": (lambda: graph({**ends(), "s": nested([("in", "l"), ("l", "n"), ("n", "out"), ("in2", "l")], in2=nir.Input(np.array([2])))}, [("in", "s"), ("s", "out")]),
                  "node 's' is a graph with 2 Input nodes .'in', 'in2'.; allowed: 1"),
    "same name": (lambda: graph({**ends(), "s": nested(), "s.n": cuba()}, [("in", "s"), ("s", "s.n"), ("s.n", "out")]), "two nodes are called 's.n'"),
    "batch": (made({"w": linear(2, 2), "n": cuba(), "in": nir.Input(np.array([4, 2]))}, *ROW), r"node 'in' .Input. has the shape \(4, 2\); .*If the first axis is a batch"),
    "axes": (lambda: row(linear(2, 32), cuba(), n_in=[2, 2, 2, 4]), r"node 'in' .Input. has the shape \(2, 2, 2, 4\)"),
    "no shape": (made({**W_N, "in": nir.Input({"input": None})}, *ROW), "node 'in' has the shape None; allowed: whole numbers >= 1"),
    "odd shape": (made({**W_N, "in": nir.Input(np.array([0]))}, *ROW), "node 'in' has the shape .*; allowed: whole numbers >= 1"),
    "endless shape": (made({**W_N, "in": nir.Input(np.array([np.inf]))}, *ROW), "node 'in' has the shape .*; allowed: whole numbers >= 1"),
    "a shape that is none": (made({**W_N, "in": nir.Input(np.array([np.nan]))}, *ROW), "node 'in' has the shape .*; allowed: whole numbers >= 1"),
    "input size": (made({**W_N, "in": nir.Input(np.array([5]))}, *ROW), r"node 'w': .*takes 2 inputs, the units before it are \(5,\)"),
    "hidden size": (lambda: row(linear(), cuba(), linear(2, 3), cuba()), r"node 'n2': .*takes 3 inputs, the units before it are \(2,\)"),
    "neurons' size": (lambda: row(linear(4, 3), cuba(2)), r"node 'n1' .CubaLIF. has 2 neurons \(2,\), 'n0' before it 4 units \(4,\); allowed: as many"),
    "output size": (lambda: row(linear(), cuba(), n_out=7), r"node 'out' .Output. has the shape \(7,\), 'n1' before it has \(2,\)"),
    "channels": (lambda: row(conv(2, 3, 3, 8), lif((2, 6, 6)), n_in=[1, 8, 8]), "node 'n0': .*takes 3 channels"),
    "sides": (lambda: row(conv(2, 1, 3, 9), lif((2, 6, 6)), n_in=[1, 8, 8]), r"node 'n0' .Conv2d.: input_shape = \(9, 9\), the units before it are \(1, 8, 8\)"),
    "no maps": (lambda: row(linear(4, 3), cuba(4), pool(nir.SumPool2d, 2), linear(2, 1), cuba()), r"node 'n2': .*takes maps, \(channels, height, width\); the units before it are \(4,\)"),
    "uneven same": (lambda: row(conv(1, 1, 2, 8, padding="same"), lif((1, 8, 8)), n_in=[1, 8, 8]), "node 'n0': padding = 'same' with kernel .*Export it with numbers"),
    "odd stride": (lambda: row(conv(1, 1, 3, 8, stride=np.array([1, 1, 1])), lif((1, 6, 6)), n_in=[1, 8, 8]), r"node 'n0': stride = \[1, 1, 1\]; allowed: one whole number, or one a side"),
    "half a stride": (lambda: row(conv(1, 1, 3, 8, stride=np.array([1.5, 1.0])), lif((1, 6, 6)), n_in=[1, 8, 8]), "node 'n0': stride = .*1.5.*; allowed: whole numbers"),
    "half a window": (lambda: row(pool(nir.SumPool2d, 1.5), lif((1, 4, 4)), n_in=[1, 8, 8]), "node 'n0': kernel_size = .*1.5.*; allowed: whole numbers"),
    "a stride of true": (lambda: row(conv(1, 1, 3, 8, stride=np.array([True, True])), lif((1, 6, 6)), n_in=[1, 8, 8]), "node 'n0': stride = .*True.*; allowed: whole numbers"),
    "axes of weights": (lambda: row(nir.Conv1d(8, np.ones((1, 1, 1, 3)), 1, 0, 1, 1, np.zeros(1)), lif((1, 1, 6)), n_in=[1, 8]), r"node 'n0': weight has shape .*; allowed: \[c_out, c_in, length\]"),
    "weights' axes": (lambda: row(nir.Linear(np.ones((2, 2, 3))), cuba(), n_in=3, n_out=2), r"node 'n0': weight has shape \(2, 2, 3\); allowed: two axes"),
    "jump and bias": (lambda: row(nir.Affine(np.ones((2, 3)), np.ones(2)), cuba(w_in=1.0), time_unit="s", spike="jump"), "node 'n0' has a bias, which has no size where spikes are jumps .*Pass spike=.'jump', dt. with that step in seconds"),
    "jump and a bias behind another map": (lambda: row(linear(3, 3), nir.Affine(np.ones((2, 3)), np.ones(2)), cuba(w_in=1.0), time_unit="s", spike="jump"), "node 'n1' has a bias, which has no size where spikes are jumps"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_by_name(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        from_nir(make(), reset="value")


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((linear(value=float("nan")), cuba()), "'n0' before it: a weight .*NaN"),
        ((linear(), cuba(r=[1.0, np.inf])), "'n0' before it: a weight .*infinite"),
        ((nir.Affine(np.ones((2, 3)), np.array([0.0, np.nan])), cuba()), "node 'n0': a bias is NaN"),
        ((linear(), cuba(tau_syn=0.0)), "tau_syn = 0|weight .*infinite"),
        ((linear(), cuba(tau_mem=-1.0)), "node 'n1': .*neuron 0: tau_mem = -1"),
        ((linear(), lif(tau=-1.0)), "node 'n1': .*neuron 0: tau_mem = -1"),
        ((linear(), li(v_leak=np.nan)), "node 'n1': .*neuron 0: v_leak = nan"),
        ((linear(), cuba(v_reset=[0.0, 2.0])), "node 'n1': .*neuron 1: v_th - v_reset"),
        ((linear(), cuba(metadata={"t_ref": np.ones(3)})), r"node 'n1': metadata t_ref has shape \(3,\); allowed: one number"),
        ((linear(), cuba(metadata={"max_spikes": 1.5})), "node 'n1': metadata max_spikes = 1.5; allowed: a whole number"),
        *(
            ((linear(), cuba(metadata={"max_spikes": bad})), "node 'n1': metadata max_spikes = .*; allowed: a whole number")
            for bad in (np.nan, np.inf, True, [1, 2])
        ),
        ((linear(), cuba(metadata={"max_spikes": 0})), "node 'n1': .*max_spikes"),
        ((nir.Delay(np.array([0.0, -1.0, 0.0])), linear(), cuba()), "node 'n1': Dense: delay of input unit 1 = -1|delay .*-1"),
        ((nir.Delay(np.zeros(2)), linear(), cuba()), r"node 'n0': delay has shape \(2,\); allowed: one number"),
        ((nir.Scale(np.array([1.0, np.nan, 1.0])), linear(), cuba()), "node 'n0': .*a factor is NaN"),
        ((linear(), cuba(2, tau_mem=[1e-3, 2e-3]), linear(3, 2), cuba(2)), "node 'n3' .*has 2 neurons"),
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused_by_node(nodes: tuple[nir.NIRNode, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_nir(row(*nodes, n_in=3), reset="value")


def test_values_that_are_no_numbers_are_refused_by_node() -> None:
    node = cuba()
    node.v_leak = np.array(["a", "b"])
    with pytest.raises(InputError, match="node 'n1': v_leak has values of dtype <U1; allowed: real numbers"):
        from_nir(row(linear(), node))


def test_nothing_half_built_is_left_of_a_refused_graph() -> None:
    before = torch.get_rng_state()
    with pytest.raises(InputError):
        Network.from_nir(row(linear(), cuba(tau_mem=-1.0)))
    assert torch.equal(before, torch.get_rng_state())
