"""The judgement that calls a cell right calls it wrong where the import is made wrong on purpose, for every kind of layer.

A stand-in for a package is run: NIR's equations in steps of Euler, which read a file to the letter. What the packages
themselves make of the same faults is in the page of results, which `make interop` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nir
import numpy as np
import pytest

from tests.network.nir.euler import simulate

from . import cells, closeness, evaluate, run
from .evaluate import Compared, inward, outward
from .ours import OURS, Ours
from .package import DT, FINENESS, Raster, Run, Theirs, Written
from .wrong_imports import FAULTS

KINDS = list(OURS)


def stepped(graph: nir.NIRGraph, spiking: bool) -> Run:
    """``graph`` in steps of :data:`DT`: a spike is a pulse of one step."""
    output = next(a for a, b in graph.edges if isinstance(graph.nodes[b], nir.Output))

    def runs(raster: Raster) -> Raster:
        events = [
            (int(step) * DT, int(unit)) for step, unit in zip(*np.nonzero(raster.reshape(len(raster), -1)), strict=True)
        ]
        (given,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.Input))
        membranes: dict[str, list[Any]] = {}
        found, _ = simulate(graph, {given: events}, len(raster) * DT, DT, area=DT, membranes=membranes)
        if not spiking:
            return np.stack([np.ravel(row) for row in membranes[output]])
        counts = np.zeros((len(raster), len(found[output])))
        for neuron, times in enumerate(found[output]):
            np.add.at(counts[:, neuron], np.rint(times / DT).astype(int), 1.0)
        return counts

    return runs


class Euler:
    """The stand-in. ``distort`` changes what it is given, as an importer that is wrong would."""

    name = "euler"

    def __init__(self, kind: str, distort: str = "") -> None:
        self._case, self._fault = OURS[kind], distort
        self.theirs: Mapping[str, Theirs | str] = {
            kind: Theirs(self._write, maps=self._case.maps, spiking=self._case.spiking)
        }

    def _write(self, f: int) -> Written:
        graph = self._case.make(f).to_nir(dt=DT)
        return Written(graph, stepped(graph, self._case.spiking))

    def load(self, graph: nir.NIRGraph, steps: int) -> Run:
        """``graph`` as it stands, or with every weight a quarter too large."""
        if self._fault:
            for node in graph.nodes.values():
                if isinstance(node, (nir.Linear, nir.Affine, nir.Conv2d)):
                    node.weight = np.asarray(node.weight) * 1.25
        return stepped(graph, self._case.spiking)


def compared(kind: str, direction: str, monkeypatch: pytest.MonkeyPatch, distort: str = "") -> Compared:
    """The one cell of ``kind``."""
    only: Mapping[str, Ours] = {kind: OURS[kind]}
    monkeypatch.setattr(evaluate, "OURS", only)
    package = Euler(kind, distort)
    (found,) = inward(package) if direction == "in" else outward(package)
    return found


@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_is_wrong_with_every_fault(kind: str, direction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compared(kind, direction, monkeypatch)
    assert found.cell.outcome == "right", found.cell
    controls = list(found.controls())
    assert len(found.runs) == len(FINENESS)
    passed = [control for control in controls if control.wanted and not control.seen]
    assert not passed, passed
    tried = {control.fault for control in controls}
    assert {
        "weights x 1.25",
        "weights x 0.8",
        "two of the coarsest steps late in each layer",
        "weights x 1.02",
    } <= tried
    assert ("the other reset" in tried) == (kind in ("LIF", "IF"))
    assert ("without its loop" in tried) == kind.startswith("recurrent")
    assert ("without its biases" in tried) == kind.endswith("bias")
    assert ("mean for sum in its pools" in tried) == ("Pool" in kind)
    assert ("tau_mem and tau_syn swapped" in tried) == (kind not in ("LIF", "IF"))
    assert tried <= set(FAULTS)


def test_every_fault_is_tried_with_some_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: set[str] = set()
    for kind in KINDS:
        for f in FINENESS[:1]:
            net = OURS[kind].make(f)
            tried |= {name for name, fault in FAULTS.items() if fault.make(net, DT) is not None}
    assert tried == set(FAULTS)


@pytest.mark.parametrize("kind", ["CubaLIF", "IF"])
def test_a_package_that_imports_wrongly_is_called_wrong_and_fails_the_run(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    found = compared(kind, "out", monkeypatch, "weights")
    assert found.cell.outcome == "WRONG"
    assert not list(found.controls())
    monkeypatch.setattr(evaluate, "OURS", {kind: OURS[kind]})
    monkeypatch.setattr(run, "PACKAGES", {"torch": ""})
    monkeypatch.setattr(run, "version", lambda name: "1")
    for distort, status in (("weights", 1), ("", 0)):
        monkeypatch.setattr(run, "package", lambda name, distort=distort: Euler(kind, distort))
        monkeypatch.setattr(
            "sys.argv", ["run", "--results", str(tmp_path / "r.json"), "--page", str(tmp_path / "r.md")]
        )
        assert run.main() == status
        held = cells.read(tmp_path / "r.json")
        assert [cell.outcome for cell in held.cells] == ["right", "WRONG" if distort else "right"]
        assert {control.direction for control in held.controls} == ({"in"} if distort else {"in", "out"})
        assert "## Wrong on purpose" in (tmp_path / "r.md").read_text()


def test_a_fault_that_passes_for_right_fails_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(evaluate, "OURS", {"IF": OURS["IF"]})
    monkeypatch.setattr(closeness, "agree", lambda *_: True)
    monkeypatch.setattr(run, "PACKAGES", {"torch": ""})
    monkeypatch.setattr(run, "version", lambda name: "1")
    monkeypatch.setattr(run, "package", lambda name: Euler("IF"))
    monkeypatch.setattr("sys.argv", ["run", "--results", str(tmp_path / "r.json")])
    assert run.main() == 1
