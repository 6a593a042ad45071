#include "image.h"

#include <stddef.h>

#include "bytes.h"

#define HEADER_BYTES 40u
#define POPULATION_BYTES 32u
#define PROJECTION_BYTES 44u
#define MAGIC 0x31465748u /* "HWF1" */
#define VERSION 1u
#define WIDE_TARGETS 65536u /* neurons from whose number on a target takes four bytes */

static const uint8_t *population_at(const hwl_image *image, uint32_t index) {
    return image->at + image->populations_at + index * POPULATION_BYTES;
}

static const uint8_t *projection_at(const hwl_image *image, uint32_t index) {
    return image->at + image->projections_at + index * PROJECTION_BYTES;
}

static const uint8_t *part(const hwl_image *image, const uint8_t *offset) {
    uint32_t at = hwl_get32(offset);
    return at == 0 ? NULL : image->at + at;
}

void hwl_image_population(const hwl_image *image, uint32_t index, hwl_population *population) {
    const uint8_t *at = population_at(image, index);
    population->n = hwl_get32(at);
    population->first = hwl_get32(at + 4);
    population->keep_u = hwl_get32(at + 8);
    population->keep_v = hwl_get32(at + 12);
    population->threshold = hwl_get32(at + 16);
    population->bias = part(image, at + 20);
    population->u_start = part(image, at + 24);
    population->v_start = part(image, at + 28);
}

void hwl_image_projection(const hwl_image *image, uint32_t index, hwl_projection *projection) {
    const uint8_t *at = projection_at(image, index);
    uint32_t exponent = hwl_get32(at + 16), negative = exponent >> 31;
    projection->source = hwl_get32(at);
    projection->start = hwl_get32(at + 4);
    projection->size = hwl_get32(at + 8);
    projection->target = hwl_get32(at + 12);
    projection->left = negative ? 0 : exponent;
    projection->right = negative ? 0u - exponent : 0;
    projection->depth = hwl_get32(at + 20);
    projection->code = at[24];
    projection->form = at[25];
    projection->weights = part(image, at + 28);
    projection->delays = part(image, at + 32);
    projection->pointer = part(image, at + 36);
    projection->targets = part(image, at + 40);
    projection->n = hwl_get32(population_at(image, projection->target));
    projection->wide = projection->n > WIDE_TARGETS;
}

/* -- checks: each says the offset of the field that does not fit, 0 where all do; offset 0 itself is that of the magic ------ */

static hwl_error refused(const hwl_image *image, const uint8_t *field) {
    hwl_error error = {HWL_BAD_IMAGE, (uint32_t)(field - image->at), 0};
    return error;
}

static const hwl_error fine = {HWL_OK, 0, 0};

/* Whether `count` items of `width` bytes stand at the offset in `field`, inside the image and behind its header. */
static int stands(const hwl_image *image, const uint8_t *field, uint64_t count, uint32_t width) {
    uint32_t at = hwl_get32(field);
    return at >= HEADER_BYTES && at % 4u == 0 && at <= image->bytes && count <= (image->bytes - at) / width;
}

static int stands_or_not(const hwl_image *image, const uint8_t *field, uint64_t count, uint32_t width) {
    return hwl_get32(field) == 0 || stands(image, field, count, width);
}

