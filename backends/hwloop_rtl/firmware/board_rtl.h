/* What board and run know of each other. */
#ifndef HWL_BOARD_RTL_H
#define HWL_BOARD_RTL_H

#include "bytes.h"

#ifndef HWL_CLOCK_HZ
#define HWL_CLOCK_HZ 12000000u
#endif

/* Of the last run; `dropped` since the start. */
typedef struct {
    uint64_t cycles;   /* in which samples ran */
    uint64_t synapses; /* synaptic events; 0 where the processor computes, which does not count them */
    uint32_t dropped;  /* frames that were none, or damaged */
} hwl_rtl_counts;

extern hwl_rtl_counts hwl_rtl_counted;

static inline void hwl_put64(uint8_t *at, uint64_t value) {
    hwl_put32(at, (uint32_t)value);
    hwl_put32(at + 4, (uint32_t)(value >> 32));
}

#endif
