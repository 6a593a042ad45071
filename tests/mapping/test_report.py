"""The report of a program as a page shows it: the same figures as in the terminal, what was lost first."""

from __future__ import annotations

import json

import hwloop as hl
from hwloop.device.registry import find
from hwloop.mapping.report import LayerUse, ResourceReport
from hwloop.network import LIF, Dense, Network

USE = LayerUse(0, 4, 3, 13, 12, 2, 5, 0.28765, 6, 0.0123456)
REPORT = ResourceReport(
    "chip", "d" * 64, 64, 16, 6, (USE, LayerUse(1, 2, 4, 12, 8, 1, 3, 0.0, None, 1.0)), ("held",), ("lost",)
)


def test_totals_are_sums_over_the_layers() -> None:
    assert (REPORT.neurons, REPORT.synapses, REPORT.saturated, REPORT.zeroed) == (6, 20, 3, 8)
    document = json.loads(json.dumps(REPORT.to_dict()))
    assert [document[name] for name in ("neurons", "synapses", "saturated", "zeroed")] == [6, 20, 3, 8]
    assert document["layers"][0]["weight_bits_used"] == 6


def test_what_was_lost_stands_first_and_notes_last() -> None:
    lines = str(REPORT).split("\n")
    assert lines[0] == "warning: lost"
    assert lines[1] == "program dddddddddddd for chip: 6 of 64 neurons, 20 synapses, 6-bit weights"
    assert lines[3].split() == ["0", "4", "3", "13", "6", "0.01235", "2", "5", "0.288"]
    assert lines[4].split()[4] == "-"
    assert lines[-1] == "note: held"


def test_a_long_name_widens_its_column_for_all_rows() -> None:
    long = LayerUse(0, 4, 3, 13, 12, 2, 5, 0.28765, 6, 0.0123456, name="a population of many words")
    lines = str(ResourceReport("chip", "d" * 64, 64, 16, 6, (long, USE))).split("\n")
    assert len(lines[1]) == len(lines[2]) == len(lines[3])


def test_a_page_shows_weight_bits_and_what_rounding_did() -> None:
    (table,) = REPORT.tables()
    assert dict(zip(table.columns, table.rows[0], strict=True)) == {
        "layer": 0, "neurons": 4, "fan-in": 3, "free": 13, "synapses": 12, "weight bits used": 6, "weight of 1 LSB": "0.01235",
        "saturated": 2, "became 0": 5, "rounding RMS (LSB)": "0.288",
    }  # fmt: skip
    assert table.rows[1][5] == "-"


def test_a_page_of_loihi_shows_decay_errors_and_headroom_too() -> None:
    net = Network([Dense(3, 2), LIF(2, 10e-3, 5e-3)])
    report = hl.compile(net, find("loihi")).report()
    resources, fits = report.tables()
    assert "weight bits used" in resources.columns
    row = dict(zip(fits.columns, fits.rows[0], strict=True))
    fit = report.to_dict()["fits"][0]
    assert (row["du"], row["dv"], row["vth"]) == (fit["du"], fit["dv"], fit["vth"]) == (80, 41, fit["vth"])
    assert (row["tau_syn error"], row["tau_mem error"]) == ("+0.13%", "-0.60%")
    assert row["headroom"] == f"{fit['headroom']:.1f}x"
    assert "0.0001 s" in fits.caption
