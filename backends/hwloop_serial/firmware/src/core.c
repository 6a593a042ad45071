#include "core.h"

#include <stddef.h>
#include <string.h>

#include "bytes.h"

#define TABLE_WORDS 2u /* a population */
#define STATE_SHIFT 6u
#define DECAY_BITS 12u
#define TOP (1u << 23)       /* a current wraps above it, and at its negative */
#define CLIP (TOP - 1u)      /* of the membrane */
#define SIGN_BIT 0x80000000u

/* -- words that hold signed numbers -------------------------------------------------------------------------------------- */

static inline int above(uint32_t a, uint32_t b) { return (a ^ SIGN_BIT) > (b ^ SIGN_BIT); }

/* a >> shift, toward minus infinity. */
static inline uint32_t shifted_right(uint32_t a, uint32_t shift) {
    uint32_t sign = 0u - (a >> 31);
    return ((a ^ sign) >> shift) ^ sign;
}

/* sgn(x) ((|x| keep) >> 12), keep <= 4096, without a product of more than 32 bits. */
static inline uint32_t decayed(uint32_t x, uint32_t keep) {
    uint32_t sign = 0u - (x >> 31), size = (x ^ sign) - sign;
    uint32_t kept = (size >> DECAY_BITS) * keep + (((size & 4095u) * keep) >> DECAY_BITS);
    return (kept ^ sign) - sign;
}

static inline uint32_t wrapped(uint32_t sum) {
    uint32_t once = above(sum, TOP) ? sum - 2u * TOP : sum;
    return above(once, 0u - TOP) ? once : sum + 2u * TOP;
}

static inline uint32_t clipped(uint32_t level) {
    if (above(level, CLIP)) {
        return CLIP;
    }
    return above(0u - CLIP, level) ? 0u - CLIP : level;
}

/* -- where things stand in the state -------------------------------------------------------------------------------------- */

static inline uint32_t *part(const hwl_core *core, uint32_t index) {
    return core->state + core->state[TABLE_WORDS * index];
}

static inline uint32_t ring_depth(const hwl_core *core, uint32_t index) { return core->state[TABLE_WORDS * index + 1u]; }

static inline uint32_t *ring(const hwl_core *core, uint32_t index, uint32_t n) { return part(core, index) + 3u * (size_t)n; }

/* Fills in the depths of the rings; returns the words that the largest sums of a right shift need. */
static uint64_t table_depths(hwl_core *core) {
    uint64_t split = 0;
    uint32_t k;
    for (k = 0; k < core->image->projections; k++) {
        hwl_projection wire;
        uint32_t *depth;
        hwl_image_projection(core->image, k, &wire);
        depth = core->state + TABLE_WORDS * wire.target + 1u;
        *depth = wire.depth > *depth ? wire.depth : *depth;
        if (wire.right > 0 && (uint64_t)wire.depth * wire.n > split) {
            split = (uint64_t)wire.depth * wire.n;
        }
    }
    return split;
}

hwl_error hwl_core_begin(hwl_core *core, const hwl_image *image, uint32_t *state, uint32_t bytes) {
    hwl_error error = {HWL_OK, 0, 0};
    uint64_t table = (uint64_t)TABLE_WORDS * image->populations, words = table + 3u * (uint64_t)image->neurons;
    uint32_t index;
    core->image = image;
    core->state = state;
    core->tick = 0;
    if (words <= bytes / 4u) {
        uint64_t split;
        memset(state, 0, (size_t)table * sizeof *state);
        split = table_depths(core);
        words = table;
        for (index = 0; index < image->populations; index++) {
            hwl_population cells;
            hwl_image_population(image, index, &cells);
            state[TABLE_WORDS * index] = (uint32_t)words;
            words += (3u + (uint64_t)ring_depth(core, index)) * cells.n;
        }
        core->sums = (uint32_t)words;
        words += split;
    }
    core->state_bytes = words > 0xFFFFFFFFu / 4u ? 0xFFFFFFFFu : (uint32_t)words * 4u;
    if (words > bytes / 4u) {
        error.code = HWL_TOO_LARGE;
        error.detail = core->state_bytes;
        error.other = bytes;
    }
    return error;
}

