/* What the tests call in the shared library: parts of the firmware by themselves, and loops that would be slow from outside. */
#include <stdlib.h>
#include <string.h>

#include "board_memory.h"
#include "bytes.h"
#include "crc32.h"
#include "device.h"
#include "hwl_board.h"
#include "messages.h"

static hwl_device device;
static hwl_receiver receiver;

/* -- framing: `seen` frames are good ones ---------------------------------------------------------------------------------- */

uint32_t test_schema(void) { return HWL_SCHEMA; }

void test_receiver_begin(void) { hwl_receiver_begin(&receiver); }

/* Feeds bytes; returns the frames among them, the last one as header and body in `last`, `length` bytes. */
uint32_t test_receiver_take(const uint8_t *bytes, size_t count, uint8_t *last, uint32_t *length) {
    uint32_t seen = 0;
    size_t k;
    for (k = 0; k < count; k++) {
        if (hwl_receiver_take(&receiver, bytes[k])) {
            seen++;
            *length = HWL_HEADER_BYTES + receiver.frame.length;
            memcpy(last, receiver.frame.room, *length);
        }
    }
    return seen;
}

/* Sends a frame through the board in memory. */
void test_frame_send(uint8_t type, uint32_t session, uint32_t sequence, uint32_t boot, const uint8_t *body, uint16_t length) {
    static hwl_frame frame;
    frame.type = type;
    frame.session = session;
    frame.sequence = sequence;
    frame.boot = boot;
    frame.length = length;
    memcpy(hwl_body(&frame), body, length);
    hwl_frame_send(&frame, type == HWL_ERROR ? *body : (uint8_t)(type & 0x7Fu), hwl_board_write);
}

static uint32_t drawn(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 16);
}

/* Damages `count` bytes in place in one of six ways; returns how many are left. `bytes` has room for one more. */
static size_t damaged(uint8_t *bytes, size_t count, uint64_t *state) {
    size_t place = drawn(state) % count, k, flips = 2;
    switch (drawn(state) % 6u) {
    case 0: /* many flips */
        flips = 3u + drawn(state) % 30u;
        /* fall through */
    case 1: /* two */
        for (k = 0; k < flips; k++) {
            bytes[drawn(state) % count] ^= (uint8_t)(1u << drawn(state) % 8u);
        }
        return count;
    case 2: /* a burst */
        for (k = place; k < count && k < place + 8u; k++) {
            bytes[k] = (uint8_t)drawn(state);
        }
        return count;
    case 3: /* a byte dropped */
        memmove(bytes + place, bytes + place + 1, count - place - 1u);
        return count - 1u;
    case 4: /* a byte inserted */
        memmove(bytes + place + 1, bytes + place, count - place);
        bytes[place] = (uint8_t)drawn(state);
        return count + 1u;
    default: /* the tail lost: the next frame is joined to it */
        return place;
    }
}

/* Whether two lines hold the same between their delimiters: one more or less at an end is no damage. */
static int same_frame(const uint8_t *a, size_t a_count, const uint8_t *b, size_t b_count) {
    for (; a_count > 0 && a[a_count - 1] == 0; a_count--) {
    }
    for (; b_count > 0 && b[b_count - 1] == 0; b_count--) {
    }
    for (; b_count > 0 && *b == 0; b_count--, b++) {
    }
    return a_count == b_count && memcmp(a, b, a_count) == 0;
}

/*
 * `times` frames of random length, damaged, each followed by a good one. Returns how many were really damaged; counts of those that
 * were accepted, and of good ones that were missed although a delimiter stood before, in `accepted` and `missed`.
 */
uint32_t test_damage(uint64_t seed, uint32_t times, uint32_t *accepted, uint32_t *missed) {
    static uint8_t good[512], wire[1024], copy[1024], body[200];
    uint64_t state = seed | 1u;
    uint32_t really = 0, round;
    *accepted = *missed = 0;
    hwl_receiver_begin(&receiver);
    for (round = 0; round < times; round++) {
        size_t length = drawn(&state) % sizeof body, count, k, good_count;
        uint32_t seen = 0, type = 2u + drawn(&state) % 9u;
        for (k = 0; k < length; k++) {
            body[k] = (uint8_t)(drawn(&state) % 5u == 0 ? 0 : drawn(&state));
        }
        hwl_memory_restart();
        test_frame_send((uint8_t)type, drawn(&state), drawn(&state), drawn(&state), body, (uint16_t)length);
        count = hwl_memory_sent(wire, sizeof wire - 2u);
        memcpy(copy, wire, count);
        good_count = count;
        count = damaged(wire, count, &state);
        if (same_frame(copy, good_count, wire, count)) {
            continue;
        }
        really++;
        for (k = 0; k < count; k++) {
            seen += (uint32_t)hwl_receiver_take(&receiver, wire[k]);
        }
        *accepted += seen;
        hwl_memory_restart();
        test_frame_send(2, 1, 1, 1, body, 0);
        good_count = hwl_memory_sent(good, sizeof good);
        seen = (uint32_t)hwl_receiver_take(&receiver, 0);
        *accepted += seen;
        for (k = 0, seen = 0; k < good_count; k++) {
            seen += (uint32_t)hwl_receiver_take(&receiver, good[k]);
        }
        *missed += seen != 1;
    }
    return really;
}

