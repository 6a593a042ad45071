"""Responses over many time spans at once: a neuron's way from one of its spikes to the next, and to the interval's end.

Where the times of spikes are known, as in replay and on the way back, so is every span before any state is; what is left
to do one after the other is a few multiplications.
"""

from __future__ import annotations

from ..compile_kernel import kernel
from .exponentials import respond, respond_2
from .neuron import RATIO_2

#: Spans that are taken together; the rows of their table lie this far apart, which the compiler has to know.
WIDTH = 64

#: Lanes of the widest vector of float64: as many are worked on, so that none is left for scalar instructions.
LANES = 8

#: Rows of the table: span (s), the neuron's rates (1/s), and the factors of the response.
SPAN, RATE_M, RATE_S, E_M, E_S, G = (WIDTH * row for row in range(6))
LEG_ROWS = 6 * WIDTH


@kernel(inline="always")
def whole_vectors(m):  # type: ignore[no-untyped-def]
    """``m`` made a multiple of ``LANES``: lanes beyond ``m`` hold what was there before, and nobody reads their results."""
    return (m + LANES - 1) // LANES * LANES


@kernel(inline="always")
def respond_to_all(kind, legs, m):  # type: ignore[no-untyped-def]
    """Factors ``E_M, E_S, G`` of the first ``m`` spans; see :func:`~.exponentials.respond`."""
    if kind is RATIO_2:
        for x in range(whole_vectors(m)):
            legs[E_M + x], legs[E_S + x], legs[G + x] = respond_2(legs[SPAN + x], legs[RATE_M + x])
    else:
        for x in range(whole_vectors(m)):
            legs[E_M + x], legs[E_S + x], legs[G + x] = respond(legs[SPAN + x], legs[RATE_M + x], legs[RATE_S + x])
