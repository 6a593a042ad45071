"""Networks of spiking populations, and their exchange as NIR graphs."""

from .conv2d import Conv2d as Conv2d
from .dense import Dense as Dense
from .elementwise import Delay as Delay
from .elementwise import Flatten as Flatten
from .elementwise import Scale as Scale
from .elementwise import Sparse as Sparse
from .lif import LIF as LIF
from .model import Network as Network
from .pools import AvgPool2d as AvgPool2d
from .pools import SumPool2d as SumPool2d
from .populations import IF as IF
from .populations import LI as LI
from .populations import DeltaLIF as DeltaLIF
from .populations import Input as Input
from .structure import Projection as Projection

__all__ = [
    "IF", "LI", "LIF", "AvgPool2d", "Conv2d", "Delay", "DeltaLIF", "Dense", "Flatten", "Input", "Network", "Projection",
    "Scale", "Sparse", "SumPool2d",
]  # fmt: skip
