/* What a board has to bring. Write these six functions and a main that calls hwl_main(): docs/your_board.md. */
#ifndef HWL_BOARD_H
#define HWL_BOARD_H

#include <stddef.h>
#include <stdint.h>

/* Takes up to `room` bytes that have come on the line; returns how many, 0 if none. Must not wait. */
size_t hwl_board_read(uint8_t *bytes, size_t room);

/* Sends `count` bytes; waits until the line has taken them, but never for ever: a host that is gone must not stop a board. */
void hwl_board_write(const uint8_t *bytes, size_t count);

/* Milliseconds since any moment; wraps at 2^32. */
uint32_t hwl_board_milliseconds(void);

/* A number that the board did not have the last time that it started. Asked for once, when the first frame comes. */
uint32_t hwl_board_boot_id(void);

/* Name of this very board, such as its serial number: up to 63 printable characters. */
const char *hwl_board_device_id(void);

/* Nothing to do: may sleep until a byte comes, for 1 ms at most while hosts shall be timed; may return at once. */
void hwl_board_idle(void);

/* Where HWL_COUNTERS is 1: writes the HWL_COUNTER_BYTES of the result of COUNTERS (PROTOCOL.md, section 10). */
#define HWL_COUNTER_BYTES 32u
void hwl_board_counters(uint8_t bytes[HWL_COUNTER_BYTES]);

/* Never returns. Called by the board's main after clocks and line are ready. */
void hwl_main(void);

#endif
