#include "requests.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "hwl_board.h"

#define MAGIC 0x706C7768u /* "hwlp" */
#define KEEP 1u           /* flag of BEGIN */
#define WRAPS_PRESENT 1u  /* flag of STATUS */
#define FORMAT_WIDE 4u    /* bit of RUN's format: units are u32; bits 0 and 1: times, 0 for ticks */
#define UNITS_OF_TWO_BYTES 65536u
#define READ_HEAD_BYTES 9u
#define KEY_SILENCE 1u
#define COUNTERS 9u       /* function of CALL */
#define CALL_HEAD_BYTES 10u

static const hwl_error fine = {HWL_OK, 0, 0};

static hwl_error refused(hwl_code code, uint32_t detail, uint32_t other) {
    hwl_error error;
    error.code = code;
    error.detail = detail;
    error.other = other;
    return error;
}

static int busy(const hwl_device *device) { return device->run.state == HWL_RUN_BUSY; }

static int all_zero(const uint8_t *bytes, size_t count) {
    while (count > 0 && bytes[count - 1] == 0) {
        count--;
    }
    return count == 0;
}

static hwl_error do_hello(hwl_device *device, const uint8_t *body, uint16_t length) {
    uint8_t *reply = hwl_body(&device->reply);
    (void)length;
    if (hwl_get32(body) != MAGIC || device->reply.session == 0) {
        return refused(HWL_MALFORMED, 0, 0);
    }
    /* with a host of another schema no session begins: both stop */
    if (hwl_get32(body + 4) == HWL_SCHEMA && hwl_session_open(&device->session, device->reply.session)) {
        hwl_run_end(&device->run, HWL_ABORTED);
        device->silence_ms = 0;
    }
    hwl_put32(reply, MAGIC);
    hwl_put32(reply + 4, HWL_SCHEMA);
    reply[8] = HWL_KIND_FIXED;
    reply[9] = HWL_WINDOW;
    hwl_put16(reply + 10, HWL_MAX_BODY);
    hwl_put32(reply + 12, device->program.room);
    hwl_put32(reply + 16, device->input.room);
    hwl_put32(reply + 20, HWL_OUTPUT_BYTES);
    hwl_put32(reply + 24, 0);
    hwl_put32(reply + 28, device->info_bytes);
    hwl_put32(reply + 32, device->info_crc);
    device->reply.length = 36;
    return fine;
}

static hwl_error do_status(hwl_device *device, const uint8_t *body, uint16_t length) {
    uint8_t *reply = hwl_body(&device->reply);
    const hwl_run *run = &device->run;
    int done = run->state == HWL_RUN_DONE;
    (void)body;
    (void)length;
    memset(reply, 0, 92);
    reply[0] = (uint8_t)run->state;
    reply[1] = (uint8_t)(run->state == HWL_RUN_NONE ? 0u : WRAPS_PRESENT);
    hwl_put16(reply + 2, (uint16_t)run->error);
    hwl_put32(reply + 4, run->order.id);
    hwl_put32(reply + 8, run->samples_done);
    hwl_put32(reply + 12, done ? run->written : 0);
    hwl_put32(reply + 16, done ? run->crc : 0);
    /* lost, late: a run in memory has neither; settings: no trim cells */
    memcpy(reply + 28, device->program.digest, HWL_DIGEST_BYTES);
    device->reply.length = 92;
    return fine;
}

/* The region that a host may fill, or NULL. */
static hwl_region *region_of(hwl_device *device, uint8_t number) {
    if (number == HWL_PROGRAM) {
        return &device->program;
    }
    return number == HWL_INPUT ? &device->input : NULL;
}

static hwl_error do_begin(hwl_device *device, const uint8_t *body, uint16_t length) {
    hwl_region *region = region_of(device, body[0]);
    hwl_error error;
    (void)length;
    if (region == NULL || (body[1] & ~KEEP) != 0) {
        return refused(HWL_UNKNOWN, region == NULL ? body[0] : body[1], 0);
    }
    if (busy(device)) {
        return refused(HWL_BUSY, device->run.order.id, 0);
    }
    error = hwl_region_begin(region, hwl_get32(body + 2), (body[1] & KEEP) != 0, device->transfers + 1u);
    if (error.code == HWL_OK) {
        device->transfers++;
        hwl_put32(hwl_body(&device->reply), device->transfers);
        device->reply.length = 4;
    }
    return error;
}

static hwl_error do_write(hwl_device *device, const uint8_t *body, uint16_t length) {
    hwl_region *region = region_of(device, body[0]);
    hwl_error error;
    if (region == NULL) {
        return refused(HWL_UNKNOWN, body[0], 0);
    }
    error = hwl_region_write(region, hwl_get32(body + 1), hwl_get32(body + 5), body + 9, length - 9u);
    memcpy(hwl_body(&device->reply), body + 5, 4);
    device->reply.length = 4;
    return error;
}