/* -- a tick ---------------------------------------------------------------------------------------------------------------- */

static void fill(uint32_t *words, const uint8_t *values, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; i++) {
        words[i] = values == NULL ? 0 : hwl_get32(values + 4u * (size_t)i);
    }
}

void hwl_core_rest(hwl_core *core) {
    uint32_t index;
    core->tick = 0;
    for (index = 0; index < core->image->populations; index++) {
        hwl_population cells;
        hwl_image_population(core->image, index, &cells);
        fill(part(core, index), cells.u_start, cells.n);
        fill(part(core, index) + cells.n, cells.v_start, cells.n);
        memset(ring(core, index, cells.n), 0, (size_t)ring_depth(core, index) * cells.n * sizeof(uint32_t));
    }
}

uint32_t hwl_core_step(hwl_core *core, uint32_t index) {
    hwl_population cells;
    uint32_t *u = part(core, index), *v, *fired, *row, depth = ring_depth(core, index), count = 0, wraps = 0, i;
    hwl_image_population(core->image, index, &cells);
    v = u + cells.n;
    fired = v + cells.n;
    row = fired + cells.n + (depth > 0 ? core->tick % depth : 0) * (size_t)cells.n;
    for (i = 0; i < cells.n; i++) {
        uint32_t arrived = 0, sum, now, level;
        if (depth > 0) {
            arrived = row[i];
            row[i] = 0;
        }
        sum = decayed(u[i], cells.keep_u) + (arrived << STATE_SHIFT);
        now = wrapped(sum);
        wraps += now != sum;
        u[i] = now;
        level = decayed(v[i], cells.keep_v) + now;
        if (cells.bias != NULL) {
            level += hwl_get32(cells.bias + 4u * (size_t)i);
        }
        level = clipped(level);
        if (above(level, cells.threshold)) {
            fired[count++] = i;
            level = 0;
        }
        v[i] = level;
    }
    if (count < cells.n) {
        fired[count] = HWL_NO_MORE;
    }
    return wraps;
}

const uint32_t *hwl_core_fired(const hwl_core *core, uint32_t index) {
    hwl_population cells;
    hwl_image_population(core->image, index, &cells);
    return part(core, index) + 2u * (size_t)cells.n;
}

/* -- rule 2 ---------------------------------------------------------------------------------------------------------------- */

/* Where the spikes of one projection are summed: rows of n words, the one of delay 0 first or, in a ring, at `row`. */
typedef struct {
    hwl_projection wire;
    uint32_t *words;
    uint32_t rows;
    uint32_t row;
    uint32_t flip;   /* (byte ^ flip) - flip is the weight's code with its sign */
    uint32_t factor; /* what turns it into what is added */
} hwl_sum;

static void open_sum(const hwl_core *core, hwl_sum *sum) {
    const hwl_projection *wire = &sum->wire;
    sum->flip = wire->code == HWL_SIGNED ? 0x80u : 0u;
    sum->factor = (wire->code == HWL_SIGNED ? 2u : 1u) << wire->left;
    if (wire->code == HWL_MINUS) {
        sum->factor = 0u - sum->factor;
    }
    if (wire->right > 0) {
        sum->words = core->state + core->sums;
        sum->rows = wire->depth;
        sum->row = 0;
        memset(sum->words, 0, (size_t)wire->depth * wire->n * sizeof(uint32_t));
    } else {
        sum->words = ring(core, wire->target, wire->n);
        sum->rows = ring_depth(core, wire->target);
        sum->row = (core->tick + 1u) % sum->rows;
    }
}