/* All pairs of flipped bits of `wire`, `pairs` = 1, or each bit alone; returns how many of them were accepted. */
uint32_t test_flips(const uint8_t *wire, size_t count, int pairs, uint32_t *tried) {
    static uint8_t copy[512];
    uint32_t accepted = 0;
    size_t a, b, k, bits = 8 * count;
    *tried = 0;
    hwl_receiver_begin(&receiver);
    for (a = 0; a < bits; a++) {
        for (b = pairs ? a + 1 : bits - 1; b < bits; b++) {
            memcpy(copy, wire, count);
            copy[a / 8] ^= (uint8_t)(1u << a % 8);
            if (pairs) {
                copy[b / 8] ^= (uint8_t)(1u << b % 8);
            }
            for (k = 0; k < count; k++) {
                accepted += (uint32_t)hwl_receiver_take(&receiver, copy[k]);
            }
            accepted += (uint32_t)hwl_receiver_take(&receiver, 0);
            ++*tried;
        }
    }
    return accepted;
}

/* `count` times the same byte; returns the frames seen. */
uint32_t test_constant(uint8_t byte, size_t count) {
    uint32_t seen = 0;
    hwl_receiver_begin(&receiver);
    while (count-- > 0) {
        seen += (uint32_t)hwl_receiver_take(&receiver, byte);
    }
    return seen;
}

uint32_t test_dropped(int which) {
    const hwl_dropped *dropped = &receiver.dropped;
    return which == 0 ? dropped->cobs : which == 1 ? dropped->length : which == 2 ? dropped->crc : dropped->type;
}

/* -- parts ------------------------------------------------------------------------------------------------------------------ */

void test_sha256(const uint8_t *bytes, size_t count, uint8_t *digest) { hwl_sha256(bytes, count, digest); }

uint32_t test_crc32(uint32_t start, const uint8_t *bytes, size_t count) { return hwl_crc32(start, bytes, count); }

/* Reads an image; `result`: detail, other, bytes of working memory. Returns the error code. */
int test_image(const uint8_t *image, uint32_t bytes, uint32_t *state, uint32_t state_bytes, uint32_t *result) {
    hwl_image read;
    hwl_core core;
    hwl_error error = hwl_image_read(&read, image, bytes);
    if (error.code == HWL_OK) {
        error = hwl_core_begin(&core, &read, state, state_bytes);
        result[2] = core.state_bytes;
    }
    result[0] = error.detail;
    result[1] = error.other;
    return (int)error.code;
}

/* Runs an image on an input without the protocol; returns the error code, the length of the output in `written`. */
int test_run(const uint8_t *image, uint32_t bytes, const uint8_t *input, uint32_t length, const uint32_t *order, uint8_t *output,
             uint32_t room, uint32_t *written) {
    static uint32_t state[1u << 20];
    hwl_run_order asked;
    hwl_image read;
    hwl_core core;
    hwl_run run;
    hwl_error error = hwl_image_read(&read, image, bytes);
    asked.id = 1;
    asked.batch = order[0];
    asked.n_ticks = order[1];
    asked.wide = (int)order[2];
    if (error.code == HWL_OK) {
        error = hwl_core_begin(&core, &read, state, sizeof state);
    }
    if (error.code == HWL_OK) {
        error = hwl_run_check(&asked, input, length, read.inputs);
    }
    if (error.code != HWL_OK) {
        return (int)error.code;
    }
    hwl_run_begin(&run, &asked, &core, input, output, room);
    while (run.state == HWL_RUN_BUSY) {
        hwl_run_step(&run);
    }
    *written = run.written;
    return run.state == HWL_RUN_DONE && run.crc == hwl_crc32(0, output, run.written) ? 0 : (int)run.error;
}

/* -- the whole device ------------------------------------------------------------------------------------------------------- */

void test_device_begin(void) {
    hwl_memory_restart();
    hwl_device_begin(&device);
}

void test_device_take(const uint8_t *bytes, size_t count) { hwl_device_take(&device, bytes, count); }

int test_device_go_on(void) { return hwl_device_go_on(&device); }

size_t test_device_size(void) { return sizeof device; }
