"""All claims, in the order in which they are checked and listed."""

from __future__ import annotations

from ..claim import TOPICS, Claim
from . import (
    deadlines,
    event_accounts,
    gradient_parity,
    latencies,
    made_of,
    neuron_options,
    program_digests,
    refused_networks,
    refused_use,
    rest_and_repeats,
    spike_times,
    weight_cells,
    what_is_recorded,
)  # fmt: skip

_MODULES = (
    made_of, what_is_recorded, spike_times, rest_and_repeats, weight_cells, neuron_options, event_accounts, program_digests, deadlines,
    latencies, gradient_parity, refused_use, refused_networks,
)  # fmt: skip

_FOUND = [found for module in _MODULES for found in vars(module).values() if isinstance(found, Claim)]

#: Every claim by its name.
CLAIMS: dict[str, Claim] = {found.name: found for found in sorted(_FOUND, key=lambda found: TOPICS.index(found.topic))}
