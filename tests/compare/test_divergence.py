from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hwloop.compare import compare
from hwloop.compare.influence import NeuronModel
from hwloop.compare.report import raster
from hwloop.errors import InputError
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes

from .support import recording

TAU = 10e-3
T_STOP = 50e-3


def batch(*neurons: list[float]) -> Spikes:
    """One sample: one list of times (s) a neuron."""
    pairs = sorted((t, k) for k, times in enumerate(neurons) for t in times)
    return Spikes.from_events([([t for t, _ in pairs], [k for _, k in pairs])], len(neurons), T_STOP, torch.float64)


def network(delay: torch.Tensor | None = None) -> Network:
    net = Network([Dense(3, 2, delay=delay), LIF(2, TAU, TAU / 2), Dense(2, 1), LIF(1, TAU, TAU / 2)]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.copy_(torch.tensor([[3.0, -1.0, 0.0], [0.0, 0.0, 4.0]]))
        net.blocks[1][0].weight.copy_(torch.tensor([[2.0, 2.5]]))
    return net


def exact(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


INPUTS = batch([1e-3], [2e-3], [3e-3])
HIDDEN = batch([5e-3], [8e-3])
OUTPUT = batch([12e-3])
SIMULATED = Record((HIDDEN, OUTPUT), INPUTS)


def diverged(hidden: Spikes, output: Spikes, inputs: Spikes = INPUTS, tolerance: float = 0.5e-3):  # type: ignore[no-untyped-def]
    found = compare(SIMULATED, recording((hidden, output), inputs), net=network(), tolerance=tolerance)
    return found.divergences


def test_a_late_spike_is_told_in_one_sentence() -> None:
    found = diverged(HIDDEN, batch([12e-3 + 840e-6]))
    assert (
        found.summary() == "sample 0: layer 1, neuron 0, t = 12.0 ms, device 840 us late; inputs identical until then"
    )
    first = found.earliest
    assert (first.kind, first.simulated_time, first.time) == ("late", 12e-3, 12e-3)
    assert first.shift == pytest.approx(840e-6)


def test_the_earlier_divergence_in_the_layer_before_wins() -> None:
    found = diverged(batch([5e-3], [9e-3]), batch([14e-3])).earliest
    assert (found.layer, found.neuron, found.kind) == (0, 1, "late")


def test_an_early_spike_diverges_at_its_measured_time() -> None:
    found = diverged(HIDDEN, batch([11e-3])).earliest
    assert (found.kind, found.time, found.simulated_time, found.measured_time) == ("early", 11e-3, 12e-3, 11e-3)


def test_missing_and_extra_spikes_diverge() -> None:
    missing = diverged(batch([5e-3], []), OUTPUT).earliest
    assert (missing.kind, missing.neuron, missing.measured_time) == ("missing", 1, None)
    assert "spike missing on the device" in missing.summary()
    extra = diverged(batch([5e-3], [2.5e-3, 8e-3]), OUTPUT).earliest
    assert (extra.kind, extra.neuron, extra.simulated_time, extra.time) == ("extra", 1, None, 2.5e-3)
    assert "simulation lacks" in extra.summary()


def test_shifts_within_the_tolerance_are_agreement() -> None:
    assert diverged(batch([5.4e-3], [8e-3]), OUTPUT).earliest is None
    assert "no divergence" in diverged(batch([5.4e-3], [8e-3]), OUTPUT).summary()
    assert diverged(batch([5.4e-3], [8e-3]), OUTPUT, tolerance=0.0).earliest.layer == 0


def test_input_shifts_within_the_tolerance_are_said() -> None:
    found = diverged(batch([5.2e-3], [8e-3]), batch([15e-3])).earliest
    assert (found.layer, found.input_state) == (1, "within tolerance")
    assert found.input_shift == pytest.approx(200e-6)
    assert found.summary().endswith("inputs within 200 us until then")


def test_other_input_events_are_found_before_anything_else() -> None:
    found = diverged(batch([5e-3], []), OUTPUT, inputs=batch([1e-3], [], [3e-3])).earliest
    assert (found.layer, found.neuron, found.kind) == (-1, 1, "missing")
    assert found.summary().startswith("input, neuron 1")


def test_inputs_are_listed_by_influence_with_their_weights() -> None:
    first = diverged(batch([9e-3], [8e-3]), OUTPUT).earliest
    assert [(e.neuron, e.weight) for e in first.inputs] == [(0, 3.0), (1, -1.0)]  # weight 0 does not act
    assert first.n_inputs == 2
    # tau_mem = 2 tau_syn: k = 1; the network keeps its time constants as float32
    eps = [(np.exp(-s / TAU) - np.exp(-2 * s / TAU)) for s in (4e-3, 3e-3)]
    assert [e.contribution for e in first.inputs] == pytest.approx([3 * eps[0], -eps[1]], rel=1e-6)


def test_an_event_that_arrives_after_the_divergence_is_no_cause() -> None:
    delayed = network(torch.tensor([0.0, 4e-3, 0.0], dtype=torch.float64))
    found = compare(SIMULATED, recording((batch([9e-3], [8e-3]), OUTPUT), INPUTS), net=delayed, tolerance=0.0)
    assert [e.neuron for e in found.divergences.earliest.inputs] == [0]


@pytest.mark.parametrize("tau_syn", [TAU / 2, TAU, TAU * (1 + 1e-7), 0.3 * TAU, 2 * TAU])
@pytest.mark.parametrize("t_ref", [0.0, 1e-3])
def test_contributions_add_up_to_the_threshold_at_a_spike(tau_syn: float, t_ref: float) -> None:
    # the simulated membrane is at v_th there, also after earlier spikes: v_reset = 0 leaves no offset
    torch.manual_seed(0)
    net = Network([Dense(8, 1), LIF(1, exact(TAU), exact(tau_syn), t_ref=exact(t_ref))]).double()
    with torch.no_grad():
        net.blocks[0][0].weight.fill_(2.5)
    inputs = Spikes.from_events([(np.arange(1, 9) * 2e-3, np.arange(8))], 8, T_STOP, torch.float64)
    record = net(inputs).output.detach()
    assert len(record.times[0]) > 1
    times = record.times[0].numpy()
    full = np.array([TAU]), np.array([tau_syn]), np.array([t_ref])
    model = NeuronModel(np.full((1, 8), 2.5), np.zeros(8), *full)
    first = times[0]
    events, units = inputs.to_events()[0]
    assert model.contributions(0, first, times, events, units).sum() == pytest.approx(1.0, abs=1e-9)
    # reset to 0 at each spike: what remains is the current that was left, which contributions carry on
    crossing = [t for k, t in enumerate(times) if k and t > times[k - 1] + t_ref + 1e-6]
    assert crossing
    for t in crossing:
        assert model.contributions(0, t, times, events, units).sum() == pytest.approx(1.0, abs=1e-6)


def test_records_with_gradients_are_compared_and_let_go(tmp_path: Path) -> None:
    net = network()
    simulated = net(INPUTS)
    assert simulated.output.times.requires_grad
    found = compare(simulated, recording((HIDDEN, OUTPUT), INPUTS), net=net)
    assert not found.simulated.output.times.requires_grad
    found.to_html(tmp_path / "r.html")
    assert raster(simulated, simulated, 0, TAU).svg


def test_every_sample_has_its_own_first_divergence() -> None:
    two = Spikes.from_events([([5e-3, 8e-3], [0, 1])] * 3, 2, T_STOP, torch.float64)
    other = Spikes.from_events(
        [([5e-3, 9e-3], [0, 1]), ([5e-3, 8e-3], [0, 1]), ([8e-3], [1])], 2, T_STOP, torch.float64
    )
    found = compare(Record((two,)), recording((other,)), tolerance=1e-4).divergences
    assert [(d.sample, d.neuron, d.kind) for d in found.samples] == [(0, 1, "late"), (2, 0, "missing")]
    assert found.earliest.sample == 2
    assert found.origins() == [(0, 0, 1), (0, 1, 1)]
    assert found.samples[0].input_state == "not recorded"


def test_a_network_of_another_shape_is_refused() -> None:
    other = Network([Dense(3, 4), LIF(4, TAU, TAU / 2)])
    with pytest.raises(InputError, match=r"net has spiking layers of \[4\] neurons, the records hold \[2, 1\]"):
        compare(SIMULATED, recording((HIDDEN, OUTPUT), INPUTS), net=other)
    with pytest.raises(InputError, match=r"net takes 5 inputs, the records hold 3"):
        compare(
            SIMULATED,
            recording((HIDDEN, OUTPUT), INPUTS),
            net=Network([Dense(5, 2), LIF(2, TAU, TAU), Dense(2, 1), LIF(1, TAU, TAU)]),
        )
