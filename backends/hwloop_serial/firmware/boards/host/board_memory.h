/* What tests do with the board in memory. */
#ifndef HWL_BOARD_MEMORY_H
#define HWL_BOARD_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define HWL_MEMORY_ROOM (1u << 20) /* bytes sent that are kept until they are taken */
#define HWL_MEMORY_LOOKS_A_MS 32u  /* looks at the clock that a millisecond has */

/* Forgets bytes and time; the next boot id is another one. */
void hwl_memory_restart(void);

/* The next boot id is `last` + 1. */
void hwl_memory_boots(uint32_t last);

/* Takes what was sent; returns how many bytes (what is more than `room` is lost). */
size_t hwl_memory_sent(uint8_t *bytes, size_t room);

/* Lets time pass. */
void hwl_memory_wait(uint32_t milliseconds);

#endif
