"""What an answer costs: operations that were counted on the recorded spikes, memory, latency, and energy by cited prices."""

from .cost_report import Cost as Cost
from .cost_report import cost_of as cost_of
from .operations import Operations as Operations
from .prices import Energy as Energy
from .prices import Price as Price
from .prices import prices_of as prices_of
from .prices import shipped_prices as shipped_prices

__all__ = ["Cost", "Energy", "Operations", "Price", "cost_of", "prices_of", "shipped_prices"]
