#include "cobs.h"

#define LONGEST_BLOCK 0xFFu /* a block of 254 bytes, with no zero behind it */

void hwl_cobs_begin(hwl_cobs *cobs) {
    cobs->count = 0;
    cobs->code = 0;
    cobs->left = 0;
    cobs->dropped = 0;
}

static void append(hwl_cobs *cobs, uint8_t byte) {
    if (cobs->count < cobs->room) {
        cobs->bytes[cobs->count++] = byte;
    } else {
        cobs->dropped = 1;
    }
}

static hwl_cobs_state end(hwl_cobs *cobs) {
    hwl_cobs_state state = HWL_COBS_FRAME;
    if (cobs->code == 0) {
        state = HWL_COBS_EMPTY;
    } else if (cobs->left != 0 || cobs->dropped) {
        state = HWL_COBS_BAD;
    }
    cobs->code = 0;
    cobs->left = 0;
    cobs->dropped = 0;
    return state;
}

hwl_cobs_state hwl_cobs_take(hwl_cobs *cobs, uint8_t byte) {
    if (byte == 0) {
        return end(cobs);
    }
    if (cobs->code == 0) {
        cobs->count = 0;
    }
    if (cobs->left > 0) {
        cobs->left--;
        append(cobs, byte);
    } else {
        if (cobs->code != 0 && cobs->code != LONGEST_BLOCK) {
            append(cobs, 0);
        }
        cobs->code = byte;
        cobs->left = (uint8_t)(byte - 1u);
    }
    return HWL_COBS_MORE;
}

void hwl_cobs_send(const uint8_t *bytes, size_t count, hwl_sink sink) {
    static const uint8_t delimiter = 0;
    size_t first = 0;
    for (;;) {
        size_t last = first;
        uint8_t code;
        while (last < count && last - first < LONGEST_BLOCK - 1u && bytes[last] != 0) {
            last++;
        }
        code = (uint8_t)(last - first + 1u);
        sink(&code, 1);
        sink(bytes + first, last - first);
        if (last == count && code != LONGEST_BLOCK) { /* a run of 254 at the very end has an empty block behind it */
            break;
        }
        first = code == LONGEST_BLOCK ? last : last + 1u;
    }
    sink(&delimiter, 1);
}
