"""Arrivals under way: a heap of times, ties in the order in which they were put there."""

from __future__ import annotations

from ..compile_kernel import kernel


@kernel()
def put(times, items, size, time, item):  # type: ignore[no-untyped-def]
    """Add ``item`` (a number that grows from call to call) at ``time``; the new size."""
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if times[parent] < time or (times[parent] == time and items[parent] < item):
            break
        times[place], items[place] = times[parent], items[parent]
        place = parent
    times[place], items[place] = time, item
    return size + 1


@kernel()
def take(times, items, size):  # type: ignore[no-untyped-def]
    """Remove the first item, which the caller has read at place 0; the new size."""
    size -= 1
    time, item, place = times[size], items[size], 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            times[other] < times[child] or (times[other] == times[child] and items[other] < items[child])
        ):
            child = other
        if time < times[child] or (time == times[child] and item < items[child]):
            break
        times[place], items[place] = times[child], items[child]
        place = child
    times[place], items[place] = time, item
    return size
