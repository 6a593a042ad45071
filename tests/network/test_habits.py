"""Where the habits of a user of torch and NumPy meet the API: it works, or the message says what to write instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import quantities as pq
import torch
from torch import nn

import hwloop as hl
from hwloop import encoding
from hwloop.errors import InputError


def layers() -> list[nn.Module]:
    return [hl.Dense(3, 2), hl.LIF(2, 10e-3, 5e-3)]


NET = hl.Network(layers())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.rand(2, 3), r"a tensor \(2, 3\) of torch.float32; allowed: Spikes of 3 units. From spike times"),
        (torch.rand(2, 5, 3), r"From a raster .*: Spikes.from_dense\(raster, dt\)"),
        (np.zeros((2, 3)), r"an array \(2, 3\) of float64; allowed: Spikes of 3 units. From spike times"),
        ([([1e-3], [0])], r"From lists of events: Spikes.from_events"),
        (None, "the input is None; allowed: Spikes"),
    ],
)
def test_what_is_no_spikes_is_answered_with_how_to_make_them(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        NET(given)
    with pytest.raises(InputError, match="allowed: Spikes"):
        NET(spikes=given)


def test_the_ways_that_the_message_names_give_an_input() -> None:
    for spikes in (
        hl.Spikes.from_first_times(torch.rand(2, 3) * 1e-2, 0.05),
        encoding.latency(torch.rand(2, 3), 0.0, 1e-2, 0.05),
        hl.Spikes.from_dense(torch.rand(2, 5, 3) < 0.5, 1e-3),
        hl.Spikes.from_events([([1e-3], [0])], 3, 0.05),
    ):
        assert len(NET(spikes)) == 1
    record = NET(spikes)
    with pytest.raises(InputError, match="a record; allowed: Spikes. Those of its last layer are record.output"):
        NET(record)
    assert len(hl.Network([hl.Dense(2, 2), hl.LIF(2, 10e-3, 5e-3)])(record.output)) == 1
    assert record[np.int64(0)] is record.output


def test_layers_that_torch_would_call_in_a_row_say_what_calls_them() -> None:
    row = nn.Sequential(*layers())
    spikes = hl.Spikes.from_events([([1e-3], [0])], 3, 0.05)
    with pytest.raises(InputError, match=r"Dense: it is half a spiking layer.*hl.Network\(\[hl.Dense"):
        row(spikes)
    with pytest.raises(InputError, match="LIF: it is half a spiking layer"):
        row[1](spikes)
    assert len(hl.Network(row)(spikes)) == 1


def test_layers_given_one_by_one_are_asked_for_in_a_list() -> None:
    for given in (lambda: hl.Network(*layers()), lambda: hl.Network(layers()[0]), lambda: hl.Network(3)):
        with pytest.raises(InputError, match=r"allowed: one list, Network\(\[Dense, LIF\]\)"):
            given()
    assert hl.Network(layer for layer in layers()).n_out == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: hl.LIF(10e-3, 5e-3), r"n = 0.01 is no number of neurons.*LIF\(0.01, 0.005\) should read LIF\(4, 10e-3, 5e-3\)"),
        (lambda: hl.LIF(4, 10e-3), r"tau_syn is missing; .*Write LIF\(4, 10e-3, 5e-3\)"),
        (lambda: hl.LIF(4), "tau_mem is missing"),
        (lambda: hl.LIF(4, "10ms", 5e-3), "tau_mem = '10ms'; allowed: numbers. Times are numbers in seconds: write 0.01"),
        (lambda: hl.LIF(4, 10e-3, "5 ms"), "tau_syn = '5 ms'.*write 0.005"),
        (lambda: hl.LIF(4, "fast", 5e-3), "tau_mem = 'fast'; allowed: numbers$"),
        (lambda: hl.LIF(4, 10 * pq.ms, 5e-3), "tau_mem has the unit ms, which would be dropped"),
        (lambda: hl.LIF(4, True, 5e-3), "tau_mem = True; allowed: numbers"),
        (lambda: hl.LIF(2, torch.tensor([True, True]), 5e-3), "tau_mem is torch.bool"),
        (lambda: hl.LIF(2, torch.tensor(0.01, requires_grad=True), 5e-3), "tau_mem requires grad, but is no parameter"),
        (lambda: hl.LIF(2, nn.Parameter(torch.ones(2).half()), 5e-3), "a parameter of torch.float16; allowed: float32"),
        (lambda: hl.LIF(np.float64(4), 10e-3, 5e-3), r"n = np.float64\(4.0\); allowed: a whole number"),
        (lambda: hl.LIF(True, 10e-3, 5e-3), "n = True; allowed: a whole number"),
        (lambda: hl.Dense(True, 2), "n_in = True"),
        (lambda: hl.Dense(3, 2, delay="1ms"), "delay = '1ms'.*write 0.001"),
        (lambda: hl.Dense(10**6, 10**6), r"Dense\(1000000, 1000000\) takes 4,000.0 GB of memory; this machine has"),
    ],
)  # fmt: skip
def test_what_is_no_layer_is_refused_with_how_to_write_it(build: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def test_layers_take_numpys_and_torchs_numbers() -> None:
    n = np.array([0, 3]).max()
    frozen = np.array([1e-2, 2e-2, 3e-2], ">f8")[::-1]
    frozen.flags.writeable = False
    lif = hl.LIF(n, frozen, torch.tensor(5e-3).bfloat16(), max_spikes=np.int64(2))
    assert (lif.n, lif.max_spikes, lif.tau_mem.dtype, lif.tau_syn.dtype) == (3, 2, torch.float32, torch.float32)
    assert lif.tau_mem.tolist() == pytest.approx([3e-2, 2e-2, 1e-2])
    dense = hl.Dense(n, torch.tensor(2), delay=np.array([0, 1, 2]))  # type: ignore[arg-type]
    assert (dense.weight.shape, type(dense.n_in)) == ((2, 3), int)


def test_a_delay_is_not_changed_by_what_becomes_of_the_callers_tensor() -> None:
    delay = torch.full((3,), 1e-3)
    dense = hl.Dense(3, 2, delay=delay)
    delay.mul_(5)
    assert dense.delay is not None
    assert dense.delay.tolist() == pytest.approx([1e-3] * 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_in_half_precision_is_refused_with_the_way_back(dtype: torch.dtype) -> None:
    net, spikes = hl.Network(layers()), hl.Spikes.from_events([([1e-3], [0])], 3, 0.05)
    net.to(dtype)
    with pytest.raises(InputError, match=r"the network is in torch\..*float16; allowed: float32, net.float\(\)"):
        net(spikes)
    assert len(net.float()(spikes)) == 1