static hwl_error check_header(hwl_image *image) {
    const uint8_t *at = image->at;
    if (image->bytes < HEADER_BYTES || hwl_get32(at) != MAGIC) {
        return refused(image, at);
    }
    image->populations = hwl_get16(at + 6);
    image->projections = hwl_get16(at + 8);
    image->inputs = hwl_get32(at + 12);
    image->neurons = hwl_get32(at + 16);
    image->populations_at = hwl_get32(at + 28);
    image->projections_at = hwl_get32(at + 32);
    if (hwl_get16(at + 4) != VERSION) {
        return refused(image, at + 4);
    }
    if (image->populations == 0) {
        return refused(image, at + 6);
    }
    if (hwl_get16(at + 10) != 0) {
        return refused(image, at + 10);
    }
    if (hwl_get32(at + 24) != image->bytes) {
        return refused(image, at + 24);
    }
    if (!stands(image, at + 28, image->populations, POPULATION_BYTES)) {
        return refused(image, at + 28);
    }
    if (image->projections != 0 ? !stands(image, at + 32, image->projections, PROJECTION_BYTES)
                                : !stands_or_not(image, at + 32, 0, 1)) {
        return refused(image, at + 32);
    }
    return hwl_get32(at + 36) != 0 ? refused(image, at + 36) : fine;
}

/* `first`: neurons of the populations before. Values of bias and starts may be any: the arithmetic is whole for all of them. */
static hwl_error check_population(const hwl_image *image, uint32_t index, uint32_t first) {
    const uint8_t *at = population_at(image, index);
    uint32_t n = hwl_get32(at), threshold = hwl_get32(at + 16), k;
    if (n == 0 || n > image->neurons - first) {
        return refused(image, at);
    }
    if (hwl_get32(at + 4) != first) {
        return refused(image, at + 4);
    }
    if (hwl_get32(at + 8) > 4095u) {
        return refused(image, at + 8);
    }
    if (hwl_get32(at + 12) == 0 || hwl_get32(at + 12) > 4096u) {
        return refused(image, at + 12);
    }
    if (threshold > 131071u << 6 || threshold % 64u != 0) {
        return refused(image, at + 16);
    }
    for (k = 20; k <= 28; k += 4) {
        if (!stands_or_not(image, at + k, n, 4)) {
            return refused(image, at + k);
        }
    }
    return fine;
}

static hwl_error check_populations(const hwl_image *image) {
    uint32_t index, first = 0;
    for (index = 0; index < image->populations; index++) {
        hwl_error error = check_population(image, index, first);
        if (error.code != HWL_OK) {
            return error;
        }
        first += hwl_get32(population_at(image, index));
    }
    return first != image->neurons ? refused(image, image->at + 16) : fine;
}

static hwl_error check_ends(const hwl_image *image, const uint8_t *at) {
    uint32_t source = hwl_get32(at), start = hwl_get32(at + 4), size = hwl_get32(at + 8), units = image->inputs;
    if (source != HWL_SOURCE_INPUT) {
        if (source >= image->populations) {
            return refused(image, at);
        }
        units = hwl_get32(population_at(image, source));
    }
    if (start >= units) {
        return refused(image, at + 4);
    }
    if (size == 0 || size > units - start) {
        return refused(image, at + 8);
    }
    return hwl_get32(at + 12) >= image->populations ? refused(image, at + 12) : fine;
}

static hwl_error check_kind(const hwl_image *image, const uint8_t *at) {
    int32_t exponent = hwl_signed(hwl_get32(at + 16));
    uint32_t depth = hwl_get32(at + 20);
    if (exponent < -8 || exponent > 7) {
        return refused(image, at + 16);
    }
    if (depth < 1 || depth > 64) {
        return refused(image, at + 20);
    }
    if (at[24] > HWL_MINUS) {
        return refused(image, at + 24);
    }
    if (at[25] > HWL_LIST) {
        return refused(image, at + 25);
    }
    return hwl_get16(at + 26) != 0 ? refused(image, at + 26) : fine;
}

/*
 * Synapses and pointers that may still come: each has bytes of its own, so that the time of a check, and of a tick, is bounded by
 * the length of the image.
 */
typedef struct {
    uint64_t synapses;
    uint64_t pointers;
} budget;

