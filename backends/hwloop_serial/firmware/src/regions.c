#include "regions.h"

#include <string.h>

static const hwl_error fine = {HWL_OK, 0, 0};

static hwl_error refused(hwl_code code, uint32_t detail, uint32_t other) {
    hwl_error error;
    error.code = code;
    error.detail = detail;
    error.other = other;
    return error;
}

static hwl_error wrong_transfer(const hwl_region *region) {
    return refused(HWL_WRONG_TRANSFER, region->state == HWL_OPEN ? region->transfer : 0, 0);
}

static void unseal(hwl_region *region, hwl_region_state state) {
    region->state = state;
    memset(region->digest, 0, sizeof region->digest);
}

void hwl_region_clear(hwl_region *region) {
    memset(region->bytes, 0, region->room);
    region->length = 0;
    region->transfer = 0;
    unseal(region, HWL_EMPTY);
}

hwl_error hwl_region_begin(hwl_region *region, uint32_t length, int keep, uint32_t transfer) {
    uint32_t kept;
    if (length > region->room) {
        return refused(HWL_TOO_LARGE, region->room, length);
    }
    kept = keep ? region->length : 0;
    if (kept < length) {
        memset(region->bytes + kept, 0, length - kept);
    }
    region->length = length;
    region->transfer = transfer;
    unseal(region, HWL_OPEN);
    return fine;
}

hwl_error hwl_region_write(hwl_region *region, uint32_t transfer, uint32_t offset, const uint8_t *data, uint32_t count) {
    if (region->state != HWL_OPEN || region->transfer != transfer) {
        return wrong_transfer(region);
    }
    if (offset > region->length || count > region->length - offset) {
        return refused(HWL_OUT_OF_RANGE, offset, region->length);
    }
    memcpy(region->bytes + offset, data, count);
    return fine;
}

hwl_error hwl_region_sealable(const hwl_region *region, uint32_t transfer, uint32_t length) {
    if (region->state == HWL_EMPTY || region->transfer != transfer) {
        return wrong_transfer(region);
    }
    return length != region->length ? refused(HWL_OUT_OF_RANGE, length, region->length) : fine;
}

void hwl_region_seal(hwl_region *region) {
    hwl_sha256(region->bytes, region->length, region->digest);
    region->state = HWL_SEALED;
}
