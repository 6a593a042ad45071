#include "frame.h"

#include "bytes.h"
#include "crc32.h"
#include "messages.h"

static uint32_t seed_of(uint8_t request) { return request == HWL_HELLO ? HWL_HELLO_SEED : HWL_SCHEMA; }

void hwl_receiver_begin(hwl_receiver *receiver) {
    static const hwl_dropped none = {0, 0, 0, 0};
    receiver->cobs.bytes = receiver->frame.room;
    receiver->cobs.room = HWL_FRAME_BYTES;
    receiver->dropped = none;
    hwl_cobs_begin(&receiver->cobs);
}

int hwl_receiver_check(hwl_receiver *receiver) {
    hwl_frame *frame = &receiver->frame;
    size_t count = receiver->cobs.count, body = count - HWL_CRC_BYTES;
    uint8_t type = frame->room[0];
    if (count < HWL_HEADER_BYTES + HWL_CRC_BYTES) {
        receiver->dropped.length++;
        return 0;
    }
    if (type < HWL_HELLO || type > HWL_LAST_REQUEST) {
        receiver->dropped.type++;
        return 0;
    }
    if (hwl_crc32(seed_of(type), frame->room, body) != hwl_get32(frame->room + body)) {
        receiver->dropped.crc++;
        return 0;
    }
    frame->type = type;
    frame->session = hwl_get32(frame->room + 1);
    frame->sequence = hwl_get32(frame->room + 5);
    frame->boot = hwl_get32(frame->room + 9);
    frame->length = (uint16_t)(body - HWL_HEADER_BYTES);
    return 1;
}

int hwl_receiver_take(hwl_receiver *receiver, uint8_t byte) {
    switch (hwl_cobs_take(&receiver->cobs, byte)) {
    case HWL_COBS_FRAME:
        return hwl_receiver_check(receiver);
    case HWL_COBS_BAD:
        receiver->dropped.cobs++;
        return 0;
    default:
        return 0;
    }
}

void hwl_frame_send(hwl_frame *frame, uint8_t request, hwl_sink sink) {
    size_t body = HWL_HEADER_BYTES + (size_t)frame->length;
    frame->room[0] = frame->type;
    hwl_put32(frame->room + 1, frame->session);
    hwl_put32(frame->room + 5, frame->sequence);
    hwl_put32(frame->room + 9, frame->boot);
    hwl_put32(frame->room + body, hwl_crc32(seed_of(request), frame->room, body));
    hwl_cobs_send(frame->room, body + HWL_CRC_BYTES, sink);
}
