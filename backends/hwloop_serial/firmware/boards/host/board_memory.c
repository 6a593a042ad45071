/* A board in memory, for tests and fuzzing: the line is a buffer, time passes only when it is looked at. */
#include "board_memory.h"

#include <string.h>

#include "hwl_board.h"

static struct {
    uint8_t sent[HWL_MEMORY_ROOM];
    size_t count;
    size_t lost;
    uint32_t now_ms;
    uint32_t looks;
    uint32_t boots;
} memory = {.boots = 0xB0070000u};

void hwl_memory_restart(void) {
    uint32_t boots = memory.boots;
    memset(&memory, 0, sizeof memory);
    memory.boots = boots;
}

void hwl_memory_boots(uint32_t last) { memory.boots = last; }

size_t hwl_memory_sent(uint8_t *bytes, size_t room) {
    size_t count = memory.count < room ? memory.count : room;
    memcpy(bytes, memory.sent, count);
    memory.count = 0;
    return count;
}

void hwl_memory_wait(uint32_t milliseconds) { memory.now_ms += milliseconds; }

size_t hwl_board_read(uint8_t *bytes, size_t room) {
    (void)bytes;
    (void)room;
    return 0;
}

void hwl_board_write(const uint8_t *bytes, size_t count) {
    size_t fits = sizeof memory.sent - memory.count;
    fits = count < fits ? count : fits;
    memcpy(memory.sent + memory.count, bytes, fits);
    memory.count += fits;
    memory.lost += count - fits;
}

uint32_t hwl_board_milliseconds(void) {
    memory.looks++;
    if (memory.looks % HWL_MEMORY_LOOKS_A_MS == 0) {
        memory.now_ms++;
    }
    return memory.now_ms;
}

uint32_t hwl_board_boot_id(void) { return ++memory.boots; }

const char *hwl_board_device_id(void) { return "memory \"0\\"; }

void hwl_board_idle(void) {}
