"""When neurons that may spike do so, many together; and the response of one over a span."""

from __future__ import annotations

from ..compile_kernel import kernel
from ..kernels.crossings import CROSSES, FOUND, arrive_there, find_crossings, search_crossings, spike_there
from ..kernels.exponentials import respond, respond_2
from ..kernels.legs import WIDTH
from ..kernels.neuron import RATIO_2


@kernel()
def over(form, s, rate_mem, rate_syn):  # type: ignore[no-untyped-def]
    """``(e_m, e_s, g)`` of a span ``s``, with the bits that the lanes of :mod:`~hwloop.simulate.kernels.crossings` have."""
    if form == RATIO_2:
        e_m, e_s, g = respond_2(s, rate_mem)
    else:
        e_m, e_s, g = respond(s, rate_mem, rate_syn)
    return e_m, e_s, g


@kernel()
def spike_first(form, a, ids, m, end, t_next, fresh, like):  # type: ignore[no-untyped-def]
    """Of the ``m`` neurons in the table ``a`` keep those that reach their threshold by ``end``; returns how many.

    ``ids`` are kept with them, and row ``POS`` becomes the time of the spike (s). ``fresh``: their states at ``end`` are not
    in the table yet.
    """
    if fresh:
        arrive_there(form, a, m, end, like)
    find_crossings(form, a, m, end)
    kept = 0
    for k in range(m):
        if a[CROSSES + k] == 1.0:
            if kept != k:
                for row in range(FOUND):
                    a[WIDTH * row + kept] = a[WIDTH * row + k]
                ids[kept] = ids[k]
            kept += 1
    if kept > 0:
        if form != RATIO_2:
            search_crossings(a, kept)
        spike_there(form, a, kept, t_next, like)
    return kept