/* The program is read and made ready before it counts as sealed. */
static hwl_error prepare(hwl_device *device, const hwl_region *region) {
    hwl_error error = hwl_image_read(&device->image, region->bytes, region->length);
    if (error.code == HWL_OK) {
        error = hwl_core_begin(&device->core, &device->image, device->core.state, HWL_STATE_BYTES);
    }
    return error;
}

static hwl_error do_seal(hwl_device *device, const uint8_t *body, uint16_t length) {
    hwl_region *region = region_of(device, body[0]);
    hwl_error error;
    (void)length;
    if (region == NULL) {
        return refused(HWL_UNKNOWN, body[0], 0);
    }
    error = hwl_region_sealable(region, hwl_get32(body + 1), hwl_get32(body + 5));
    if (error.code == HWL_OK && region->state == HWL_OPEN) {
        if (region == &device->program) {
            error = prepare(device, region);
        }
        if (error.code == HWL_OK) {
            hwl_region_seal(region);
        }
    }
    memcpy(hwl_body(&device->reply), region->digest, HWL_DIGEST_BYTES);
    device->reply.length = HWL_DIGEST_BYTES;
    return error;
}

/* Whether `region` is sealed with the digest that the host believes it has. */
static hwl_error check_digest(const hwl_region *region, const uint8_t *digest, hwl_code none, hwl_code wrong) {
    if (region->state != HWL_SEALED) {
        return refused(none, 0, 0);
    }
    if (memcmp(region->digest, digest, HWL_DIGEST_BYTES) != 0) {
        return refused(wrong, hwl_get32(region->digest), 0);
    }
    return fine;
}

static hwl_error check_digests(const hwl_device *device, const uint8_t *body) {
    hwl_error error = check_digest(&device->program, body + 4, HWL_NO_PROGRAM, HWL_WRONG_PROGRAM);
    if (error.code == HWL_OK) {
        error = check_digest(&device->input, body + 36, HWL_NO_INPUT, HWL_WRONG_INPUT);
    }
    if (error.code == HWL_OK && !all_zero(body + 68, HWL_DIGEST_BYTES)) {
        error = refused(HWL_WRONG_SETTINGS, 0, 0);
    }
    return error;
}

/* Format, flags, repeats and ticks that this device runs. */
static hwl_error check_order(const hwl_device *device, const uint8_t *body) {
    uint8_t format = body[120], flags = body[121];
    uint32_t repeats = hwl_get32(body + 104), n_ticks = hwl_get32(body + 108);
    if ((format & ~FORMAT_WIDE) != 0 || (format == 0 && device->image.neurons > UNITS_OF_TWO_BYTES)) {
        return refused(HWL_UNKNOWN, format, 0);
    }
    if (flags != 0 || repeats != 1) {
        return refused(HWL_UNKNOWN, flags != 0 ? flags : repeats, 0);
    }
    if (!all_zero(body + 112, 8)) { /* a window in seconds, of a device whose time is ticks */
        return refused(HWL_UNKNOWN, hwl_get32(body + 112), hwl_get32(body + 116));
    }
    return n_ticks == 0 || n_ticks > HWL_MAX_TICKS ? refused(HWL_OUT_OF_RANGE, n_ticks, HWL_MAX_TICKS) : fine;
}

static hwl_error do_run(hwl_device *device, const uint8_t *body, uint16_t length) {
    hwl_run_order order;
    hwl_error error;
    (void)length;
    if (busy(device)) {
        return refused(HWL_BUSY, device->run.order.id, 0);
    }
    error = check_digests(device, body);
    if (error.code == HWL_OK) {
        error = check_order(device, body);
    }
    if (error.code != HWL_OK) {
        return error;
    }
    order.id = hwl_get32(body);
    order.batch = hwl_get32(body + 100);
    order.n_ticks = hwl_get32(body + 108);
    order.wide = body[120] == FORMAT_WIDE;
    error = hwl_run_check(&order, device->input.bytes, device->input.length, device->image.inputs);
    if (error.code == HWL_OK) {
        hwl_run_begin(&device->run, &order, &device->core, device->input.bytes, device->run.output, HWL_OUTPUT_BYTES);
        hwl_put32(hwl_body(&device->reply), order.id);
        device->reply.length = 4;
    }
    return error;
}

/* What a host may read: bytes, their number, and the tag that names them. A run that is not done has brought none. */
typedef struct {
    const uint8_t *bytes;
    uint32_t length;
    uint32_t tag;
} readable;

