"""Network: layers in a row, run event by event; the backward pass does not care who measured the spikes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from ..errors import InputError
from ..record import Health, LayerHealth, Record
from ..simulate import DEFAULT_FLOOR, FloorPolicy, Options, layer_call
from ..simulate.autograd import LayerCall
from ..simulate.checks import mean_residuals
from ..spikes import Spikes
from .dense import Dense
from .differences import RanLayer
from .habits import as_layers, check_input
from .lif import LIF
from .time_scales import warn_of_scales

if TYPE_CHECKING:
    from nir import NIRGraph

    from hwloop_calibration import Calibration

    from ..mapping import Program


class Network(nn.Module):
    """A feed-forward network of ``Dense, LIF, Dense, LIF, ...``.

    Parameters
    ----------
    layers : sequence of modules, alternately :class:`Dense` and :class:`LIF`, sizes matching

    Raises
    ------
    InputError
        Layers in another order, or sizes that do not fit, naming the layer.
    """

    def __init__(self, layers: Iterable[nn.Module], *more: nn.Module) -> None:
        super().__init__()
        layers = as_layers(layers, more)  # more: layers that were given one by one, to be told so
        if len(layers) < 2 or len(layers) % 2:
            raise InputError(f"a network of {len(layers)} layers; expected pairs of Dense and LIF, at least one pair")
        for k, layer in enumerate(layers):
            kind = LIF if k % 2 else Dense
            if not isinstance(layer, kind):
                raise InputError(
                    f"layer {k} is {type(layer).__name__}; expected {kind.__name__} (Dense and LIF alternate)"
                )
        self.layers = nn.ModuleList(layers)
        self.has_run = False  # whether its refractory times were compared with a window
        for k, (dense, lif) in enumerate(self.blocks):
            if dense.n_out != lif.n:
                raise InputError(f"layer {2 * k}: Dense has {dense.n_out} outputs, the LIF after it {lif.n} neurons")
            if k and dense.n_in != self.blocks[k - 1][1].n:
                raise InputError(
                    f"layer {2 * k}: Dense takes {dense.n_in} inputs, the LIF before it has {self.blocks[k - 1][1].n} neurons"
                )

    @property
    def blocks(self) -> list[tuple[Dense, LIF]]:
        """The (Dense, LIF) pairs, first to last; population i of a record is ``blocks[i][1]``."""
        layers = list(self.layers)  # a slice of a ModuleList is a new module: 20 us
        return list(zip(layers[::2], layers[1::2], strict=True))  # type: ignore[arg-type]

    @property
    def n_in(self) -> int:
        """Input units."""
        return self.blocks[0][0].n_in

    @property
    def n_out(self) -> int:
        """Neurons of the last layer."""
        return self.blocks[-1][1].n

    def forward(
        self,
        spikes: Spikes,
        measured: Record | None = None,
        *,
        floor: float = DEFAULT_FLOOR,
        policy: FloorPolicy = "clip",
        engine: str = "auto",
    ) -> Record:
        """Simulate; or, with ``measured``, take the measured spikes of every layer and differentiate the model there.

        Parameters
        ----------
        spikes : Spikes of ``n_in`` units
        measured : Record or Recording of as many populations, optional
        floor : float
            Least ``D_k = tau_mem u'(T_k)`` as a share of ``v_th - v_reset``; the derivative of a spike is ``1/D_k``.
        policy : "clip" | "skip" | "raise"
            What happens to a spike below it. ``record.health`` counts them in any case.
        engine : "auto" | "cpu" | "reference"

        Returns
        -------
        Record with ``health``.

        Raises
        ------
        InputError
            Input or measurement that does not fit the network; a parameter out of its bounds.
        GradientError
            Policy ``raise`` and a spike below the floor.
        """
        blocks = self.blocks
        check_input(spikes, blocks[0][0])
        if measured is not None and len(measured) != len(blocks):
            raise InputError(f"the measurement has {len(measured)} populations; the network has {len(blocks)}")
        populations: list[Spikes] = []
        calls: list[LayerCall] = []
        captured: list[RanLayer] = []
        current = spikes
        for k, (dense, lif) in enumerate(blocks):
            options = _options(lif.reset, lif.max_spikes, floor, policy, engine)
            given = None if measured is None else measured[k]
            where = f"layer {2 * k + 1} (LIF)"
            received, weight, parameters = dense.transmit(current), dense.acting_weight(), lif.acting_parameters()
            current, call = layer_call(received, weight, parameters, options, given, where)
            if given is not None:
                captured.append(RanLayer.of(received, weight, parameters, current, lif.reset, lif.max_spikes))
            populations.append(current)
            calls.append(call)
        layers = tuple(_layer_health(p, c) for p, c in zip(populations, calls, strict=True))
        ran = None if measured is None else tuple(captured)
        return Record(tuple(populations), spikes, Health(layers, floor, policy, ran))

    def with_twin(self, calibration: Calibration, program: Program | None = None) -> Network:
        """A copy that acts as the calibrated device does; see :func:`hwloop_calibration.twin.twin_of`.

        Its weights and parameters stay the ones that are asked of a device: it trains, compiles and deploys as this one.
        """
        from hwloop_calibration.twin import twin_of

        return twin_of(self, calibration, program)

    def to_nir(self) -> NIRGraph:
        """The network as a NIR graph (SI seconds, stated in its metadata); see :mod:`hwloop.network.nir.graphs`."""
        from .nir.graphs import to_nir

        return to_nir(self)

    @classmethod
    def from_nir(cls, graph: NIRGraph | Path | str, time_unit: str | None = None) -> Network:
        """A network from a NIR graph or the path of its file; ``time_unit`` ("s", "ms", "us") overrides what it says.

        Raises :class:`InputError` as :func:`hwloop.network.nir.graphs.from_nir`, and :class:`DataError` for a file that is
        missing or no NIR.
        """
        from .nir.file import read_graph
        from .nir.graphs import from_nir

        return from_nir(read_graph(graph), time_unit)

    def __call__(self, *args: Any, **kwargs: Any) -> Record:
        """:meth:`forward`, with a warning (:class:`~hwloop.errors.TimeScaleWarning`) where units of time look wrong."""
        result: Record = super().__call__(*args, **kwargs)
        if kwargs.get("measured", args[1] if len(args) > 1 else None) is None:
            warn_of_scales(self, result)
        return result


#: Equal options are made and checked once.
_options = lru_cache(Options)


def _layer_health(population: Spikes, call: LayerCall) -> LayerHealth:
    if call.trace is None or call.measured is None:
        residual = np.zeros(population.n_units)
    else:
        spikes = call.trace.spikes
        residual = mean_residuals(spikes.units, spikes.counts, call.trace.residual, population.n_units)
    return LayerHealth(call.used, call.below_floor, torch.from_numpy(residual), call.silent)
