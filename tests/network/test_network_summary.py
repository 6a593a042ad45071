"""A network shows what it is made of, how much it spikes, and whether a target can carry it."""

from __future__ import annotations

import torch

import hwloop as hl


def chain(hidden: int = 6) -> hl.Network:
    torch.manual_seed(0)
    net = hl.Network([hl.Dense(3, hidden), hl.LIF(hidden, torch.nn.Parameter(torch.full((hidden,), 10e-3)), 5e-3), hl.Dense(hidden, 2), hl.LIF(2, 10e-3, 5e-3)])  # fmt: skip
    net.layers[0].init_normal_(2.0, 1.0)
    return net


def spikes() -> hl.Spikes:
    return hl.Spikes.from_events([([1e-3, 3e-3, 7e-3], [0, 1, 2])] * 2, 3, 40e-3)


def test_rows_say_sizes_maps_and_what_is_trained() -> None:
    found = chain().summary()
    assert [row[:4] for row in found.rows] == [
        ("input (Input)", "3", "-", "0"), ("0 (LIF)", "6", "Dense of input", "24"), ("1 (LIF)", "2", "Dense of 0", "12")
    ]  # fmt: skip
    assert found.rows[1][4:] == ("10 ms", "5 ms", "1")
    assert found.lines == ("36 trained values; 8 neurons, output 1",)
    assert all(len(line) <= 80 for line in str(found).splitlines())
    assert "<td>Dense of input</td>" in found._repr_html_()


def test_rates_are_those_of_the_record() -> None:
    net = chain()
    record = net(spikes())
    for given in (spikes(), record):
        found = net.summary(spikes=given)
        counts = record[0].unit_counts().double()
        assert found.rows[1][-2:] == (f"{counts.mean():.3g}", f"{100 * (counts.sum(0) == 0).double().mean():.1f} %")
        assert found.rows[0][-2:] == ("1", "0.0 %")


def test_what_a_network_takes_of_a_target_is_said_by_name_target_and_device() -> None:
    net = chain()
    with hl.open("emulator:7", preset="bss2") as chip:
        said = [net.summary(target).lines[1:3] for target in ("emulator:7", chip.target, chip)]
    assert (
        said[0]
        == said[1]
        == said[2]
        == ("fits emulator:7: 8 of 512 neurons, 30 synapses, 6-bit weights", "fan-in 6 of 256, 1.6 % of the neurons")
    )
    (_, refused) = chain(600).summary("emulator:7").lines
    assert refused.startswith("does not fit emulator:7: ")
    assert "the target allows" in refused
    assert "Cheapest fix" in refused


def test_graphs_and_maps_are_shown_with_their_shapes() -> None:
    graph = hl.Network.graph(
        {"in": hl.Input((1, 4, 4)), "maps": hl.LIF((2, 3, 3), 10e-3, 5e-3), "out": hl.LI(2, 20e-3)},
        [hl.Projection("in", "maps", hl.Conv2d(1, 2, 2)), hl.Projection("maps", "out", [hl.Flatten(), hl.Dense(18, 2, bias=True)])],
    )  # fmt: skip
    rows = graph.summary().rows
    assert [row[1] for row in rows] == ["1 x 4 x 4", "2 x 3 x 3", "2"]
    assert rows[2][2:4] == ("Flatten, Dense (bias) of maps", "38")
    assert repr(graph) == "Network(populations=in Input 16, maps LIF 18, out LI 2, trained=46)"
