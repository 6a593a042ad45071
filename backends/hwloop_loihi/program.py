"""A network compiled to a fixed-point graph, and what that cost in resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hwloop.mapping import Program, ResourceReport, ResourceTable
from hwloop_fixed_point.graph import FixedGraph

from .remedy import Compilation

if TYPE_CHECKING:
    from hwloop.network import Network


@dataclass(frozen=True)
class LayerFit:
    """How well one population fits the fixed-point numbers.

    Attributes
    ----------
    population : int
    du, dv, vth, weight_exp : int
    tau_syn_error, tau_mem_error : float
        Relative error of the time constants that the rounded decays have.
    threshold_error : float
        Relative error of the rounded threshold.
    headroom : float
        How many times over all inputs may spike in one tick, each into its worst neuron, before ``u`` wraps.
    """

    population: int
    du: int
    dv: int
    vth: int
    weight_exp: int
    tau_syn_error: float
    tau_mem_error: float
    threshold_error: float
    headroom: float


@dataclass(frozen=True)
class LoihiReport(ResourceReport):
    """Resources, and the fit of every population at a step of ``dt`` (s); ``str()`` is two tables, :meth:`to_dict` plain values."""

    dt: float = 0.0
    fits: tuple[LayerFit, ...] = ()

    def tables(self) -> tuple[ResourceTable, ...]:
        """The resources, and the fit of every population to the fixed-point numbers."""
        columns = (
            "layer", "du", "dv", "vth", "weight exponent", "tau_syn error", "tau_mem error", "v_th error", "headroom",
        )  # fmt: skip
        rows = tuple(
            (
                fit.population, fit.du, fit.dv, fit.vth, fit.weight_exp, f"{fit.tau_syn_error:+.2%}", f"{fit.tau_mem_error:+.2%}",
                f"{fit.threshold_error:+.3%}", f"{fit.headroom:.1f}x",
            )
            for fit in self.fits
        )  # fmt: skip
        caption = (
            f"Fixed point at one tick of {self.dt:g} s: decays and thresholds as rounded, their relative errors, and the headroom: "
            "how many times over all inputs may spike in one tick before a current wraps."
        )
        return (*super().tables(), ResourceTable(caption, columns, rows))

    def __str__(self) -> str:
        lines = [
            *super().__str__().split("\n"),
            f"fixed point, one tick {self.dt:g} s: decays and thresholds as rounded, headroom until u wraps",
            f"{'population':>10} {'du':>5} {'dv':>5} {'vth':>7} {'exp':>4} {'tau_syn':>8} {'tau_mem':>8} {'v_th':>8} {'headroom':>9}",
        ]
        lines += [
            f"{fit.population:>10} {fit.du:>5} {fit.dv:>5} {fit.vth:>7} {fit.weight_exp:>4} "
            f"{100 * fit.tau_syn_error:>+7.2f}% {100 * fit.tau_mem_error:>+7.2f}% {100 * fit.threshold_error:>+7.3f}% "
            f"{fit.headroom:>8.1f}x"
            for fit in self.fits
        ]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, kw_only=True)
class LoihiProgram(Program):
    """A program with the graph that runs. Codes are half the mantissas; ``scale`` is the model weight of one code.
    ``membrane_scale`` is that of any :class:`~hwloop.mapping.Program`.

    ``source`` is what was compiled: a remedy is tried on it.
    """

    graph: FixedGraph
    fits: tuple[LayerFit, ...]
    source: Compilation

    @property
    def dt(self) -> float:
        """One tick (s)."""
        return self.graph.dt

    def n_ticks(self, t_stop: float) -> int:
        """Ticks that a sample takes; see :class:`hwloop.device.abilities.Stepped`."""
        return self.graph.n_ticks(t_stop)

    def with_weights(self, net: Network) -> LoihiProgram:
        """The same scales with ``net``'s present weights; raises as compiling does."""
        # it builds these programs: at module level the two imports would form a ring
        from .compiler import compile_loihi

        how = self.source
        return compile_loihi(net, self.dt, like=self, exponents=how.exponents, headroom=how.headroom)

    def report(self) -> LoihiReport:
        """Resources, what rounding did, and the headroom to the wrap."""
        return LoihiReport(**self._resources(), dt=self.dt, fits=self.fits)

    def _content(self) -> bytes:
        return self.graph.digest.encode()


def worst(fits: Sequence[LayerFit]) -> float:
    """Largest relative error of a time constant."""
    return max(max(abs(fit.tau_syn_error), abs(fit.tau_mem_error)) for fit in fits)