/* The sum of each delay by itself is shifted right, then it meets others in the ring. */
static void close_sum(const hwl_core *core, const hwl_sum *sum) {
    const hwl_projection *wire = &sum->wire;
    uint32_t *words = ring(core, wire->target, wire->n), rows = ring_depth(core, wire->target), d, i;
    if (wire->right == 0) {
        return;
    }
    for (d = 0; d < wire->depth; d++) {
        uint32_t *row = words + ((core->tick + 1u + d) % rows) * (size_t)wire->n;
        const uint32_t *from = sum->words + d * (size_t)wire->n;
        for (i = 0; i < wire->n; i++) {
            row[i] += shifted_right(from[i], wire->right);
        }
    }
}

static inline size_t delayed(const hwl_sum *sum, uint32_t delay) {
    uint32_t row = sum->row + delay;
    return row >= sum->rows ? row - sum->rows : row;
}

static inline uint32_t weight(const hwl_sum *sum, uint8_t code) { return ((code ^ sum->flip) - sum->flip) * sum->factor; }

static void add_dense(const hwl_sum *sum, uint32_t unit) {
    size_t n = sum->wire.n, first = unit * n, i;
    const uint8_t *codes = sum->wire.weights + first;
    if (sum->wire.delays == NULL) {
        uint32_t *row = sum->words + sum->row * n;
        for (i = 0; i < n; i++) {
            row[i] += weight(sum, codes[i]);
        }
    } else {
        for (i = 0; i < n; i++) {
            sum->words[delayed(sum, sum->wire.delays[first + i]) * n + i] += weight(sum, codes[i]);
        }
    }
}

static void add_list(const hwl_sum *sum, uint32_t unit) {
    const hwl_projection *wire = &sum->wire;
    const uint8_t *pointer = wire->pointer + 4u * (size_t)unit;
    size_t k, last = hwl_get32(pointer + 4);
    for (k = hwl_get32(pointer); k < last; k++) {
        size_t row = wire->delays == NULL ? sum->row : delayed(sum, wire->delays[k]);
        uint32_t target = wire->wide ? hwl_get32(wire->targets + 4u * k) : hwl_get16(wire->targets + 2u * k);
        sum->words[row * wire->n + target] += weight(sum, wire->weights[k]);
    }
}

/* A spike of `unit` of the source; those outside of start .. start + size are not of this projection. */
static inline void add_spike(const hwl_sum *sum, uint32_t unit) {
    uint32_t place = unit - sum->wire.start;
    if (unit < sum->wire.start || place >= sum->wire.size) {
        return;
    }
    if (sum->wire.form == HWL_DENSE) {
        add_dense(sum, place);
    } else {
        add_list(sum, place);
    }
}

static void add_input(const hwl_sum *sum, const hwl_events *input) {
    const uint8_t *unit = input->units;
    uint32_t k;
    for (k = 0; k < input->count; k++, unit += input->stride) {
        add_spike(sum, input->wide ? hwl_get32(unit) : hwl_get16(unit));
    }
}

static void add_fired(const hwl_core *core, const hwl_sum *sum) {
    hwl_population cells;
    const uint32_t *fired;
    uint32_t k;
    hwl_image_population(core->image, sum->wire.source, &cells);
    fired = part(core, sum->wire.source) + 2u * (size_t)cells.n;
    for (k = 0; k < cells.n && fired[k] != HWL_NO_MORE; k++) {
        add_spike(sum, fired[k]);
    }
}

void hwl_core_send(hwl_core *core, const hwl_events *input) {
    uint32_t index;
    for (index = 0; index < core->image->projections; index++) {
        hwl_sum sum;
        hwl_image_projection(core->image, index, &sum.wire);
        if (sum.wire.source == HWL_SOURCE_INPUT && input->count == 0) {
            continue;
        }
        open_sum(core, &sum);
        if (sum.wire.source == HWL_SOURCE_INPUT) {
            add_input(&sum, input);
        } else {
            add_fired(core, &sum);
        }
        close_sum(core, &sum);
    }
    core->tick++;
}
