"""The sound chip with one thing wrong, each in its own way; and the claims that each breaks, the one that is about it first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hwloop.device.registry import Measured, repeat
from hwloop.mapping import LayerProgram, Program, ScaleRule, compile_network
from hwloop.network import Network
from hwloop.record import Recording
from hwloop.spikes import Spikes

from .sound_chip import TICK, Array, SoundDevice, SoundTarget


def moved(spikes: Spikes, by: float) -> Spikes:
    return Spikes.trusted(spikes.times + by, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop)


class ShiftedByATick(SoundDevice):
    def _stamped(self, spikes: Spikes) -> Spikes:
        return moved(super()._stamped(spikes), TICK)


class OutOfOrder(SoundDevice):
    def _stamped(self, spikes: Spikes) -> Spikes:
        found = super()._stamped(spikes)
        times = found.times.clone()
        for row, count in enumerate(found.counts.tolist()):
            if count > 1:
                times[row, :count] = times[row, :count].flip(0)
        return Spikes.trusted(times, found.units, found.counts, found.n_units, found.t_stop)


class KeepsStateBetweenSamples(SoundDevice):
    """What came in the last millisecond of a sample acts at the beginning of the next one."""

    def _received(self, spikes: Spikes) -> Spikes:
        rows = spikes.to_events()
        for k in range(len(rows) - 1, 0, -1):
            times, units = rows[k - 1]
            left = units[times > spikes.t_stop - 1e-3]
            rows[k] = (np.concatenate([np.zeros(len(left)), rows[k][0]]), np.concatenate([left, rows[k][1]]))
        return Spikes.from_events(rows, spikes.n_units, spikes.t_stop, dtype=spikes.times.dtype)


class ReadsBackTheRequest(SoundDevice):
    """A cell never takes its code, and what is read back is what was asked for."""

    def _taken(self, codes: Array) -> Array:
        if codes.shape == (8, 4):
            codes[7, 3] = 0
        return codes

    def _write(self, program: Program) -> int:
        self.asked = tuple(layer.codes for layer in program.layers)
        return super()._write(program)

    def read_codes(self) -> tuple[Array, ...]:
        return self.asked


class IgnoresTheRefractoryTime(SoundDevice):
    def _neurons(self, layer: LayerProgram) -> dict[str, Array]:
        return {**layer.parameters, "t_ref": np.zeros_like(layer.parameters["t_ref"])}


class DropsDelays(SoundDevice):
    def _delay(self, layer: LayerProgram) -> Array | None:
        return None


class HidesWhatItLost(SoundDevice):
    def _carried(self, spikes: Spikes) -> tuple[Spikes, int]:
        return super()._carried(spikes)[0], 0


class AcceptsLateEvents(SoundDevice):
    """Spikes of the 5 ms after the window stand at its end."""

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        longer = Spikes.trusted(spikes.times, spikes.units, spikes.counts, spikes.n_units, spikes.t_stop + 5e-3)
        found = super()._execute(program, longer, repeats)
        cut = [
            Spikes.trusted(
                torch.where(p.valid, p.times.clamp(max=spikes.t_stop), p.times),
                p.units,
                p.counts,
                p.n_units,
                spikes.t_stop,
            )
            for p in found.populations
        ]
        return Measured(tuple(cut), found.lost_events)


class NamesThePreviousProgram(SoundDevice):
    before: str | None = None

    def load(self, program: Program) -> None:
        self.before = self.program.digest if self.program is not None else None
        super().load(program)

    def run(self, spikes: Spikes | Mapping[str, Spikes], *, repeats: int = 1) -> Recording:
        found = super().run(spikes, repeats=repeats)
        return replace(found, program_digest=self.before or found.program_digest)


class IgnoresItsDeadline(SoundDevice):
    def _wait(self) -> None:
        pass


class SubtractsTheLatencyTwice(SoundDevice):
    def _read(self, populations: tuple[Spikes, ...]) -> tuple[Spikes, ...]:
        return tuple(moved(p, -self.capabilities.latency) for p in populations)


class DiffersFromRunToRun(SoundDevice):
    """By less than any other claim could tell."""

    runs = 0

    def _read(self, populations: tuple[Spikes, ...]) -> tuple[Spikes, ...]:
        self.runs += 1
        return tuple(moved(p, 1e-9 * self.runs) for p in populations)


class TellsHiddenSpikesOfOtherNeurons(SoundDevice):
    """Hidden neurons in reverse; the output is right, and the gradient is not the model's."""

    def _read(self, populations: tuple[Spikes, ...]) -> tuple[Spikes, ...]:
        *hidden, output = populations
        reversed_ = [
            Spikes.trusted(p.times, torch.where(p.valid, p.n_units - 1 - p.units, 0), p.counts, p.n_units, p.t_stop)
            for p in hidden
        ]
        return (*reversed_, output)


