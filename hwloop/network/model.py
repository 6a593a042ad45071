"""Network: populations and what leads from one to another, run event by event; gradients do not care who measured the spikes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from ..arguments import DTYPES
from ..described import Described
from ..errors import InputError
from ..record import Health, Record
from ..simulate import DEFAULT_FLOOR, FloorPolicy, Options, layer_call
from ..simulate.autograd import LayerCall
from ..spikes import Spikes
from .chain import chain_of, check_graph, module_names, why_no_pairs, why_no_plain_chain
from .dense import Dense
from .differences import RanLayer
from .habits import as_layers, check_input
from .joined import Medium
from .lif import LIF
from .populations import Input, Population
from .running import Runner, layer_health
from .structure import Projection, Structure, graph_of
from .time_scales import warn_of_scales

if TYPE_CHECKING:
    from nir import NIRGraph

    from hwloop_calibration import Calibration

    from ..mapping import Program
    from .membrane_traces import MembraneTraces
    from .network_summary import NetworkSummary


class Network(Described, nn.Module):
    """A spiking network: a chain of layers, or with :meth:`graph` any graph of populations.

    Parameters
    ----------
    layers : sequence of modules
        Maps and populations in the order in which spikes pass them, each population with maps before it:
        ``[Dense, LIF, Dense, LIF]``, ``[Conv2d, LIF, SumPool2d, Conv2d, LIF, Flatten, Dense, LI]``.
    more : none
        Layers that were given one by one: refused, with the list that is wanted.
    in_shape : int, or ``(channels, height, width)``, optional
        Units of the input; needed where the first map is no ``Dense`` or ``Sparse``, which know.

    Raises
    ------
    InputError
        Layers in another order, or sizes that do not fit, naming the layer.
    """

    layers: nn.ModuleList
    nodes: nn.ModuleDict
    projections: nn.ModuleList

    def __init__(self, layers: Iterable[nn.Module], *more: nn.Module, in_shape: Any = None) -> None:
        super().__init__()
        layers = as_layers(layers, more)  # more: layers that were given one by one, to be told so
        self.has_run = False  # whether its refractory times were compared with a window
        self._in_shape = in_shape
        self._keep(chain_of(layers, in_shape), layers)
        self.layers = nn.ModuleList(layers)

    @classmethod
    def graph(
        cls, nodes: Mapping[str, Population], projections: Iterable[Projection], output: str | None = None
    ) -> Network:
        """A network of named ``nodes`` (inputs and populations) and ``projections`` between them; loops are allowed.

        Parameters
        ----------
        nodes : name -> ``Input``, ``LIF``, ``DeltaLIF``, ``IF`` or ``LI``
        projections : of :class:`Projection`
        output : name of the population that losses and decisions look at; default: the one that drives no other

        Raises :class:`InputError` naming node or projection where something does not fit.
        """
        net = cls.__new__(cls)
        nn.Module.__init__(net)
        net.has_run = False
        listed = check_graph(nodes, projections)
        net.nodes = nn.ModuleDict(dict(zip(module_names(nodes), nodes.values(), strict=True)))
        net.projections = nn.ModuleList(listed)
        net._keep(graph_of(nodes, listed, output), net._parts())
        return net

    def _keep(self, structure: Structure, parts: list[nn.Module]) -> None:
        """Take ``structure``, which was built of the modules ``parts``."""
        self._runner, self._built_of = Runner(structure), parts

    def _parts(self) -> list[nn.Module]:
        """The modules that the structure is built of, as they stand now."""
        if (layers := self._modules.get("layers")) is not None:
            return list(layers._modules.values())  # type: ignore[arg-type]  # a ModuleList holds no None
        projections = cast(Iterable[Projection], self.projections)
        return [*self.nodes.values(), *(layer for projection in projections for layer in projection.maps)]

    @property
    def structure(self) -> Structure:
        """Which population drives which; built anew where layers were put in others' place since.

        Raises :class:`InputError` for layers that do not fit, and in a device twin of a graph, whose synapses were measured.
        """
        return self._current().structure

    def _current(self) -> Runner:
        """The runner of the layers as they stand now; raises as :attr:`structure`."""
        structure, parts = self._runner.structure, self._parts()
        if parts == self._built_of:
            return self._runner
        if any(link.composition.transmission is not None for link in structure.links):
            raise InputError(
                "a layer of a device twin was replaced, whose synapses the calibration describes; allowed: replace it in the "
                "network, and make its twin again: net.with_twin(calibration)"
            )
        if "layers" in self._modules:
            structure = chain_of(parts, self._in_shape)
        else:
            nodes = dict(zip(structure.nodes, cast(Iterable[Population], self.nodes.values()), strict=True))
            structure = graph_of(nodes, cast(Iterable[Projection], self.projections), structure.output)
        self._keep(structure, parts)
        return self._runner

    @property
    def is_plain_chain(self) -> bool:
        """Whether the network is a chain of Dense and LIF alone, which :attr:`blocks` gives."""
        return why_no_plain_chain(self) is None

    @property
    def blocks(self) -> list[tuple[Dense, LIF]]:
        """The (Dense, LIF) pairs, first to last, of a plain chain; population i of a record is ``blocks[i][1]``.

        Raises :class:`InputError` for any other network, which code that asks for pairs cannot carry.
        """
        refusal = why_no_plain_chain(self)
        if refusal is not None:
            raise InputError(
                f"{refusal}; what was called carries chains of Dense and LIF alone. Allowed: such a chain, without bias, "
                "synaptic delays and v_init"
            )
        return _pairs(list(self.layers))  # a slice of a ModuleList is a new module: 20 us

    @property
    def n_in(self) -> int:
        """Input units, of all inputs."""
        return sum(self.structure.nodes[name].n for name in self.structure.inputs)

    @property
    def n_out(self) -> int:
        """Neurons of the output."""
        return self.structure.nodes[self.structure.output].n

    def forward(
        self,
        spikes: Spikes | Mapping[str, Spikes],
        measured: Record | None = None,
        *,
        floor: float = DEFAULT_FLOOR,
        policy: FloorPolicy = "clip",
        engine: str = "auto",
    ) -> Record:
        """Simulate; or, with ``measured``, take the measured spikes of every layer and differentiate the model there.

        Parameters
        ----------
        spikes : Spikes of ``n_in`` units; where there are several inputs, of each by its name, or of all numbered through
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
            Input or measurement that does not fit the network; a parameter out of its bounds; a loop whose activity explodes.
        GradientError
            Policy ``raise`` and a spike below the floor.
        """
        runner = self._current()
        if "layers" not in self._modules or why_no_pairs(self._built_of) is not None:
            check_input(spikes, self)
            return runner.run(spikes, measured, Options(floor=floor, policy=policy, engine=engine))
        blocks = _pairs(self._built_of)
        if not isinstance(spikes, Spikes) or blocks[0][0].weight.dtype not in DTYPES:
            check_input(spikes, self)
        return self._run_chain(blocks, runner.only(spikes), measured, floor, policy, engine)

    def imagined(
        self, spikes: Spikes, medium: Medium, *, floor: float = DEFAULT_FLOOR, policy: FloorPolicy = "clip"
    ) -> Record:
        """As :meth:`forward` of a graph, on a device that does what ``medium`` says to weights, neurons and spikes."""
        return self._current().run(spikes, None, Options(floor=floor, policy=policy), medium)

    def _run_chain(
        self,
        blocks: list[tuple[Dense, LIF]],
        spikes: Spikes,
        measured: Record | None,
        floor: float,
        policy: FloorPolicy,
        engine: str,
    ) -> Record:
        """A plain chain, layer by layer, without the cost of a graph's bookkeeping."""
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
        layers = tuple(layer_health(p, c) for p, c in zip(populations, calls, strict=True))
        ran = None if measured is None else tuple(captured)
        return Record(
            tuple(populations), spikes, Health(layers, floor, policy, ran), names=self._runner.structure.populations
        )

    def membranes(
        self,
        record: Record,
        population: int | str | None = None,
        neurons: Sequence[int] | None = None,
        sample: int = 0,
    ) -> MembraneTraces:
        """Membranes of chosen neurons in one sample of ``record``, exact at any time: ``.at(times)``, ``.plot()``.

        Parameters
        ----------
        record : of this network, simulated or measured, with its inputs
        population : name, or number as in the record; default: the output
        neurons : default: the first four
        sample : number in the batch

        Between events they follow the model's closed form; resets stand where the record has its spikes. Of a measured
        record this is what the model would have to do to spike as the device did.

        Raises :class:`InputError` for a population, neuron or sample that there is not, and a record without inputs.
        """
        from .membrane_traces import traces_of

        return traces_of(self, record, population, neurons, sample)

    def summary(self, target: Any = None, spikes: Spikes | Record | None = None) -> NetworkSummary:
        """Populations, shapes, maps and trained values as a table, which ``print`` and notebooks show.

        Parameters
        ----------
        target : name of a target, target or device, optional
            Adds what the network takes of its limits, or the limit that it exceeds and the cheapest fix.
        spikes : inputs to simulate, or a record, optional
            Adds how much each population spikes.

        Raises :class:`InputError` for what is no target, :class:`~hwloop.errors.TargetError` for one that is not there.
        """
        from .network_summary import summary_of

        return summary_of(self, target, spikes)

    def _facts(self) -> dict[str, Any]:
        """What the line and the small table say."""
        nodes = self.structure.nodes
        chain = " -> ".join(
            f"{node.n}" if isinstance(node, Input) else f"{type(node).__name__} {node.n}" for node in nodes.values()
        )
        sizes = (
            {"layers": chain}
            if "layers" in self._modules
            else {"populations": ", ".join(f"{k} {type(v).__name__} {v.n}" for k, v in nodes.items())}
        )
        return {**sizes, "trained": sum(p.numel() for p in self.parameters() if p.requires_grad)}

    def with_twin(self, calibration: Calibration, program: Program | None = None) -> Network:
        """A copy that acts as the calibrated device does; see :func:`hwloop_calibration.twin.twin_of`.

        Its weights and parameters stay the ones that are asked of a device: it trains, compiles and deploys as this one.
        """
        twin: Network = calibration.twin_of(self, program)
        return twin

    def to_nir(self, dt: float | None = None) -> NIRGraph:
        """The network as a NIR graph (SI seconds, stated in its metadata); see :func:`hwloop.network.nir.write.to_nir`.

        ``dt`` (s): in the numbers that packages which count in steps of ``dt`` run rightly; None: in our own, which keep every
        value.
        """
        from .nir.write import to_nir

        return to_nir(self, dt)

    @classmethod
    def from_nir(
        cls,
        graph: NIRGraph | Path | str,
        time_unit: str | None = None,
        *,
        spike: str | float | tuple[str | float, str | float] | None = None,
        reset: str | None = None,
        output: str | None = None,
    ) -> Network:
        """A network from a NIR graph, or the path of its file.

        Parameters
        ----------
        time_unit : "s", "ms" or "us", optional
            Overrides what the graph says of its unit of time.
        spike : "jump", "delta", or the exporter's time step (s), or a pair of these, optional
            What a spike is in the graph, where that is not evident; of a pair for neurons with a synaptic current, and for those
            without.
        reset : "value" or "subtract", optional
            Of all neurons; asked for where it makes a difference and the graph does not say.
        output : str, optional
            Which output, where there are several.

        Its ``nir_evidence`` says what was taken, and why. Raises :class:`InputError` as :func:`hwloop.network.nir.read.from_nir`,
        and :class:`DataError` for a file that is missing or no NIR.
        """
        from .nir.hdf5 import read_graph
        from .nir.read import from_nir

        read = read_graph(graph)
        try:
            return from_nir(read, time_unit, spike=spike, reset=reset, output=output)
        except InputError as error:
            if not isinstance(graph, (str, Path)):
                raise
            raise type(error)(f"{graph}: {error}") from error  # which of the files it is

    def __call__(self, *args: Any, **kwargs: Any) -> Record:
        """:meth:`forward`, with a warning (:class:`~hwloop.errors.TimeScaleWarning`) where units of time look wrong."""
        result: Record = super().__call__(*args, **kwargs)
        if kwargs.get("measured", args[1] if len(args) > 1 else None) is None:
            warn_of_scales(self, result)
        return result


def _pairs(layers: list[nn.Module]) -> list[tuple[Dense, LIF]]:
    return list(zip(layers[::2], layers[1::2], strict=True))  # type: ignore[arg-type]


#: Equal options are made and checked once.
_options = lru_cache(Options)
