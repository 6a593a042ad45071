/*
 * A run by the neuron core, in place of src/run.c: it runs a sample by itself, and the processor sleeps meanwhile. Output and its
 * order are the same.
 */
#include <string.h>

#include "board_rtl.h"
#include "crc32.h"
#include "hwl_board.h"
#include "registers.h"
#include "run.h"

#define CRC_BYTES_A_STEP 1024u
#define FORMAT_WIDE 4u

static uint8_t *count_at(const hwl_run *run) { return run->output + 4u * (size_t)run->samples_done; }

static uint8_t *wraps_at(const hwl_run *run) {
    size_t place = run->order.batch + (size_t)run->samples_done * run->core->image->populations;
    return run->output + 4u * place;
}

static uint32_t address(const void *of) { return (uint32_t)(uintptr_t)of; }

void hwl_run_end(hwl_run *run, hwl_code error) {
    if (run->state == HWL_RUN_BUSY) {
        CORE_CONTROL = CONTROL_ABORT;
        while ((CORE_STATUS & STATUS_BUSY) != 0) {
        }
        run->state = HWL_RUN_FAILED;
        run->error = error;
    }
}

static void begin_sample(hwl_run *run) {
    uint32_t events = hwl_get32(count_at(run) - run->output + run->input);
    run->events_left = events;
    CORE_IMAGE = address(run->core->image->at);
    CORE_STATE = address(run->core->state);
    CORE_INPUT = address(run->input + run->next_event);
    CORE_INPUT_COUNT = events;
    CORE_FORMAT = run->order.wide ? FORMAT_WIDE : 0u;
    CORE_N_TICKS = run->order.n_ticks;
    CORE_OUTPUT = address(run->output + run->written);
    CORE_OUTPUT_LIMIT = run->room - run->written;
    CORE_WRAPS = address(wraps_at(run));
    CORE_CONTROL = CONTROL_START;
}

void hwl_run_begin(hwl_run *run, const hwl_run_order *order, hwl_core *core, const uint8_t *input, uint8_t *output, uint32_t room) {
    uint64_t head = 4u * (uint64_t)order->batch * (1u + (uint64_t)core->image->populations);
    memset(run, 0, sizeof *run);
    run->order = *order;
    run->core = core;
    run->input = input;
    run->output = output;
    run->room = room;
    hwl_rtl_counted.cycles = 0;
    hwl_rtl_counted.synapses = 0;
    if (head > room) {
        run->state = HWL_RUN_FAILED;
        run->error = HWL_OVERFLOW;
        return;
    }
    run->state = HWL_RUN_BUSY;
    memset(output, 0, (size_t)head);
    run->written = (uint32_t)head;
    run->next_event = 4u * order->batch;
    begin_sample(run);
}

static void end_sample(hwl_run *run) {
    uint32_t status = CORE_STATUS, count = CORE_OUTPUT_COUNT;
    hwl_rtl_counted.cycles += (uint64_t)CORE_CYCLES_HIGH << 32 | CORE_CYCLES_LOW;
    hwl_rtl_counted.synapses += CORE_SYNAPSES;
    if ((status & STATUS_OVERFLOW) != 0) {
        hwl_run_end(run, HWL_OVERFLOW);
        return;
    }
    if ((status & STATUS_BAD_INPUT) != 0) { /* the input was checked: the core found its memory other than it was */
        hwl_run_end(run, HWL_BAD_INPUT);
        return;
    }
    hwl_put32(count_at(run), count);
    run->written += count * hwl_event_bytes(&run->order);
    run->next_event += run->events_left * hwl_event_bytes(&run->order);
    run->samples_done++;
    if (run->samples_done < run->order.batch) {
        begin_sample(run);
    }
}

void hwl_run_step(hwl_run *run) {
    if (run->state != HWL_RUN_BUSY) {
        return;
    }
    if (run->samples_done < run->order.batch) {
        if ((CORE_STATUS & STATUS_BUSY) != 0) {
            hwl_board_idle();
        } else {
            end_sample(run);
        }
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
