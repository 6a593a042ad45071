/* SHA-256 by the chip, in place of src/sha256.c; padding is done here. Regions begin at a multiple of four. */
#include "sha256.h"

#include "bytes.h"
#include "registers.h"

#define BLOCK_WORDS 16u
#define END_OF_MESSAGE 0x80u

void hwl_sha256(const uint8_t *bytes, size_t count, uint8_t digest[HWL_DIGEST_BYTES]) {
    size_t whole = count / 4u, rest = count % 4u, words = whole + 1u, k;
    uint32_t last = END_OF_MESSAGE << 8u * rest;
    DIGEST_SHA_START = 0;
    for (k = 0; k < whole; k++) {
        DIGEST_SHA_WORD = ((const uint32_t *)(const void *)bytes)[k];
    }
    for (k = 0; k < rest; k++) {
        last |= (uint32_t)bytes[4u * whole + k] << 8u * k;
    }
    DIGEST_SHA_WORD = last;
    for (; words % BLOCK_WORDS != BLOCK_WORDS - 2u; words++) {
        DIGEST_SHA_WORD = 0;
    }
    /* the number of bits, most significant byte first: the chip takes words as they stand in memory */
    DIGEST_SHA_WORD = __builtin_bswap32((uint32_t)(count >> 29));
    DIGEST_SHA_WORD = __builtin_bswap32((uint32_t)(count << 3));
    for (k = 0; k < HWL_DIGEST_BYTES / 4u; k++) {
        hwl_put32(digest + 4u * k, DIGEST_SHA(k));
    }
}
