/* Frames: header, body and crc, taken from the line and sent to it. PROTOCOL.md, section 1. */
#ifndef HWL_FRAME_H
#define HWL_FRAME_H

#include "cobs.h"
#include "hwl_config.h"

#define HWL_HEADER_BYTES 13u
#define HWL_CRC_BYTES 4u
#define HWL_FRAME_BYTES (HWL_HEADER_BYTES + HWL_MAX_BODY + HWL_CRC_BYTES)

/* One frame; `room` holds it as it stands on the line before COBS, the body begins at room + HWL_HEADER_BYTES. */
typedef struct {
    uint8_t type;
    uint32_t session;
    uint32_t sequence;
    uint32_t boot;
    uint16_t length; /* of the body (bytes) */
    uint8_t room[HWL_FRAME_BYTES];
} hwl_frame;

/* Why bytes of the line were no frame; counted, never answered. */
typedef struct {
    uint32_t cobs;
    uint32_t length;
    uint32_t crc;
    uint32_t type;
} hwl_dropped;

typedef struct {
    hwl_cobs cobs;
    hwl_frame frame;
    hwl_dropped dropped;
} hwl_receiver;

void hwl_receiver_begin(hwl_receiver *receiver);

/* Whether the bytes that COBS made, receiver->cobs, are a good request: then receiver->frame is it. For boards that have COBS of their own. */
int hwl_receiver_check(hwl_receiver *receiver);

/* Takes a byte of the line; 1: receiver->frame is a good request, until the next byte is taken. */
int hwl_receiver_take(hwl_receiver *receiver, uint8_t byte);

static inline uint8_t *hwl_body(hwl_frame *frame) { return frame->room + HWL_HEADER_BYTES; }

/* Sends `frame`, whose body stands in its room, with the seed of frames of `request`: HELLO has its own. */
void hwl_frame_send(hwl_frame *frame, uint8_t request, hwl_sink sink);

#endif
