#include <stddef.h>

#include "bytes.h"
#include "run.h"

static uint32_t unit_at(const hwl_run_order *order, const uint8_t *event) {
    return order->wide ? hwl_get32(event + HWL_TIME_BYTES) : hwl_get16(event + HWL_TIME_BYTES);
}

/* Events of one sample: units that exist, and each (tick, unit) after the one before it. */
static int rises(const hwl_run_order *order, const uint8_t *event, uint32_t count, uint32_t units) {
    uint32_t k, tick = 0, unit = 0;
    for (k = 0; k < count; k++, event += hwl_event_bytes(order)) {
        uint32_t next_tick = hwl_get32(event), next_unit = unit_at(order, event);
        if (next_unit >= units || (k > 0 && (next_tick < tick || (next_tick == tick && next_unit <= unit)))) {
            return 0;
        }
        tick = next_tick;
        unit = next_unit;
    }
    return 1;
}

/* Whether counts and events fill `length` bytes; else the sample that does not fit, `batch` where bytes are left over. */
static int fills(const hwl_run_order *order, const uint8_t *input, uint32_t length, uint32_t *sample) {
    uint32_t at = 4u * order->batch;
    for (*sample = 0; *sample < order->batch; ++*sample) {
        uint32_t count = hwl_get32(input + 4u * (size_t)*sample);
        if (count > (length - at) / hwl_event_bytes(order)) {
            return 0;
        }
        at += count * hwl_event_bytes(order);
    }
    return at == length;
}

hwl_error hwl_run_check(const hwl_run_order *order, const uint8_t *input, uint32_t length, uint32_t units) {
    static const hwl_error fine = {HWL_OK, 0, 0};
    hwl_error error = {HWL_BAD_INPUT, 0, 0};
    const uint8_t *event = input + 4u * (size_t)order->batch;
    if (order->batch == 0 || order->batch > length / 4u || !fills(order, input, length, &error.detail)) {
        return error;
    }
    for (error.detail = 0; error.detail < order->batch; error.detail++) {
        uint32_t count = hwl_get32(input + 4u * (size_t)error.detail);
        if (!rises(order, event, count, units)) {
            return error;
        }
        event += count * hwl_event_bytes(order);
    }
    return fine;
}