static readable readable_of(const hwl_device *device, uint8_t number) {
    readable part = {NULL, 0, 0};
    if (number == HWL_INFO) {
        part.bytes = (const uint8_t *)device->info;
        part.length = device->info_bytes;
    } else if (number == HWL_PROGRAM) {
        part.bytes = device->program.bytes;
        part.length = device->program.length;
    } else {
        part.bytes = device->run.output;
        part.length = device->run.state == HWL_RUN_DONE ? device->run.written : 0;
        part.tag = device->run.order.id;
    }
    return part;
}

static hwl_error do_read(hwl_device *device, const uint8_t *body, uint16_t length) {
    uint8_t *reply = hwl_body(&device->reply);
    uint32_t tag = hwl_get32(body + 1), offset = hwl_get32(body + 5), count = hwl_get16(body + 9);
    readable part;
    (void)length;
    if (body[0] != HWL_INFO && body[0] != HWL_PROGRAM && body[0] != HWL_OUTPUT) {
        return refused(HWL_UNKNOWN, body[0], 0);
    }
    part = readable_of(device, body[0]);
    if (tag != part.tag) {
        return refused(HWL_WRONG_TAG, part.tag, 0);
    }
    if (offset > part.length || count > part.length - offset || count > HWL_MAX_BODY - READ_HEAD_BYTES) {
        return refused(HWL_OUT_OF_RANGE, offset, part.length);
    }
    memcpy(reply, body, READ_HEAD_BYTES);
    memcpy(reply + READ_HEAD_BYTES, part.bytes + offset, count);
    device->reply.length = (uint16_t)(READ_HEAD_BYTES + count);
    return fine;
}

static hwl_error do_reset(hwl_device *device, const uint8_t *body, uint16_t length) {
    (void)length;
    if (body[0] > 1) {
        return refused(HWL_UNKNOWN, body[0], 0);
    }
    hwl_run_end(&device->run, HWL_ABORTED);
    if (body[0] == 1) {
        uint8_t *output = device->run.output;
        hwl_region_clear(&device->program);
        hwl_region_clear(&device->input);
        memset(&device->run, 0, sizeof device->run);
        device->run.output = output;
    }
    hwl_body(&device->reply)[0] = body[0];
    device->reply.length = 1;
    return fine;
}

#if HWL_COUNTERS
static hwl_error counters(hwl_device *device, uint16_t length) {
    uint8_t *reply = hwl_body(&device->reply);
    if (length != 2) {
        return refused(HWL_MALFORMED, length, 2);
    }
    hwl_put16(reply, COUNTERS);
    memset(reply + 2, 0, CALL_HEAD_BYTES - 2u); /* the result stands inline */
    hwl_board_counters(reply + CALL_HEAD_BYTES);
    device->reply.length = CALL_HEAD_BYTES + HWL_COUNTER_BYTES;
    return fine;
}
#endif

static hwl_error do_call(hwl_device *device, const uint8_t *body, uint16_t length) {
#if HWL_COUNTERS
    if (hwl_get16(body) == COUNTERS) {
        return counters(device, length);
    }
#endif
    (void)device;
    (void)length;
    return refused(HWL_UNKNOWN, hwl_get16(body), 0); /* neither trim cells nor noise, clock or membranes */
}

static hwl_error do_configure(hwl_device *device, const uint8_t *body, uint16_t length) {
    if (hwl_get16(body) != KEY_SILENCE) {
        return refused(HWL_UNKNOWN, hwl_get16(body), 0);
    }
    device->silence_ms = hwl_get32(body + 2);
    memcpy(hwl_body(&device->reply), body, length);
    device->reply.length = length;
    return fine;
}

/* Lengths of bodies (bytes), and what to do; a type is its place, HELLO at 1. */
static const struct {
    uint16_t least;
    uint16_t most;
    hwl_error (*act)(hwl_device *device, const uint8_t *body, uint16_t length);
} requests[HWL_LAST_REQUEST + 1] = {
    {1, 0, NULL},
    {8, 8, do_hello},
    {0, 0, do_status},
    {6, 6, do_begin},
    {10, HWL_MAX_BODY, do_write},
    {9, 9, do_seal},
    {122, 122, do_run},
    {11, 11, do_read},
    {1, 1, do_reset},
    {2, HWL_MAX_BODY, do_call},
    {6, 6, do_configure},
};

hwl_error hwl_request_do(hwl_device *device, uint8_t type, const uint8_t *body, uint16_t length) {
    if (length < requests[type].least || length > requests[type].most) {
        return refused(HWL_MALFORMED, length, requests[type].least);
    }
    return requests[type].act(device, body, length);
}
