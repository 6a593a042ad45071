"""The floating-point graph of a network as a program: weights as they are, time in steps of ``dt``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

from hwloop.mapping import Capabilities, Program, ScaleRule, compile_network, network_values
from hwloop.network import Network
from hwloop_loihi import FloatGraph, float_graph
from hwloop_loihi.delays import delay_losses
from hwloop_loihi.discretise import float_layers
from hwloop_loihi.limits import capabilities as fixed_capabilities
from hwloop_loihi.remedy import Compilation


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatProgram(Program):
    """A program with the floating-point graph that runs."""

    graph: FloatGraph

    def with_weights(self, net: Network) -> FloatProgram:
        """The same placement with ``net``'s present weights; raises as compiling does."""
        return compile_float(net, self.graph.dt, like=self)

    def _content(self) -> bytes:
        return self.graph.digest.encode()


def capabilities(dt: float) -> Capabilities:
    """Limits of the floating-point graph at a step of ``dt`` (s): those of the fixed one, with real weights."""
    return replace(fixed_capabilities(dt), name=f"lava-float/{dt * 1e6:g}us", weight_bits=None)


def compile_float(
    net: Network,
    dt: float,
    *,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
    like: Program | None = None,
) -> FloatProgram:
    """``net`` as floating-point layers at steps of ``dt`` (s); options as for :func:`hwloop.mapping.compile_network`.

    Refractory times are carried, in whole ticks (process LIFRefractory). Raises :class:`CompileError` for the rest of
    what :func:`hwloop_loihi.float_graph` refuses.
    """
    graph = float_graph(net, dt)  # first: its refusals name remedies that were tried
    program = compile_network(net, capabilities(dt), weight_scale=weight_scale, mask=mask, like=like)
    if like is None:
        asked = Compilation(tuple(network_values(net)), dt)
        program = replace(program, warnings=(*program.warnings, *delay_losses(asked, float_layers)))
    inherited = {field.name: getattr(program, field.name) for field in fields(program)}
    return FloatProgram(**inherited, graph=graph)
