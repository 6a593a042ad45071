/* Sizes of the firmware, all fixed when it is compiled. A board gives its own by -DHWL_... or leaves these. */
#ifndef HWL_CONFIG_H
#define HWL_CONFIG_H

#if defined(__arm__) || defined(HWL_SMALL)
/* A Cortex-M with 256 KiB of RAM: a 256-128-10 network and some hundred input events. */
#define HWL_DEFAULT_PROGRAM_BYTES (128u * 1024u)
#define HWL_DEFAULT_INPUT_BYTES (24u * 1024u)
#define HWL_DEFAULT_OUTPUT_BYTES (24u * 1024u)
#define HWL_DEFAULT_STATE_BYTES (48u * 1024u)
#define HWL_DEFAULT_MAX_BODY 1024u
#else
#define HWL_DEFAULT_PROGRAM_BYTES (16u * 1024u * 1024u)
#define HWL_DEFAULT_INPUT_BYTES (16u * 1024u * 1024u)
#define HWL_DEFAULT_OUTPUT_BYTES (16u * 1024u * 1024u)
#define HWL_DEFAULT_STATE_BYTES (16u * 1024u * 1024u)
#define HWL_DEFAULT_MAX_BODY 4096u
#endif

/* Bytes of the program image. */
#ifndef HWL_PROGRAM_BYTES
#define HWL_PROGRAM_BYTES HWL_DEFAULT_PROGRAM_BYTES
#endif

/* Bytes of the events of a batch, and of its answer. */
#ifndef HWL_INPUT_BYTES
#define HWL_INPUT_BYTES HWL_DEFAULT_INPUT_BYTES
#endif
#ifndef HWL_OUTPUT_BYTES
#define HWL_OUTPUT_BYTES HWL_DEFAULT_OUTPUT_BYTES
#endif

/* Bytes of working memory: what a program needs of it stands in PROTOCOL.md, section 8. A multiple of 4. */
#ifndef HWL_STATE_BYTES
#define HWL_STATE_BYTES HWL_DEFAULT_STATE_BYTES
#endif

/* Largest body of a frame (bytes), 128..16384. Two frames are kept in memory: one that comes and one that goes. */
#ifndef HWL_MAX_BODY
#define HWL_MAX_BODY HWL_DEFAULT_MAX_BODY
#endif

/* Requests that may be on their way together; a board has to take so many frames without loss while it is busy. */
#ifndef HWL_WINDOW
#define HWL_WINDOW 2u
#endif

/* Milliseconds for which a run goes on before the line is looked at again. */
#ifndef HWL_SLICE_MS
#define HWL_SLICE_MS 2u
#endif

/* Ticks of a run: times are kept as numbers with a sign on the host. */
#define HWL_MAX_TICKS 0x7FFFFFFFu

/* Said in INFO: hardware, emulator or rtl-simulation. */
#ifndef HWL_RAN_ON
#define HWL_RAN_ON "hardware"
#endif

#ifndef HWL_FIRMWARE
#define HWL_FIRMWARE "hwloop-firmware 1"
#endif

/* Whether the board counts what a run took: CALL function 9 of PROTOCOL.md, section 10. */
#ifndef HWL_COUNTERS
#define HWL_COUNTERS 0
#endif

#if HWL_MAX_BODY < 128 || HWL_MAX_BODY > 16384
#error "HWL_MAX_BODY: allowed are 128..16384 bytes"
#endif
#if HWL_STATE_BYTES % 4 != 0
#error "HWL_STATE_BYTES has to be a multiple of 4"
#endif
#if HWL_WINDOW < 1 || HWL_WINDOW > 255
#error "HWL_WINDOW: allowed are 1..255 frames"
#endif

#endif
