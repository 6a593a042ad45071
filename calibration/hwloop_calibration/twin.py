"""The device twin: a network that acts as the calibrated device does, with the weights and parameters asked of it."""

from __future__ import annotations

import copy

import numpy as np
import torch

from hwloop.errors import CalibrationError
from hwloop.mapping import Program, place
from hwloop.network import LIF, Network
from hwloop.network.composition import Composition, Transmission
from hwloop.neurons import PARAMETERS

from .characterise.model import Array
from .document.calibration import Calibration, as_array


def twin_of(net: Network, calibration: Calibration, program: Program | None = None) -> Network:
    """A copy of ``net`` whose neurons and synapses act as those of the device that ``calibration`` describes.

    Each neuron takes the deviations of the physical neuron that it stands on: factors of time constants and of every
    synapse, offsets of potentials in swings; they were found at the calibration's targets, and are taken to be the same
    at what ``net`` asks. Weights, parameters and ``state_dict`` stay those that are asked of a device: the twin trains,
    compiles, deploys and fine-tunes as ``net`` does.

    Parameters
    ----------
    net : Network
    calibration : Calibration
    program : Program, optional
        Whose placement counts, and whose weight of full scale where the bows of the converters were measured; by default
        that of compiling ``net`` with ``mask=calibration.mask``, and the converters are taken as straight.

    Raises
    ------
    CalibrationError
        The placement uses a neuron that was not calibrated or is masked, or ``program`` is of another network.
    """
    twin = copy.deepcopy(net)
    deviate(twin, calibration, program)
    return twin


def deviate(net: Network, calibration: Calibration, program: Program | None = None) -> None:
    """Let ``net`` itself act as the device does from now on; arguments and errors as for :func:`twin_of`."""
    places = _placement(net, calibration, program)
    deviations = Deviations.of(calibration)
    if not net.is_plain_chain:
        _deviate_graph(net, calibration, deviations, places, program)
        return
    for k, ((dense, lif), physical) in enumerate(zip(net.blocks, places, strict=True)):
        rows = _rows(calibration, physical, k)
        dtype = dense.weight.dtype
        dense.mismatch = torch.from_numpy(deviations.synapses(rows, dense.n_in)).to(dtype)
        asked = {name: value.detach().double().numpy() for name, value in lif.parameters_dict().items()}
        lif.mismatch = torch.from_numpy(deviations.neurons(rows, asked)).to(dtype)
        bend = None if program is None else deviations.bend(rows, dense.n_in)
        layer = None if program is None else program.layers[k]
        if bend is None or layer is None or layer.max_code is None:
            dense.bend = dense.full_scale = None
        else:
            dense.bend = torch.from_numpy(bend).to(dtype)
            gain = 1.0 if layer.gain is None else layer.gain[:, None]
            dense.full_scale = torch.as_tensor(layer.max_code * layer.scale * gain, dtype=dtype)


def _deviate_graph(
    net: Network, calibration: Calibration, deviations: Deviations, places: tuple[Array, ...], program: Program | None
) -> None:
    """:func:`deviate` of a graph: every path of every projection has the factor of its synapse's cell."""
    for k, (name, physical) in enumerate(zip(net.structure.populations, places, strict=True)):
        node = net.structure.nodes[name]
        if not isinstance(node, LIF):
            raise CalibrationError(
                f"population {name!r} is {type(node).__name__}; a twin acts as calibrated LIF do: build it of LIF"
            )
        rows = _rows(calibration, physical, k, name)
        asked = {key: value.detach().double().numpy() for key, value in node.parameters_dict().items()}
        node.mismatch = torch.from_numpy(deviations.neurons(rows, asked)).to(node.v_th.dtype)
        into = [link.composition for link in net.structure.links if link.target == name]
        synapses = np.concatenate([_existing(composition) for composition in into], 1)
        cells = np.cumsum(synapses, 1) - 1
        most = int(synapses.sum(1).max(initial=0))
        factors = deviations.synapses(rows, most)
        bends = None if program is None else deviations.bend(rows, most)
        layer = None if program is None else program.layers[k]
        column = 0
        for composition in into:
            paths = composition.paths
            cell = cells[paths.targets, column + paths.sources]
            column += composition.n_in
            mismatch = torch.from_numpy(factors[paths.targets, cell])
            if bends is None or layer is None or layer.max_code is None:
                composition.transmission = Transmission(mismatch)
                continue
            full = np.broadcast_to(layer.max_code * layer.lsb(), (layer.n_out, 1))[paths.targets, 0]
            composition.transmission = Transmission(
                mismatch, torch.from_numpy(bends[paths.targets, cell]), torch.from_numpy(full.copy())
            )


def _existing(composition: Composition) -> Array:
    """``[n_out, n_in]`` where a synapse is."""
    result = np.zeros((composition.n_out, composition.n_in), bool)
    result[composition.paths.targets, composition.paths.sources] = True
    return result


