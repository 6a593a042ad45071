/* The fixed-point LIF populations of a program, tick by tick: the six rules of hwloop_fixed_point/graph.py. */
#ifndef HWL_CORE_H
#define HWL_CORE_H

#include "image.h"

#define HWL_NO_MORE 0xFFFFFFFFu /* ends the spikes of a population where not all of it fired */

/*
 * A program made ready. `state`: first two words a population (where its part begins, the depth of its ring), then of each
 * population u[n], v[n], fired[n], ring[depth][n], then the sums of one projection that is shifted right.
 * Words hold signed numbers in two's complement: unsigned arithmetic wraps as that of the specification, and is never undefined.
 */
typedef struct {
    const hwl_image *image;
    uint32_t *state;
    uint32_t sums;        /* where the sums of a projection that is shifted right begin */
    uint32_t state_bytes; /* that the program needs */
    uint32_t tick;        /* that comes next */
} hwl_core;

/* Input events of one tick: units of two or four bytes, `stride` bytes from one to the next. */
typedef struct {
    const uint8_t *units;
    uint32_t count;
    uint32_t stride;
    int wide;
} hwl_events;

/*
 * Makes a checked image ready in `state`, which has `bytes`; or TOO_LARGE, detail = bytes needed (all that can be told without a
 * table of the populations, where not even that fits), other = `bytes`.
 */
hwl_error hwl_core_begin(hwl_core *core, const hwl_image *image, uint32_t *state, uint32_t bytes);

/* Before the first tick of a sample. */
void hwl_core_rest(hwl_core *core);

/* Rules 3 to 6 for population `index` in this tick; returns how often a current left its 24 bits. */
uint32_t hwl_core_step(hwl_core *core, uint32_t index);

/* Who fired of population `index` in this tick: up to n numbers that rise, ended by HWL_NO_MORE where there are fewer. */
const uint32_t *hwl_core_fired(const hwl_core *core, uint32_t index);

/* Rule 2: all spikes of this tick, those of the input too, go on their way; then the next tick begins. */
void hwl_core_send(hwl_core *core, const hwl_events *input);

#endif
