/* CRC-32 by the chip, in place of src/crc32.c: four bytes a store where they stand at a multiple of four. */
#include "crc32.h"

#include "registers.h"

uint32_t hwl_crc32(uint32_t start, const uint8_t *bytes, size_t count) {
    const uint8_t *end = bytes + count;
    DIGEST_CRC = ~start;
    while (bytes < end && ((uintptr_t)bytes & 3u) != 0) {
        DIGEST_CRC_BYTE = *bytes++;
    }
    for (; end - bytes >= 4; bytes += 4) {
        DIGEST_CRC_WORD = *(const uint32_t *)(const void *)bytes;
    }
    while (bytes < end) {
        DIGEST_CRC_BYTE = *bytes++;
    }
    return ~DIGEST_CRC;
}