class SharesOneAnswer(SoundDevice):
    """Repeats are the first sample again and again: nothing of the batch but its first row runs."""

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        found = super()._execute(program, spikes[0], 1)
        batch = len(spikes) * repeats
        return Measured(tuple(repeat(p, batch) for p in found.populations), found.lost_events)


def target_of(device_: type[SoundDevice]) -> type[SoundTarget]:
    class Faulty(SoundTarget):
        device = device_

    return Faulty


class HidesSaturation(SoundTarget):
    """Weights beyond the codes are cut, and nobody is told."""

    def compile(
        self, net: Network, *, weight_scale: ScaleRule | Sequence[ScaleRule] = "max", mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:  # fmt: skip
        made = super().compile(net, weight_scale=weight_scale, mask=mask, like=like)
        return replace(made, layers=tuple(replace(layer, saturated=0) for layer in made.layers))


class AcceptsWhatItLacks(SoundTarget):
    """A cap on spikes compiles, and is dropped."""

    def compile(
        self, net: Network, *, weight_scale: ScaleRule | Sequence[ScaleRule] = "max", mask: Iterable[int] = (),
        like: Program | None = None,
    ) -> Program:  # fmt: skip
        options: dict[str, Any] = {"weight_scale": weight_scale, "mask": mask, "like": like}
        made = compile_network(net, replace(self.capabilities, spike_cap=True), **options)
        layers = tuple(replace(layer, max_spikes=None) for layer in made.layers)
        return replace(made, capabilities=self.capabilities, layers=layers)


#: Each faulty target, the claim that is about the fault, and the others that it breaks.
FAULTS: dict[str, tuple[type[SoundTarget], str, set[str]]] = {
    "times shifted by a tick": (target_of(ShiftedByATick), "spikes_when_the_model_does", set()),
    "events out of order": (
        target_of(OutOfOrder), "orders_events_in_time",
        {"spikes_when_the_model_does", "holds_the_refractory_time", "gives_the_models_gradient"},
    ),
    "state left between samples": (target_of(KeepsStateBetweenSamples), "starts_every_sample_at_rest", set()),
    "weights read back from the request": (
        target_of(ReadsBackTheRequest), "reads_back_the_weights_that_act",
        {"acts_by_the_weights_that_were_loaded", "reports_weights_beyond_its_codes"},
    ),
    "weights that saturate in silence": (HidesSaturation, "reports_weights_beyond_its_codes", set()),
    "refractory time ignored": (target_of(IgnoresTheRefractoryTime), "holds_the_refractory_time", set()),
    "delays dropped": (target_of(DropsDelays), "delays_the_spikes_of_each_input", set()),
    "lost events not reported": (
        target_of(HidesWhatItLost), "reports_spikes_that_did_not_arrive", {"spikes_when_the_model_does"},
    ),
    "late events accepted": (target_of(AcceptsLateEvents), "reports_nothing_that_comes_after_the_window", set()),
    "digest of another program": (target_of(NamesThePreviousProgram), "names_the_program_that_ran", set()),
    "deadline ignored": (target_of(IgnoresItsDeadline), "gives_up_at_its_deadline", set()),
    "latency subtracted twice": (
        target_of(SubtractsTheLatencyTwice), "subtracts_the_latency_once",
        {"spikes_when_the_model_does", "gives_the_models_gradient"},
    ),
    "answers that differ from run to run": (target_of(DiffersFromRunToRun), "answers_alike_where_it_promises_to", set()),
    "a gradient not the model's": (target_of(TellsHiddenSpikesOfOtherNeurons), "gives_the_models_gradient", set()),
    "a refusal that is accepted": (AcceptsWhatItLacks, "refuses_a_cap_on_spikes", set()),
    "one sample for all": (
        target_of(SharesOneAnswer), "repeats_follow_each_other",
        {
            "spikes_when_the_model_does", "follows_its_input_in_time", "starts_every_sample_at_rest",
            "acts_by_the_weights_that_were_loaded", "reads_back_the_weights_that_act", "reports_weights_beyond_its_codes",
            "delays_the_spikes_of_each_input", "reports_spikes_that_did_not_arrive", "reports_inputs_that_fell_together",
            "gives_the_models_gradient",
        },
    ),
}  # fmt: skip