def is_twin(net: Network) -> bool:
    """Whether ``net`` acts as some device does."""
    if not net.is_plain_chain:
        return any(link.composition.transmission is not None for link in net.structure.links)
    return any(dense.mismatch is not None or lif.mismatch is not None for dense, lif in net.blocks)


class Deviations:
    """What a device makes of what is asked, by row of the calibration."""

    def __init__(
        self,
        factors: dict[str, Array],
        shifts: dict[str, Array],
        weights: Array,
        gain: Array,
        bends: Array | None = None,
    ) -> None:
        self._factors, self._shifts, self._weights, self._gain, self._bends = factors, shifts, weights, gain, bends

    @classmethod
    def of(cls, calibration: Calibration) -> Deviations:
        """Factors and offsets of ``calibration``'s estimates against its targets; what is unknown is taken as asked."""
        swing = calibration.asked("v_th") - calibration.asked("v_reset")
        factors, shifts = {}, {}
        for name in ("tau_mem", "tau_syn"):
            factors[name] = _known(calibration.value(name) / calibration.asked(name), 1.0)
        t_ref = calibration.asked("t_ref")
        held = calibration.value("t_ref")
        factors["t_ref"] = np.where(held > 0, _known(held / np.where(t_ref > 0, t_ref, np.inf), 0.0), 0.0)
        # below its least refractory time a device does not follow what is asked
        shifts["t_ref"] = np.where(t_ref > 0, 0.0, _known(held, 0.0))
        factors["t_ref"] = np.where(t_ref > 0, factors["t_ref"], 1.0)
        for name in ("v_th", "v_leak", "v_reset"):
            shifts[name] = _known((calibration.value(name) - calibration.asked(name)) / swing, 0.0)
        gain = _known(calibration.value("gain"), 1.0)
        weights = np.array([as_array(row) for row in calibration.weights])
        bends = np.array([_known(as_array(row), 0.0) for row in calibration.bends]) if calibration.bends else None
        return cls(factors, shifts, np.where(np.isnan(weights), gain[:, None], weights), gain, bends)

    def synapses(self, rows: Array, n_in: int) -> Array:
        """Factors ``[n, n_in]`` of the weights of neurons ``rows``; columns that were not measured have the neuron's gain."""
        measured = self._weights[rows][:, :n_in]
        rest = np.repeat(self._gain[rows][:, None], n_in - measured.shape[1], 1)
        return np.concatenate([measured, rest], 1)

    def bend(self, rows: Array, n_in: int) -> Array | None:
        """Bows ``[n, n_in]`` of the converters of neurons ``rows``, 0 where unknown; None where none was measured."""
        if self._bends is None:
            return None
        measured = self._bends[rows][:, :n_in]
        return np.concatenate([measured, np.zeros((len(rows), n_in - measured.shape[1]))], 1)

    def neurons(self, rows: Array, asked: dict[str, Array]) -> Array:
        """``[2, 6, n]`` for :meth:`hwloop.network.LIF.acting_parameters`."""
        result = np.zeros((2, len(PARAMETERS), len(rows)))
        for k, name in enumerate(PARAMETERS):
            result[0, k] = self._factors[name][rows] if name in self._factors else 1.0
            result[1, k] = self._shifts[name][rows] if name in self._shifts else 0.0
        return result


def _known(values: Array, otherwise: float) -> Array:
    return np.where(np.isfinite(values), values, otherwise)


def _placement(net: Network, calibration: Calibration, program: Program | None) -> tuple[Array, ...]:
    sizes = [net.structure.nodes[name].n for name in net.structure.populations]
    if program is None:
        return place(sizes, max(calibration.neurons) + 1, calibration.mask)
    found = [layer.n_out for layer in program.layers]
    if found != sizes:
        raise CalibrationError(f"the program has layers of {found} neurons, the network {sizes}; compile this network")
    return tuple(layer.neurons for layer in program.layers)


def _rows(calibration: Calibration, physical: Array, layer: int, name: str = "") -> Array:
    """Rows of the calibration for physical neurons."""
    known = np.asarray(calibration.neurons)
    rows = np.minimum(np.searchsorted(known, physical), len(known) - 1)
    lacking = physical[known[rows] != physical]
    masked = physical[np.isin(physical, calibration.mask)]
    if len(lacking) or len(masked):
        bad = lacking if len(lacking) else masked
        if len(lacking):
            what = "was not calibrated"
            todo = (
                'Calibrate for this program (hwloop.calibrate(device, program)) or the whole chip (neurons="all"), or compile with '
                "mask=set(range(device.capabilities.n_neurons)) - set(calibration.neurons) | set(calibration.mask)"
            )
        else:
            what = f"is masked: {calibration.reasons.get(str(int(bad[0])), '')}"
            todo = "Compile with mask=calibration.mask"
        raise CalibrationError(
            f"{f'population {name!r}' if name else f'layer {2 * layer + 1} (LIF)'}: physical neuron {int(bad[0])} {what} ({len(bad)} such neurons). {todo}"
        )
    return rows


__all__ = ["Deviations", "deviate", "is_twin", "twin_of"]
