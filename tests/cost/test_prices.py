"""Energy is a range over cited prices; a target without one gets counts and no joules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import hwloop as hl
from hwloop.cost import cost_of, prices_of, shipped_prices
from hwloop.cost.operations import Operations
from hwloop.cost.prices import caveat, energy
from tests.cli_runs import TINY, done, refused, untrained

COUNTS = Operations("all", effective=1000, connected=1500, dense=None, updates=200, spikes=10)


def test_every_price_names_process_and_source() -> None:
    assert len(shipped_prices()) == 5
    for price in shipped_prices():
        assert len(price.source) > 20
        assert "nm" in price.process
        assert price.limits
        for name in ("synaptic_event", "neuron_update", "spike"):
            low, high = getattr(price, name)
            assert 0 <= low <= high


def test_loihi_is_priced_by_davies_and_its_range_is_of_the_table_s_two_updates() -> None:
    (price,) = prices_of("loihi/100us")
    found = energy(COUNTS, price)
    assert found.low == pytest.approx((23.6 * 1000 + 52 * 200 + 1.7 * 10) * 1e-12)
    assert found.high == pytest.approx((23.6 * 1500 + 81 * 200 + 1.7 * 10) * 1e-12)


def test_simulation_is_priced_as_digital_arithmetic_by_horowitz() -> None:
    found = {price.name: energy(COUNTS, price) for price in prices_of(None)}
    assert found["float32 arithmetic"].low == pytest.approx((0.9 * 1000 + (2 * 3.7 + 2 * 0.9) * 200) * 1e-12)
    assert found["int32 arithmetic"].low == pytest.approx((0.1 * 1000 + (2 * 3.1 + 2 * 0.1) * 200) * 1e-12)
    assert found["int8 arithmetic"].low == pytest.approx((0.03 * 1000 + (2 * 0.2 + 2 * 0.03) * 200) * 1e-12)
    cached = found["float32 arithmetic, weights in a cache of 8 KB"]
    assert cached.low == pytest.approx(((0.9 + 5) * 1000 + 9.2 * 200) * 1e-12)
    assert cached.high == pytest.approx(((0.9 + 10) * 1500 + 9.2 * 200) * 1e-12)


@pytest.mark.parametrize("limits", ["emulator/bss2", "emulator/dynapse", "mychip", "lava-float/100us", "my-loihi/1us"])
def test_a_target_without_a_cited_price_has_none(limits: str) -> None:
    assert prices_of(limits) == ()


def test_the_caveat_says_how_far_published_constants_differ() -> None:
    assert "300-fold" in caveat()
    assert f"{23.6 / 0.03:.0f}-fold" in caveat()


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return untrained(tmp_path / "run", TINY)


def test_the_command_prints_counts_and_the_range_and_writes_both(tiny: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "cost.json", tmp_path / "out"
    text = done("cost", tiny, "--target", "loihi", "--samples", 10, "--json", path, "--out", out).stdout
    assert "loihi/100us (emulator), 10 samples" in text
    document = json.loads(path.read_text())
    assert (document["format"], document["version"], document["samples"]) == ("hwloop-cost", 1, 10)
    low, high = document["energy_range_J"]
    assert 0 < low < high
    assert f"{low / 10:.2g} to {high / 10:.2g} J by sample" in text
    assert "Davies et al." in text
    assert caveat() in text
    page = (out / "report.html").read_text()
    assert "What an answer costs" in page
    assert "300-fold" in page
    assert json.loads((out / "summary.json").read_text())["cost"]["operations"] == document["operations"]


def test_without_a_target_the_simulator_s_operations_are_counted(tiny: Path) -> None:
    text = done("cost", tiny, "--samples", 5).stdout
    assert "simulation (simulator), 5 samples" in text
    assert "Horowitz" in text
    net = TINY.build_network()
    with torch.no_grad():
        cost = cost_of(net(TINY.build_task().test.inputs[:5]), net)
    assert f"{cost.operations.effective / 5:.6g}" in text


def test_an_analog_chip_gets_counts_and_no_joules(tiny: Path) -> None:
    text = done("cost", tiny, "--target", "emulator:7", "--preset", "bss2", "--samples", 5).stdout
    assert "no cited price for emulator/bss2: counts alone" in text
    assert " J by sample" not in text


def test_a_deployment_s_report_and_summary_say_what_an_answer_costs(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "deployed"
    done("deploy", tiny, "--target", "loihi", "--runs", 1, "--out", out)
    assert "What an answer costs" in (out / "report.html").read_text()
    cost = json.loads((out / "summary.json").read_text())["cost"]
    assert cost["operations"]["effective"] == sum(part["effective"] for part in cost["populations"]) > 0
    assert cost["energy_range_J"][0] > 0


def test_wrong_use_is_refused(tiny: Path) -> None:
    refused(2, "unknown target 'nochip:0'", "cost", tiny, "--target", "nochip:0")
    refused(2, "samples", "cost", tiny, "--samples", 0)


def test_costs_print() -> None:
    net = hl.Network([hl.Dense(2, 3), hl.LIF(3, 10e-3, 5e-3)]).double()
    inputs = hl.Spikes.from_events([([1e-3], [0])], 2, 20e-3, dtype=torch.float64)
    with torch.no_grad():
        text = str(cost_of(net(inputs), net))
    assert "simulation (simulator), 1 samples" in text
    assert "  all  3  3  -  3" in text
