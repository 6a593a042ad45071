#include "run.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"

#define CRC_BYTES_A_STEP 1024u

/* -- the output: counts, wraps, events ----------------------------------------------------------------------------------- */

static uint8_t *count_at(const hwl_run *run) { return run->output + 4u * (size_t)run->samples_done; }

static uint8_t *wraps_at(const hwl_run *run, uint32_t population) {
    size_t place = run->order.batch + (size_t)run->samples_done * run->core->image->populations + population;
    return run->output + 4u * place;
}

void hwl_run_end(hwl_run *run, hwl_code error) {
    if (run->state == HWL_RUN_BUSY) {
        run->state = HWL_RUN_FAILED;
        run->error = error;
    }
}

static void begin_sample(hwl_run *run) {
    hwl_core_rest(run->core);
    run->events_left = hwl_get32(run->input + 4u * (size_t)run->samples_done);
    run->counted = 0;
}

void hwl_run_begin(hwl_run *run, const hwl_run_order *order, hwl_core *core, const uint8_t *input, uint8_t *output, uint32_t room) {
    uint64_t head = 4u * (uint64_t)order->batch * (1u + (uint64_t)core->image->populations);
    memset(run, 0, sizeof *run);
    run->state = HWL_RUN_BUSY;
    run->order = *order;
    run->core = core;
    run->input = input;
    run->output = output;
    run->room = room;
    if (head > room) {
        hwl_run_end(run, HWL_OVERFLOW);
        return;
    }
    memset(output, 0, (size_t)head);
    run->written = (uint32_t)head;
    run->next_event = 4u * order->batch;
    begin_sample(run);
}

/* Writes the spikes of a population in this tick; 0: they do not fit. */
static int write_fired(hwl_run *run, uint32_t index) {
    const uint32_t *fired = hwl_core_fired(run->core, index);
    uint32_t bytes = hwl_event_bytes(&run->order), k;
    hwl_population cells;
    hwl_image_population(run->core->image, index, &cells);
    for (k = 0; k < cells.n && fired[k] != HWL_NO_MORE; k++) {
        uint8_t *event = run->output + run->written;
        uint32_t unit = cells.first + fired[k];
        if (bytes > run->room - run->written) {
            return 0;
        }
        hwl_put32(event, run->core->tick);
        hwl_put16(event + HWL_TIME_BYTES, (uint16_t)unit);
        if (run->order.wide) {
            hwl_put16(event + HWL_TIME_BYTES + 2, (uint16_t)(unit >> 16));
        }
        run->written += bytes;
        run->counted++;
    }
    return 1;
}

/* The input events of the tick that was just stepped; later ones stay. */
static hwl_events take_events(hwl_run *run) {
    uint32_t bytes = hwl_event_bytes(&run->order);
    hwl_events now;
    now.units = run->input + run->next_event + HWL_TIME_BYTES;
    now.count = 0;
    now.stride = bytes;
    now.wide = run->order.wide;
    while (run->events_left > 0 && hwl_get32(run->input + run->next_event) <= run->core->tick) {
        run->next_event += bytes;
        run->events_left--;
        now.count++;
    }
    return now;
}

static void end_sample(hwl_run *run) {
    hwl_put32(count_at(run), run->counted);
    /* input at n_ticks or later does nothing */
    run->next_event += run->events_left * hwl_event_bytes(&run->order);
    run->samples_done++;
    if (run->samples_done < run->order.batch) {
        begin_sample(run);
    }
}

static void tick(hwl_run *run) {
    uint32_t index;
    hwl_events now;
    for (index = 0; index < run->core->image->populations; index++) {
        uint32_t wraps = hwl_core_step(run->core, index);
        if (wraps > 0) {
            hwl_put32(wraps_at(run, index), hwl_get32(wraps_at(run, index)) + wraps);
        }
        if (!write_fired(run, index)) {
            hwl_run_end(run, HWL_OVERFLOW);
            return;
        }
    }
    now = take_events(run);
    hwl_core_send(run->core, &now);
    if (run->core->tick >= run->order.n_ticks) {
        end_sample(run);
    }
}

void hwl_run_step(hwl_run *run) {
    if (run->state != HWL_RUN_BUSY) {
        return;
    }
    if (run->samples_done < run->order.batch) {
        tick(run);
    } else {
        uint32_t count = run->written - run->summed;
        count = count < CRC_BYTES_A_STEP ? count : CRC_BYTES_A_STEP;
        run->crc = hwl_crc32(run->crc, run->output + run->summed, count);
        run->summed += count;
        if (run->summed == run->written) {
            run->state = HWL_RUN_DONE;
        }
    }
}
