/* COBS by the chip, in place of src/cobs.c: what is sent goes through its encoder. Symbols that come are read by board_rtl.c. */
#include "cobs.h"

#include "registers.h"

void hwl_cobs_begin(hwl_cobs *cobs) {
    cobs->count = 0;
    cobs->code = 0;
    cobs->left = 0;
    cobs->dropped = 0;
}

void hwl_cobs_send(const uint8_t *bytes, size_t count, hwl_sink sink) {
    size_t k;
    (void)sink;
    for (k = 0; k < count; k++) {
        LINK_BYTE = bytes[k];
    }
    LINK_FINISH = 0;
}
