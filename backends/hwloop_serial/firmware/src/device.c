#include "device.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "hwl_board.h"
#include "requests.h"

#define ERROR_BYTES 11u
#define FALLBACK_BOOT 0x48574C42u /* for a board whose boot id came out as 0, which means: none */

#define WORDS(bytes) (((bytes) + 3u) / 4u)

/* words: what reads a program beside the processor asks for whole ones */
static uint32_t program_words[WORDS(HWL_PROGRAM_BYTES)], input_words[WORDS(HWL_INPUT_BYTES)], output_words[WORDS(HWL_OUTPUT_BYTES)];
static uint32_t state_words[HWL_STATE_BYTES / 4u];

void hwl_device_begin(hwl_device *device) {
    memset(device, 0, sizeof *device);
    hwl_receiver_begin(&device->receiver);
    device->program.bytes = (uint8_t *)program_words;
    device->program.room = HWL_PROGRAM_BYTES;
    device->input.bytes = (uint8_t *)input_words;
    device->input.room = HWL_INPUT_BYTES;
    device->run.output = (uint8_t *)output_words;
    device->core.state = state_words;
    device->info_bytes = hwl_info_write(device->info, hwl_board_device_id());
    device->info_crc = hwl_crc32(0, (const uint8_t *)device->info, device->info_bytes);
}

/* Turns the reply into an error. */
static void put_error(hwl_device *device, uint8_t request, hwl_error error) {
    uint8_t *body = hwl_body(&device->reply);
    device->reply.type = HWL_ERROR;
    device->reply.length = ERROR_BYTES;
    body[0] = request;
    hwl_put16(body + 1, (uint16_t)error.code);
    hwl_put32(body + 3, error.detail);
    hwl_put32(body + 7, error.other);
}

static hwl_error check_ends(const hwl_device *device, const hwl_frame *request) {
    hwl_error error = {HWL_OK, 0, 0};
    if (request->boot != device->boot) {
        error.code = HWL_WRONG_BOOT;
        error.detail = device->boot;
    } else if (request->session != device->session.number || request->session == 0) {
        error.code = HWL_WRONG_SESSION;
        error.detail = device->session.number;
    }
    return error;
}

static void act(hwl_device *device, hwl_frame *request) {
    hwl_error error = hwl_request_do(device, request->type, hwl_body(request), request->length);
    if (error.code != HWL_OK) {
        put_error(device, request->type, error);
    }
}

/* At most once: see session.h. */
static void act_once(hwl_device *device, hwl_frame *request) {
    hwl_session *session = &device->session;
    hwl_frame *reply = &device->reply;
    hwl_error old = {HWL_OLD, session->last, 0};
    switch (hwl_session_turn(session, request->sequence)) {
    case HWL_TOO_OLD:
        put_error(device, request->type, old);
        break;
    case HWL_AGAIN:
        reply->type = session->type;
        reply->length = session->length;
        memcpy(hwl_body(reply), session->body, session->length);
        break;
    case HWL_FRESH:
        act(device, request);
        hwl_session_keep(session, request->sequence, reply->type, hwl_body(reply), (uint8_t)reply->length);
        break;
    }
}

void hwl_device_answer(hwl_device *device) {
    hwl_frame *request = &device->receiver.frame, *reply = &device->reply;
    hwl_error error = {HWL_OK, 0, 0};
    if (device->boot == 0) {
        device->boot = hwl_board_boot_id();
        device->boot = device->boot != 0 ? device->boot : FALLBACK_BOOT;
    }
    reply->type = (uint8_t)(HWL_REPLY | request->type);
    reply->session = request->session;
    reply->sequence = request->sequence;
    reply->boot = device->boot;
    reply->length = 0;
    if (request->type != HWL_HELLO) {
        error = check_ends(device, request);
    }
    if (error.code != HWL_OK) {
        put_error(device, request->type, error);
    } else {
        device->heard_ms = hwl_board_milliseconds();
        if (hwl_is_command(request->type)) {
            act_once(device, request);
        } else {
            act(device, request);
        }
    }
    hwl_frame_send(reply, request->type, hwl_board_write);
}

void hwl_device_take(hwl_device *device, const uint8_t *bytes, size_t count) {
    size_t k;
    for (k = 0; k < count; k++) {
        if (hwl_receiver_take(&device->receiver, bytes[k])) {
            hwl_device_answer(device);
        }
    }
}

int hwl_device_go_on(hwl_device *device) {
    uint32_t start = hwl_board_milliseconds();
    hwl_run *run = &device->run;
    if (run->state == HWL_RUN_BUSY && device->silence_ms != 0 && start - device->heard_ms >= device->silence_ms) {
        hwl_run_end(run, HWL_ABORTED);
    }
    while (run->state == HWL_RUN_BUSY) {
        hwl_run_step(run);
        if (hwl_board_milliseconds() - start >= HWL_SLICE_MS) {
            break;
        }
    }
    return run->state == HWL_RUN_BUSY;
}
