"""The spikes of one interval in order of time.

Inlined where it is called.
"""

from __future__ import annotations

from ..compile_kernel import kernel

#: Spikes in one interval up to which plain insertion sorts them fastest.
SMALL_SORT = 24


@kernel(inline="always")
def sort_interval(times, units, order, bins, places, first, stop, t_now, t_next):  # type: ignore[no-untyped-def]
    """Write spikes ``first .. stop`` to ``order`` by time, ties by neuron: first into as many bins, then by insertion."""
    n_new = stop - first
    if n_new <= SMALL_SORT:
        for a in range(first, stop):
            order[a] = a
    else:
        scale = n_new / (t_next - t_now)
        for a in range(n_new + 1):
            bins[a] = 0
        for a in range(first, stop):
            place = min(n_new - 1, int((times[a] - t_now) * scale))
            places[a - first] = place
            bins[place + 1] += 1
        for a in range(n_new):
            bins[a + 1] += bins[a]
        for a in range(first, stop):
            place = places[a - first]
            order[first + bins[place]] = a
            bins[place] += 1
    for a in range(first + 1, stop):
        item, slot = order[a], a
        t_item = times[item]
        while slot > first and (
            times[order[slot - 1]] > t_item
            or (times[order[slot - 1]] == t_item and units[order[slot - 1]] > units[item])
        ):
            order[slot] = order[slot - 1]
            slot -= 1
        order[slot] = item
