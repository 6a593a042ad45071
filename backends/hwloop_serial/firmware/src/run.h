/* A run: sample by sample, tick by tick, in slices between which the line is looked at. PROTOCOL.md, section 5. */
#ifndef HWL_RUN_H
#define HWL_RUN_H

#include "core.h"

typedef enum { HWL_RUN_NONE = 0, HWL_RUN_BUSY = 1, HWL_RUN_DONE = 2, HWL_RUN_FAILED = 3 } hwl_run_state;

/* What RUN asks for; digests are compared before. */
typedef struct {
    uint32_t id;
    uint32_t batch;
    uint32_t n_ticks;
    int wide; /* units of four bytes, else of two */
} hwl_run_order;

typedef struct {
    hwl_run_state state;
    hwl_code error;
    hwl_run_order order;
    hwl_core *core;
    const uint8_t *input;
    uint8_t *output;
    uint32_t room;         /* bytes of the output that there are */
    uint32_t samples_done;
    uint32_t next_event;   /* byte of the input at which the next event stands */
    uint32_t events_left;  /* of this sample */
    uint32_t written;      /* bytes of the output that hold something */
    uint32_t counted;      /* events of this sample in the output */
    uint32_t summed;       /* bytes of the output that are in `crc` */
    uint32_t crc;
} hwl_run;

#define HWL_TIME_BYTES 4u

/* Bytes of an event. */
static inline uint32_t hwl_event_bytes(const hwl_run_order *order) { return HWL_TIME_BYTES + (order->wide ? 4u : 2u); }

/* Whether `length` bytes of input are what `order` says: BAD_INPUT, detail = sample. */
hwl_error hwl_run_check(const hwl_run_order *order, const uint8_t *input, uint32_t length, uint32_t units);

/* Begins a run whose input was checked. */
void hwl_run_begin(hwl_run *run, const hwl_run_order *order, hwl_core *core, const uint8_t *input, uint8_t *output, uint32_t room);

/* One tick, or a part of the crc at the end. Does nothing unless the run is busy. */
void hwl_run_step(hwl_run *run);

/* Ends a run that is busy, with this error. */
void hwl_run_end(hwl_run *run, hwl_code error);

#endif
