/* SHA-256 (FIPS 180-4). */
#ifndef HWL_SHA256_H
#define HWL_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define HWL_DIGEST_BYTES 32u

/* Writes the digest of `bytes[0 .. count]`. */
void hwl_sha256(const uint8_t *bytes, size_t count, uint8_t digest[HWL_DIGEST_BYTES]);

#endif
