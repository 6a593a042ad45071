"""Every target that must keep the contract; a new backend adds its line to ``TARGETS`` and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from hwloop.device.registry import Device, Target, find
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes

TARGETS = [
    ("emulator:7", {"preset": "ideal"}),
    ("emulator:7", {"preset": "bss2"}),
    ("emulator:7", {"preset": "worst"}),
    ("lava", {"dt": 1e-3}),
    ("loihi", {}),
    ("loihi", {"dt": 2e-5}),
    ("tiny:0", {}),
    # behind a line: what is served on a socket of this computer
    ("served emulator:7", {"preset": "bss2"}),
    ("served loihi", {}),
]
SERVED = "served "
#: Those that take long: `pytest -m slow tests/conformance`.
SLOW = [("lava", {"dt": 1e-3, "arithmetic": "float"})]


def _parameters() -> list[object]:
    def named(name: str, options: dict[str, object], *marks: pytest.MarkDecorator) -> object:
        return pytest.param((name, options), id="-".join(map(str, (name, *options.values()))), marks=marks)

    return [named(*target) for target in TARGETS] + [named(*target, pytest.mark.slow) for target in SLOW]


@pytest.fixture
def tiny_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the third-party example as a distribution of its own."""
    shutil.copy(Path(__file__).with_name("hwloop_tiny.py"), tmp_path)
    metadata = tmp_path / "hwloop_tiny-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hwloop-tiny\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[hwloop.backends]\ntiny = hwloop_tiny:TinyTarget\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture(params=_parameters())
def target(request: pytest.FixtureRequest, tiny_backend: None) -> Iterator[Target]:
    name, options = request.param
    if not name.startswith(SERVED):
        yield find(name, **options)
        return
    from hwloop_serial.board.server import Serving

    with Serving(find(name.removeprefix(SERVED), **options), "tcp://127.0.0.1:0") as url:
        yield find(f"serial:{url}")


@pytest.fixture
def device(target: Target) -> Iterator[Device]:
    with target.open() as opened:
        yield opened


@pytest.fixture
def build() -> Callable[..., Network]:
    def network(dtype: torch.dtype = torch.float64, n_in: int = 3) -> Network:
        generator = torch.Generator().manual_seed(3)
        net = Network([
            Dense(n_in, 6, generator=generator), LIF(6, tau_mem=10e-3, tau_syn=5e-3),
            Dense(6, 2, generator=generator), LIF(2, tau_mem=10e-3, tau_syn=5e-3),
        ])  # fmt: skip
        return net.to(dtype)

    return network


@pytest.fixture
def spikes() -> Spikes:
    """Four samples, the last without any event."""
    rows = [([0.001, 0.002, 0.003], [0, 1, 2]), ([0.001, 0.001, 0.009], [2, 0, 1]), ([0.0], [1]), ([], [])]
    return Spikes.from_events(rows, n_units=3, t_stop=0.05, dtype=torch.float64)
