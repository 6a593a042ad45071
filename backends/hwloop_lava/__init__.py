"""Real lava-nc process graphs, run by a worker in a private environment: ``hwloop.open("lava", dt=1e-4)``."""

from .device import LavaDevice as LavaDevice
from .device import LavaTarget as LavaTarget
from .environment import Environment as Environment
from .environment import ensure as ensure
from .environment import state as state

__all__ = ["Environment", "LavaDevice", "LavaTarget", "ensure", "state"]
