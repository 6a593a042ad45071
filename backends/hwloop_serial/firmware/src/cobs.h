/* COBS (Cheshire & Baker, IEEE/ACM Trans. Networking 7, 1999), byte by byte: no buffer of its own. */
#ifndef HWL_COBS_H
#define HWL_COBS_H

#include <stddef.h>
#include <stdint.h>

/* A decoder that writes into `bytes`, which has `room`; `count` of them are there. */
typedef struct {
    uint8_t *bytes;
    size_t room;
    size_t count;
    uint8_t code;    /* of the block that is being read; 0: before the first */
    uint8_t left;    /* bytes of it that are still to come */
    uint8_t dropped; /* what comes is longer than `room`: skip to the next delimiter */
} hwl_cobs;

typedef enum { HWL_COBS_MORE, HWL_COBS_EMPTY, HWL_COBS_FRAME, HWL_COBS_BAD } hwl_cobs_state;

/* Ready for the first byte of a frame. */
void hwl_cobs_begin(hwl_cobs *cobs);

/* Takes a byte of the line. After FRAME `bytes[0 .. count]` are the frame until the next byte is taken. */
hwl_cobs_state hwl_cobs_take(hwl_cobs *cobs, uint8_t byte);

/* Where the bytes of an encoder go. */
typedef void (*hwl_sink)(const uint8_t *bytes, size_t count);

/* Sends a frame with the delimiter at its end. */
void hwl_cobs_send(const uint8_t *bytes, size_t count, hwl_sink sink);

#endif