/* The pointers of a list rise from 0; `count`: its synapses. */
static hwl_error check_pointers(const hwl_image *image, const uint8_t *at, budget *left, uint64_t *count) {
    uint64_t entries = (uint64_t)hwl_get32(at + 8) + 1u, k;
    const uint8_t *pointer = part(image, at + 36);
    uint32_t last = 0;
    if (!stands(image, at + 36, entries, 4) || entries > left->pointers) {
        return refused(image, at + 36);
    }
    left->pointers -= entries;
    for (k = 0; k < entries; k++) {
        uint32_t next = hwl_get32(pointer + 4u * k);
        if (next < last || (k == 0 && next != 0)) {
            return refused(image, pointer + 4u * k);
        }
        last = next;
    }
    *count = last;
    return fine;
}

static hwl_error check_targets(const hwl_image *image, const uint8_t *at, uint64_t count) {
    uint32_t n = hwl_get32(population_at(image, hwl_get32(at + 12))), width = n > WIDE_TARGETS ? 4u : 2u;
    const uint8_t *target = part(image, at + 40);
    uint64_t k;
    if (!(count == 0 ? stands_or_not(image, at + 40, 0, 1) : stands(image, at + 40, count, width))) {
        return refused(image, at + 40);
    }
    for (k = 0; k < count; k++, target += width) {
        if ((width == 4u ? hwl_get32(target) : hwl_get16(target)) >= n) {
            return refused(image, target);
        }
    }
    return fine;
}

static hwl_error check_dense(const hwl_image *image, const uint8_t *at, uint64_t *count) {
    *count = (uint64_t)hwl_get32(at + 8) * hwl_get32(population_at(image, hwl_get32(at + 12)));
    if (hwl_get32(at + 36) != 0) {
        return refused(image, at + 36);
    }
    return hwl_get32(at + 40) != 0 ? refused(image, at + 40) : fine;
}

/* Weights and delays of `count` synapses. */
static hwl_error check_synapses(const hwl_image *image, const uint8_t *at, budget *left, uint64_t count) {
    const uint8_t *delays = part(image, at + 32);
    uint64_t k;
    if (!(count == 0 ? stands_or_not(image, at + 28, 0, 1) : stands(image, at + 28, count, 1)) || count > left->synapses) {
        return refused(image, at + 28);
    }
    left->synapses -= count;
    if (!stands_or_not(image, at + 32, count, 1)) {
        return refused(image, at + 32);
    }
    for (k = 0; delays != NULL && k < count; k++) {
        if (delays[k] >= hwl_get32(at + 20)) {
            return refused(image, delays + k);
        }
    }
    return fine;
}

static hwl_error check_projection(const hwl_image *image, const uint8_t *at, budget *left) {
    uint64_t count = 0;
    hwl_error error = check_ends(image, at);
    if (error.code == HWL_OK) {
        error = check_kind(image, at);
    }
    if (error.code == HWL_OK) {
        error = at[25] == HWL_LIST ? check_pointers(image, at, left, &count) : check_dense(image, at, &count);
    }
    if (error.code == HWL_OK && at[25] == HWL_LIST) {
        error = check_targets(image, at, count);
    }
    return error.code == HWL_OK ? check_synapses(image, at, left, count) : error;
}

static hwl_error check_projections(const hwl_image *image) {
    budget left;
    uint32_t index;
    left.synapses = hwl_get32(image->at + 20);
    left.pointers = image->bytes / 4u;
    if (left.synapses > image->bytes) {
        return refused(image, image->at + 20);
    }
    for (index = 0; index < image->projections; index++) {
        hwl_error error = check_projection(image, projection_at(image, index), &left);
        if (error.code != HWL_OK) {
            return error;
        }
    }
    return left.synapses != 0 ? refused(image, image->at + 20) : fine;
}

hwl_error hwl_image_read(hwl_image *image, const uint8_t *at, uint32_t bytes) {
    hwl_error error;
    image->at = at;
    image->bytes = bytes;
    error = check_header(image);
    if (error.code == HWL_OK) {
        error = check_populations(image);
    }
    if (error.code == HWL_OK) {
        error = check_projections(image);
    }
    return error;
}
