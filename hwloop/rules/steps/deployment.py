"""Networks in steps on a target: what a chip measures takes the place of what is simulated.

    with rules.open_network(net, "loihi") as chip:
        measured = chip.run(values)                                   # StepRecord: net spike counts of the hidden populations
        record = rule.differentiable(net, values, measured)           # values measured, gradients the rule's
        hl.fit(net, task, loss, rule=rule, forward=chip.forward)      # in the loop: every batch is run by the chip

A target carries a rule's network where it has a ``step_device(net)``, or else refuses it by name: what is missing, where, and
what to do (:class:`hwloop.errors.CompileError`). The readout of rates and counts is the host's.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable

from ...device import registry as targets
from ...errors import CompileError
from ...losses import predict
from ...mapping import Capabilities
from ...record import RanOn
from ..base import Needs, find
from .input_values import Values
from .network import StepNetwork
from .step_record import StepRecord

#: What neurons of a target send: 0 and 1, or also -1.
SpikeKind: TypeAlias = Literal["binary", "signed"]


@runtime_checkable
class StepDevice(Protocol):
    """An opened target that holds a network in steps."""

    @property
    def device_id(self) -> str:
        """Which device this is."""

    @property
    def ran_on(self) -> RanOn:
        """What its spikes are: of an emulator or of hardware."""

    def write(self, net: StepNetwork) -> None:
        """Write the present weights of ``net``, which has the shape of the network that it was opened for."""

    def run(self, values: Values) -> StepRecord:
        """Net spike counts of every hidden population for ``values``, with the readout that the host computes from them."""

    def expected(self, values: Values) -> StepRecord:
        """What the rule's own simulation makes of ``values`` with the rounded weights that the device holds."""

    def close(self) -> None:
        """Give the device back; closing twice is allowed."""


class OpenNetwork:
    """A network on a device. Context manager: leaving it closes the device."""

    def __init__(self, net: StepNetwork, device: StepDevice) -> None:
        self.net, self.device = net, device

    def run(self, values: Values) -> StepRecord:
        """What the device does with ``values``, with the weights that were written last."""
        return self.device.run(values)

    def forward(self, net: StepNetwork, values: Values) -> StepRecord:
        """Write the present weights, then run: the ``forward`` of :func:`hwloop.training.fit` in the loop."""
        self.device.write(net)
        return self.device.run(values)

    def close(self) -> None:
        """Give the device back."""
        self.device.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_network(net: StepNetwork, name: str, *, spikes: SpikeKind | None = None, **options: Any) -> OpenNetwork:
    """Put ``net`` on the target called ``name``.

    Parameters
    ----------
    net : StepNetwork
    name, options : as for :func:`hwloop.device.registry.find`
    spikes : "binary" | "signed", optional
        What the target's neurons send; default: the most that it can.

    Raises
    ------
    CompileError
        The target cannot carry the network: names limit, value, layer and fix.
    TargetError, OptionError
        The target is unknown or cannot be opened; an option that it does not have.
    """
    found = targets.find(name, **options)
    make = getattr(found, "step_device", None)
    if make is None:
        raise refusal(net, found.capabilities)
    device: StepDevice = make(net, spikes=spikes)
    return OpenNetwork(net, device)


def refusal(net: StepNetwork, limits: Capabilities) -> CompileError:
    """Why a target with ``limits`` cannot carry the rule of ``net``, by what it lacks first."""
    needs: Needs = find(net.rule).needs
    if not set(needs.reset) & set(limits.reset_kinds):
        wanted, has = " or ".join(map(repr, needs.reset)), " or ".join(map(repr, limits.reset_kinds))
        return CompileError(
            limit=f"reset {has} ({limits.name})",
            value=f"reset {wanted}, which rule {net.rule!r} needs",
            layer="every population",
            fix="choose a target that resets so, e.g. 'lava' or 'loihi', or train this chip by rule 'exact' or 'hm2bp'",
        )
    return CompileError(
        limit=f"networks in continuous time ({limits.name})",
        value=f"a network in steps of rule {net.rule!r}",
        layer="every population",
        fix="choose a target that runs in steps, e.g. 'lava' or 'loihi'",
    )


def agreement(first: StepRecord, second: StepRecord) -> dict[str, float]:
    """How two records of the same inputs agree.

    Returns
    -------
    dict: ``equal``, share of neurons (over samples and populations) of the same net count; ``difference``, mean absolute
    difference of counts; ``decisions``, share of samples decided alike.
    """
    pairs = list(zip(first.counts, second.counts, strict=True))
    total = sum(a.numel() for a, _ in pairs)
    return {
        "equal": sum(int((a == b).sum()) for a, b in pairs) / total,
        "difference": sum(float((a - b).abs().sum()) for a, b in pairs) / total,
        "decisions": float((predict(first, "readout") == predict(second, "readout")).double().mean()),
    }
