/* Memory that the host fills: opened by BEGIN, written in any order, closed by SEAL with the digest of what is held. */
#ifndef HWL_REGIONS_H
#define HWL_REGIONS_H

#include "messages.h"
#include "sha256.h"

typedef enum { HWL_EMPTY, HWL_OPEN, HWL_SEALED } hwl_region_state;

typedef struct {
    uint8_t *bytes;
    uint32_t room;
    uint32_t length;   /* that BEGIN gave */
    uint32_t transfer; /* its number; 0: none yet */
    hwl_region_state state;
    uint8_t digest[HWL_DIGEST_BYTES]; /* zeros unless sealed */
} hwl_region;

/* Forgets what the region holds. */
void hwl_region_clear(hwl_region *region);

/* Opens it for `length` bytes under the number `transfer`; with `keep` what it holds stays. */
hwl_error hwl_region_begin(hwl_region *region, uint32_t length, int keep, uint32_t transfer);

hwl_error hwl_region_write(hwl_region *region, uint32_t transfer, uint32_t offset, const uint8_t *data, uint32_t count);

/* Whether SEAL of `transfer` and `length` fits this region, open or sealed. */
hwl_error hwl_region_sealable(const hwl_region *region, uint32_t transfer, uint32_t length);

/* Computes the digest over the bytes that are held. */
void hwl_region_seal(hwl_region *region);

#endif
