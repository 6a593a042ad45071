/* The chip as a board: frames come and go through its COBS, and the processor sleeps while there is nothing to do. */
#include "board_rtl.h"

#include "device.h"
#include "hwl_board.h"
#include "registers.h"

#ifndef HWL_DEVICE_ID
#define HWL_DEVICE_ID "rtl"
#endif

hwl_rtl_counts hwl_rtl_counted;

/* -- what the sources ask of any board ----------------------------------------------------------------------------------- */

uint32_t hwl_board_milliseconds(void) { return SYSTEM_MILLISECONDS; }

/* Clocks since the start: of the whole milliseconds, and of the one that has begun. */
static uint32_t clocks(void) {
    uint32_t before, left;
    do {
        before = SYSTEM_MILLISECONDS;
        left = SYSTEM_LEFT;
    } while (SYSTEM_MILLISECONDS != before);
    return (before + 1u) * (HWL_CLOCK_HZ / 1000u) - left;
}

/* What the simulation gave, beside the clock at which the first frame came. */
uint32_t hwl_board_boot_id(void) {
    uint32_t id = SYSTEM_SEED ^ clocks() << 7 ^ SYSTEM_LEFT;
    id = (id ^ id >> 16) * 0x85EBCA6Bu;
    id = (id ^ id >> 13) * 0xC2B2AE35u;
    return id ^ id >> 16;
}

const char *hwl_board_device_id(void) { return HWL_DEVICE_ID; }

/* Until a byte comes, a millisecond has passed, or the neuron core is done. */
void hwl_board_idle(void) { __asm volatile("wfi" ::: "memory"); }

/* Frames are sent by cobs_rtl.c, byte by byte and never waiting for longer than the line takes. */
void hwl_board_write(const uint8_t *bytes, size_t count) {
    (void)bytes;
    (void)count;
}

void hwl_board_counters(uint8_t bytes[HWL_COUNTER_BYTES]) {
    hwl_put64(bytes, hwl_rtl_counted.cycles);
    hwl_put64(bytes + 8, hwl_rtl_counted.synapses);
    hwl_put32(bytes + 16, LINK_COUNTS & 0xFFu);
    hwl_put32(bytes + 20, LINK_COUNTS >> 8);
    hwl_put32(bytes + 24, hwl_rtl_counted.dropped);
    hwl_put32(bytes + 28, HWL_CLOCK_HZ);
}

/* -- the line ------------------------------------------------------------------------------------------------------------ */

/* Takes what has come, to the end of a frame at most; 1: receiver->frame is a good request. */
static int receive(hwl_receiver *receiver) {
    hwl_cobs *cobs = &receiver->cobs;
    uint8_t *at = cobs->bytes + cobs->count, *end = cobs->bytes + cobs->room;
    uint32_t symbol;
    int good = 0;
    while (((symbol = LINK_SYMBOL) & (SYMBOL_NONE | SYMBOL_END)) == 0) {
        if (at < end) {
            *at++ = (uint8_t)symbol;
        } else {
            cobs->dropped = 1;
        }
    }
    cobs->count = (size_t)(at - cobs->bytes);
    if ((symbol & SYMBOL_NONE) == 0) {
        if ((symbol & SYMBOL_BAD) != 0 || cobs->dropped) {
            receiver->dropped.cobs++;
        } else {
            good = hwl_receiver_check(receiver);
        }
        hwl_cobs_begin(cobs);
    }
    return good;
}

/* A slice of the run. Where the processor computes, what it takes is counted here; the neuron core counts by itself (run_core.c). */
static int go_on(hwl_device *device) {
#if HWL_SOFTWARE_CORE
    static uint32_t run_id;
    uint32_t start = clocks();
    int busy;
    if (device->run.order.id != run_id) {
        run_id = device->run.order.id;
        hwl_rtl_counted.cycles = 0;
    }
    busy = device->run.state == HWL_RUN_BUSY;
    if (hwl_device_go_on(device) || busy) {
        hwl_rtl_counted.cycles += clocks() - start;
        return 1;
    }
    return 0;
#else
    return hwl_device_go_on(device);
#endif
}

int main(void);

int main(void) {
    static hwl_device device;
    hwl_receiver *receiver = &device.receiver;
    hwl_device_begin(&device);
    for (;;) {
        if (receive(receiver)) {
            hwl_device_answer(&device);
        }
        hwl_rtl_counted.dropped =
            receiver->dropped.cobs + receiver->dropped.length + receiver->dropped.crc + receiver->dropped.type;
        if (!go_on(&device)) {
            hwl_board_idle();
        }
    }
}
