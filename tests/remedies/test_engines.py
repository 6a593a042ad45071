"""The engines behind a network: convolutions, populations simulated together, and readouts."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hwloop.simulate import Options
from hwloop.simulate.convolution import Geometry, convolution_call, pooled_units
from hwloop.simulate.convolution import engine as convolutions
from hwloop.simulate.joint import autograd as joint
from hwloop.simulate.joint.contract import CURRENT, INTEGRATE, JUMP
from hwloop.simulate.readout.membranes import Membranes
from hwloop.spikes import Spikes

from .support import Case, option

T_STOP = 0.05
IMAGE = Geometry((1, 2, 2), 2, 2)
NEURON = {"tau_mem": 1e-2, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 0.0}


def spikes(n_units: int, batch: int = 2, t_stop: float = T_STOP, dtype: torch.dtype = torch.float64) -> Spikes:
    return Spikes.from_events([([1e-3], [0])] * batch, n_units, t_stop, dtype)


def full(value: float, *shape: int, **options: Any) -> Tensor:
    return torch.full(shape, value, dtype=torch.float64, **options)


def of_neurons(n: int, changed: dict[str, Any]) -> dict[str, Tensor]:
    """Values of ``n`` neurons; a number that is changed is that of each, and None leaves the name out."""
    values = {**NEURON, **changed}
    return {k: v if isinstance(v, Tensor) else full(v, n) for k, v in values.items() if v is not None}


def convolved(
    weight: Any = 5.0, inputs: Spikes | None = None, measured: Spikes | None = None, engine: str = "cpu",
    max_spikes: int | None = None, **changed: Any,
) -> Spikes:  # fmt: skip
    weight = weight if isinstance(weight, Tensor) else full(weight, *IMAGE.weight_shape)
    given = spikes(4) if inputs is None else inputs
    options = Options(engine=engine, max_spikes=max_spikes)
    return convolution_call(given, weight, IMAGE, of_neurons(2, changed), options, measured)[0]


def slope(v_th: Tensor) -> None:
    weight = full(5.0, *IMAGE.weight_shape, requires_grad=True)
    convolved(weight, v_th=v_th).times.sum().backward()  # type: ignore[no-untyped-call]


CONVOLUTIONS = [
    Case("convolution_call", "measured spikes of {} units", lambda: convolved(measured=spikes(3)), lambda: convolved(measured=spikes(2))),
    Case("convolution_call", "v_th has {} rows; allowed: one, or one for each of {} samples", lambda: convolved(v_th=full(1.0, 3, 2)),
         (lambda: convolved(v_th=full(1.0, 1, 2)), lambda: convolved(v_th=full(1.0, 2, 2)))),
    Case("SpikingConvolution.backward", "switch that noise off (threshold=0), or give the neurons plain numbers",
         lambda: slope(full(1.0, 2, 2, requires_grad=True)),
         (lambda: slope(full(1.0, 2, requires_grad=True)), lambda: slope(full(1.0, 2, 2)))),
    option("convolution.call._implementation", "allowed: 'auto', 'cpu', 'reference'", convolved, "engine", "fast", "auto", "cpu", "reference"),
    Case("convolution.call._check", "an image of {} (channels, height, width)", lambda: convolved(inputs=spikes(5)), convolved),
    Case("convolution.call._check", "allowed: float32 or float64, as in .float()", lambda: convolved(full(5.0, *IMAGE.weight_shape).half()),
         lambda: convolved(full(5.0, *IMAGE.weight_shape).half().float())),
    Case("convolution.call._check", "weight is {}; allowed: {}, that is", lambda: convolved(full(5.0, 1, 1, 2, 2)), convolved),
    Case("convolution.call._check", "weight{} = {}; allowed: finite", lambda: convolved(math.nan), convolved),
    Case("neurons_of_maps.names_of", "{} is missing; needed: {}", lambda: convolved(t_ref=None), convolved),
    Case("neurons_of_maps.names_of", "unknown parameter {}; allowed: {}", lambda: convolved(tau=1.0),
         (convolved, lambda: convolved(bias=0.1, v_init=0.1))),
    Case("neurons_of_maps.population", "v_init = {}; allowed: below v_th", lambda: convolved(v_init=1.0), lambda: convolved(v_init=0.9)),
    Case("neurons_of_maps.population", "neuron {}: {} = {}; allowed: finite", lambda: convolved(bias=math.inf), lambda: convolved(bias=0.1)),
    Case("neurons_of_maps._values", "one value for each of {} channels or of {} neurons", lambda: convolved(t_ref=full(0.0, 3)),
         lambda: convolved(t_ref=full(0.0, 2))),
]  # fmt: skip

GEOMETRIES = [
    Case("Geometry.__post_init__", "allowed: a multiple of groups = {}", lambda: Geometry((3, 5, 5), 4, 3, groups=2), lambda: Geometry((4, 5, 5), 4, 3, groups=2)),
    Case("geometry._outputs", "Use a smaller kernel or more padding", lambda: Geometry((1, 5, 5), 1, 6),
         (lambda: Geometry((1, 5, 5), 1, 5), lambda: Geometry((1, 5, 5), 1, 6, padding=1))),
    Case("geometry._whole", "allowed: whole numbers >= {}", lambda: Geometry((1, 5, 5), 1, 2.5), lambda: Geometry((1, 5, 5), 1, 2)),  # type: ignore[arg-type]
    Case("geometry.image", "allowed: (channels, height, width)", lambda: Geometry((5, 5), 1, 3), lambda: Geometry((1, 5, 5), 1, 3)),  # type: ignore[arg-type]
    Case("geometry.pair", "one whole number, or one for the height and one for the width", lambda: Geometry((1, 5, 5), 1, (3, 3, 3)),  # type: ignore[arg-type]
         (lambda: Geometry((1, 5, 5), 1, 3), lambda: Geometry((1, 5, 5), 1, (3, 2)))),
    Case("pooled_units", "allowed: stride >= kernel. Use a convolution with weights of one and groups = channels",
         lambda: pooled_units((2, 3, 3), 2, 1), (lambda: pooled_units((2, 3, 3), 2, 2), lambda: summed())),
    Case("pooled_units", "allowed: padding up to half of the kernel", lambda: pooled_units((1, 6, 6), 2, 2, 2), lambda: pooled_units((1, 6, 6), 2, 2, 1)),
]  # fmt: skip


def summed() -> bool:
    """The windows of a pool that overlap, as a convolution: the spike of a pixel in one of them drives one neuron."""
    windows = Geometry((2, 3, 3), 2, 2, groups=2)
    found, _ = convolution_call(
        spikes(18), full(1.0, *windows.weight_shape), windows, of_neurons(2, {"v_th": 0.1}), Options()
    )
    return found.units[0, : found.counts[0]].unique().tolist() == [0]


def test_a_convolution_without_room_is_held_by_each_of_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolutions, "MAX_EVENTS", 1200)
    crowd = Spikes.from_events([(torch.arange(40) * 1e-3, torch.zeros(40))] * 2, 4, T_STOP, torch.float64)
    Case(
        "convolution.engine._check_room",
        "Use smaller batches, lower weights, a refractory time, or max_spikes",
        lambda: convolved(20.0, crowd),
        (
            lambda: convolved(20.0, crowd[:1]),
            lambda: convolved(5.0, crowd),
            lambda: convolved(20.0, crowd, t_ref=1e-3),
            lambda: convolved(20.0, crowd, max_spikes=5),
        ),
    ).follow()


def structure(kind: int = CURRENT, *, subtract: bool = False, max_spikes: int = 0, **changed: Any) -> joint.Structure:
    """An input onto the first of two neurons, which drive each other."""
    each = np.arange(4)
    made = {"bundle_starts": each, "first": each, "target": np.array([0, 1, 0]), **changed}
    return joint.Structure(
        n_external=1, kind=np.full(2, kind), subtract=np.full(2, subtract), max_spikes=np.full(2, max_spikes), **made
    )


def together(
    loop: float = 0.5, *, given: Spikes | None = None, weight: Tensor | None = None, delay: Any = 0.0,
    floor: float = 0.0, policy: Any = "clip", measured: Spikes | None = None, made: joint.Structure | None = None,
    engine: str = "auto", **changed: Any,
) -> Spikes:  # fmt: skip
    weight = torch.tensor([9.0, loop, loop], dtype=torch.float64) if weight is None else weight
    return joint.component_call(
        spikes(1) if given is None else given, structure() if made is None else made, weight,
        delay if isinstance(delay, Tensor) else full(delay, 3), of_neurons(2, changed), floor=floor, policy=policy, measured=measured,
        engine=engine,
    )[0]  # fmt: skip


def spread(bounded: bool) -> None:
    """A loss of the first times about their mean, of which one is inf."""
    weight = torch.tensor([9.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    first = together(weight=weight).first_times()
    if bounded:
        first = torch.where(torch.isfinite(first), first, T_STOP)
    (first - first.mean()).square().sum().backward()  # type: ignore[no-untyped-call]


def slope_together(v_th: Tensor) -> None:
    together(weight=full(5.0, 3, requires_grad=True), v_th=v_th, delay=0.01).first_times().sum().backward()  # type: ignore[no-untyped-call]


def many_neurons(engine: str, n: int = 20_000) -> Spikes:
    """As many neurons, each with the input alone."""
    each = np.arange(n + 1)
    made = joint.Structure(
        n_external=1, bundle_starts=np.r_[0, np.full(n + 1, 1)], first=np.array([0, n]), target=each[:-1], kind=np.full(n, CURRENT),
        subtract=np.full(n, False), max_spikes=np.full(n, 0),
    )  # fmt: skip
    return joint.component_call(spikes(1), made, full(0.0, n), full(0.0, 1), of_neurons(n, {}), engine=engine)[0]


JOINT = [
    Case("joint.Structure.__post_init__", "allowed: {} inputs and {} neurons", lambda: structure(bundle_starts=np.arange(3)), structure),
    Case("joint.Structure.__post_init__", "allowed: ascending from 0 to {}", lambda: structure(first=np.array([0, 2, 1, 3])), structure),
    Case("joint.Structure.__post_init__", "allowed: 0 .. {}", lambda: structure(target=np.array([0, 1, 2])), structure),
    Case("component_call", "allowed: finite and >= 0; 'clip', 'skip' or 'raise'", lambda: together(floor=-1.0),
         (lambda: together(floor=0.0, policy="raise"), lambda: together(policy="clip"), lambda: together(policy="skip"))),
    Case("joint._relative", "allowed: one value for each of {} neurons", lambda: together(t_ref=full(0.0, 3)), lambda: together(t_ref=full(0.0, 2))),
    Case("joint.autograd._refuse", "{}[{}] = {}; allowed: {}", lambda: together(math.nan), together),
    Case("joint.autograd._refuse", "{}[{}] = {}; allowed: {}", lambda: together(delay=-1e-3), lambda: together(delay=0.0)),
    Case("joint.autograd._refuse", "{}[{}] = {}; allowed: {}", lambda: together(v_init=1.0), lambda: together(v_init=0.9)),
    Case("joint.autograd._refuse", "{}[{}] = {}; allowed: {}", lambda: together(ramp=1.0), lambda: together(bias=0.1)),
    Case("joint.autograd._refuse", "{}[{}] = {}; allowed: {}", lambda: together(made=structure(INTEGRATE), delay=0.01, bias=0.1),
         lambda: together(made=structure(INTEGRATE), delay=0.01, ramp=10.0)),
    Case("joint.autograd._check", "weights have dtype {}; allowed: float32 or float64", lambda: together(weight=torch.ones(3, dtype=torch.float16)),
         lambda: together(weight=torch.ones(3, dtype=torch.float64))),
    Case("joint.autograd._check", "{} is {} on {}; allowed: ({},) on the CPU", lambda: together(delay=full(0.0, 2)), lambda: together(delay=full(0.0, 3))),
    Case("joint.autograd._check", "the input has {} units and {} samples; allowed: {} units", lambda: together(given=spikes(2)), together),
    Case("joint.autograd._check", "measured spikes of {} units", lambda: together(measured=spikes(3)), lambda: together(measured=spikes(2))),
    Case("SpikingComponent.backward", "leave the neurons without a spike out with torch.where", lambda: spread(False), lambda: spread(True)),
    Case("SpikingComponent.backward", "switch that noise off (threshold=0), or give v_th, v_leak and bias as plain numbers",
         lambda: slope_together(full(1.0, 2, 2, requires_grad=True)),
         (lambda: slope_together(full(1.0, 2, requires_grad=True)), lambda: slope_together(full(1.0, 2, 2)))),
    Case("joint.autograd._count", "lower the floor, or use policy 'clip' or 'skip'", lambda: together(floor=50.0, policy="raise"),
         (lambda: together(floor=0.0, policy="raise"), lambda: together(floor=50.0, policy="clip"), lambda: together(floor=50.0, policy="skip"))),
    Case("joint.autograd._implementation", "allowed: 'auto', 'cpu', 'reference'", lambda: together(engine="gpu"),
         tuple(partial(together, engine=name) for name in ("auto", "cpu", "reference"))),
    Case("by_specification._refuse_large", "Use engine='auto', or a smaller network", lambda: many_neurons("reference"),
         (lambda: many_neurons("auto"), lambda: together(engine="reference"))),
    Case("joint.explosion.refuse_explosion", "Lower the weights of the loop, or give its neurons a refractory time, a delay, or max_spikes", lambda: together(20.0),
         (together, lambda: together(20.0, t_ref=2e-3), lambda: together(20.0, delay=20e-3), lambda: together(20.0, made=structure(max_spikes=5)))),
    Case("refuse_instant_loops", "Allowed: reset 'value', or t_ref = 0",
         lambda: together(made=structure(JUMP, subtract=True), delay=0.01, t_ref=1e-3),
         (lambda: together(made=structure(JUMP), delay=0.01, t_ref=1e-3), lambda: together(made=structure(JUMP, subtract=True), delay=0.01))),
    Case("refuse_instant_loops", "Give one of these synapses a delay > 0, or the neurons a synaptic current", lambda: together(made=structure(JUMP)),
         (lambda: together(made=structure(JUMP), delay=torch.tensor([0.0, 0.0, 5e-3], dtype=torch.float64)), together)),
]  # fmt: skip


def membranes(weight: Any = 1.0, inputs: Spikes | None = None, kind: Any = "current", **changed: Any) -> Membranes:
    weight = weight if isinstance(weight, Tensor) else full(weight, 2, 3)
    shown = {**dict.fromkeys(("v_th", "v_reset", "t_ref")), **changed}
    return Membranes(spikes(3) if inputs is None else inputs, weight, of_neurons(2, shown), kind)


def at(times: Any) -> Tensor:
    return membranes().at(times)


READOUTS = [
    Case("Membranes.__init__", "allowed: 'current', 'jump'", lambda: membranes(kind="delta"), (membranes, lambda: membranes(kind="jump", tau_syn=None))),
    Case("readout.membranes._check", "weight is {} {}; allowed: float32 or float64", lambda: membranes(full(1.0, 2, 4)), membranes),
    Case("readout.membranes._check", "{} is missing; needed: {}", lambda: membranes(tau_syn=None), membranes),
    Case("readout.membranes._check", "unknown parameter {}; allowed: {}", lambda: membranes(v_th=1.0), lambda: membranes(bias=0.1, v_init=0.1)),
    Case("readout.membranes._check", "{} is {} {}; allowed: float32 or float64, [{}]", lambda: membranes(bias=full(0.1, 3)), lambda: membranes(bias=full(0.1, 2))),
    Case("readout.membranes._check", "neuron {}: {} = {}; allowed: {}", lambda: membranes(tau_mem=0.0), lambda: membranes(tau_mem=1e-2)),
    Case("readout.membranes._check", "weight of input unit {} to neuron {} = {}; allowed: finite", lambda: membranes(math.inf), membranes),
    Case("_checked_times", "times are {}; allowed: [m], or [{}, m] for each of {} samples", lambda: at(full(0.01, 3, 4)),
         (lambda: at(full(0.01, 4)), lambda: at(full(0.01, 2, 4)))),
    Case("_checked_times", "allowed: a tensor of float32 or float64 (s)", lambda: at(0.01),
         (lambda: at(torch.tensor([0.01])), lambda: at(full(0.01, 1)))),
    Case("_checked_times", "allowed: 0 to t_stop = {} s", lambda: at(full(0.06, 1)), (lambda: at(full(0.0, 1)), lambda: at(full(T_STOP, 1)))),
]  # fmt: skip


@pytest.mark.parametrize("case", [*CONVOLUTIONS, *GEOMETRIES, *JOINT, *READOUTS], ids=str)
def test_what_a_message_of_an_engine_says_is_accepted(case: Case) -> None:
    case.follow()
