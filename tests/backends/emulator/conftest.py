"""Small networks and chips with one effect at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hwloop.device.registry import compile
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset

Chip = Callable[..., EmulatorDevice]


@pytest.fixture
def build() -> Callable[..., Network]:
    """A network whose two layers fire several spikes a sample on ``spikes``."""

    def network(
        n_in: int = 5,
        hidden: int = 40,
        n_out: int = 3,
        dtype: torch.dtype = torch.float64,
        delay: float | None = None,
        **lif: Any,
    ) -> Network:
        generator = torch.Generator().manual_seed(11)
        first = Dense(n_in, hidden, delay=delay, generator=generator).init_normal_(1.6, 1.0, generator)
        second = Dense(hidden, n_out, generator=generator).init_normal_(0.3, 0.2, generator)
        # float64 from the start: 10e-3 must not pass through float32
        settings = {
            name: torch.tensor(value, dtype=torch.float64) if isinstance(value, float) else value
            for name, value in {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, **lif}.items()
        }
        return Network([first, LIF(hidden, **settings), second, LIF(n_out, **settings)]).to(dtype)

    return network


@pytest.fixture
def spikes() -> Spikes:
    """Thirty samples, each of five inputs once."""
    first = torch.rand((30, 5), generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 0.02
    return Spikes.from_first_times(first, t_stop=0.06)


@pytest.fixture
def chip() -> Chip:
    """A loaded chip of ``preset`` (a name or a Preset): ``chip(net, preset, number=7, **options)``."""

    def opened(
        net: Network,
        preset: str | Preset = "ideal",
        number: int = 7,
        compiling: dict[str, Any] | None = None,
        **options: Any,
    ) -> EmulatorDevice:
        device = EmulatorTarget(str(number), preset=preset, **{"session": 0, **options}).open()
        device.load(compile(net, device, **(compiling or {})))
        return device

    return opened


@pytest.fixture
def only() -> Callable[..., Preset]:
    """The ideal chip with 6-bit weights where asked, and the effects named: ``only(tau_mem=.1, bits=6)``."""

    def preset(bits: int | None = None, **effects: float) -> Preset:
        result = Preset.load("ideal")
        if bits is not None:
            data = result.model_dump(exclude_unset=True)
            data["limits"]["weight_bits"] = {"value": bits, "source": "test"}
            result = Preset.model_validate(data)
        # rates first: a defect without its rate is refused
        for name in sorted(effects, key=lambda key: not key.endswith("_rate")):
            result = result.with_effect(name, effects[name])
        return result

    return preset
