/*
 * The whole device under any bytes, from framing to dispatch, sanitizers on. The input is a row of steps: a letter, then what it
 * takes. Letters: raw bytes of the line (0), a good frame with any body (1), a request of the open session with any body (2), an
 * upload with some bytes of a good program changed (3), a run with the right digests (4), input events (5), time (6), a
 * sequence number that came before (7).
 */
#include <stdlib.h>
#include <string.h>

#include "board_memory.h"
#include "bytes.h"
#include "device.h"
#include "messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SESSION 7u
#define SLICES_A_STEP 1u

static hwl_device device;
static uint32_t sequence;

/* A good program of all that a program may have: made by seed.py. */
#include "seed.h"

typedef struct {
    const uint8_t *at;
    size_t left;
} source;

static uint8_t take(source *from) {
    if (from->left == 0) {
        return 0;
    }
    from->left--;
    return *from->at++;
}

static uint32_t take32(source *from) {
    uint32_t low = take(from), high = take(from);
    low |= high << 8;
    high = take(from);
    return low | high << 16 | (uint32_t)take(from) << 24;
}

/* Up to `most` bytes, as many as the next two (low one first) say, and no more than are left. */
static size_t take_bytes(source *from, uint8_t *bytes, size_t most) {
    size_t count = take(from), k;
    count |= (size_t)take(from) << 8;
    count = count < most ? count : most;
    for (k = 0; k < count && from->left > 0; k++) {
        bytes[k] = take(from);
    }
    return k;
}

/* -- a line that ends in the device ------------------------------------------------------------------------------------------ */

static void feed(const uint8_t *bytes, size_t count) { hwl_device_take(&device, bytes, count); }

static void send(uint8_t type, uint32_t session, uint32_t number, uint32_t boot, const uint8_t *body, size_t length) {
    static hwl_frame frame;
    frame.type = type;
    frame.session = session;
    frame.sequence = number;
    frame.boot = boot;
    frame.length = (uint16_t)length;
    memcpy(hwl_body(&frame), body, length);
    hwl_frame_send(&frame, type, feed);
}

static void request(uint8_t type, const uint8_t *body, size_t length) {
    send(type, SESSION, ++sequence, device.boot, body, length);
}

static void greet(void) {
    uint8_t body[8] = {'h', 'w', 'l', 'p', 0, 0, 0, 0};
    hwl_put32(body + 4, HWL_SCHEMA);
    send(HWL_HELLO, SESSION, 0, 0, body, sizeof body);
}

static void upload(uint8_t region, const uint8_t *bytes, size_t count) {
    uint8_t body[HWL_MAX_BODY];
    size_t offset, part;
    body[0] = region;
    body[1] = 0;
    hwl_put32(body + 2, (uint32_t)count);
    request(HWL_BEGIN, body, 6);
    hwl_put32(body + 1, device.transfers);
    for (offset = 0; offset < count; offset += part) {
        part = count - offset < HWL_MAX_BODY - 9u ? count - offset : HWL_MAX_BODY - 9u;
        hwl_put32(body + 5, (uint32_t)offset);
        memcpy(body + 9, bytes + offset, part);
        request(HWL_WRITE, body, 9 + part);
    }
    hwl_put32(body + 5, (uint32_t)count);
    request(HWL_SEAL, body, 9);
}

/* -- steps ------------------------------------------------------------------------------------------------------------------ */

static void step_program(source *from) {
    uint8_t image[sizeof seed_program];
    unsigned changes = take(from) % 8u;
    memcpy(image, seed_program, sizeof image);
    while (changes-- > 0) {
        size_t at = (take(from) | (size_t)take(from) << 8) % sizeof image;
        image[at] = take(from);
    }
    upload(HWL_PROGRAM, image, sizeof image);
}

static void step_input(source *from) {
    uint8_t bytes[HWL_INPUT_BYTES];
    upload(HWL_INPUT, bytes, take_bytes(from, bytes, sizeof bytes));
}

static void step_run(source *from) {
    uint8_t body[122], place;
    memset(body, 0, sizeof body);
    memcpy(body + 4, device.program.digest, HWL_DIGEST_BYTES);
    memcpy(body + 36, device.input.digest, HWL_DIGEST_BYTES);
    hwl_put32(body, take(from));
    hwl_put32(body + 100, take(from));
    hwl_put32(body + 104, 1);
    hwl_put32(body + 108, take(from));
    body[120] = take(from) & 4u;
    place = take(from);
    if (place < sizeof body) {
        body[place] ^= take(from);
    }
    request(HWL_RUN, body, sizeof body);
}

static void step(source *from) {
    uint8_t body[HWL_MAX_BODY];
    uint8_t letter = take(from) % 8u, type;
    uint32_t session, number, boot;
    size_t count;
    switch (letter) {
    case 0:
        feed(body, take_bytes(from, body, sizeof body));
        break;
    case 1:
        type = take(from);
        session = take32(from);
        number = take32(from);
        boot = take32(from);
        count = take_bytes(from, body, sizeof body);
        send(type, session, number, boot, body, count);
        break;
    case 2:
        type = take(from) % (HWL_LAST_REQUEST + 1u);
        count = take_bytes(from, body, sizeof body);
        request(type, body, count);
        break;
    case 3:
        step_program(from);
        break;
    case 4:
        step_run(from);
        break;
    case 5:
        step_input(from);
        break;
    case 6:
        hwl_memory_wait(take32(from));
        break;
    default:
        sequence -= take(from) % 4u;
        break;
    }
    for (count = 0; count < SLICES_A_STEP && hwl_device_go_on(&device); count++) {
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t sent[64];
    source from;
    from.at = data;
    from.left = size;
    sequence = 0;
    hwl_memory_restart();
    hwl_device_begin(&device);
    greet();
    while (from.left > 0) {
        step(&from);
        hwl_memory_sent(sent, sizeof sent);
    }
    return 0;
}
