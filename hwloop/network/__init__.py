"""Networks of spiking layers, and their exchange as NIR graphs."""

from .dense import Dense as Dense
from .lif import LIF as LIF
from .model import Network as Network

__all__ = ["LIF", "Dense", "Network"]
