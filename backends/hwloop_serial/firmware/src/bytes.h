/* Little-endian numbers at any address, on any machine. */
#ifndef HWL_BYTES_H
#define HWL_BYTES_H

#include <stdint.h>

static inline uint16_t hwl_get16(const uint8_t *at) { return (uint16_t)(at[0] | (uint16_t)at[1] << 8); }

static inline uint32_t hwl_get32(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void hwl_put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void hwl_put32(uint8_t *at, uint32_t value) {
    hwl_put16(at, (uint16_t)value);
    hwl_put16(at + 2, (uint16_t)(value >> 16));
}

/* The signed number whose two's complement is `bits`; a plain cast is up to the compiler. */
static inline int32_t hwl_signed(uint32_t bits) {
    return bits > 0x7FFFFFFFu ? -(int32_t)(~bits) - 1 : (int32_t)bits;
}

#endif
