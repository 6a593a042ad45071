/* Firmware that lets a test at the chip's parts: a command a frame, a reply a frame. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "bytes.h"
#include "cobs.h"
#include "crc32.h"
#include "registers.h"
#include "sha256.h"

#define ROOM 4096u
#define JOB_BYTES 44u
#define ANSWER_BYTES 40u
#define SCRATCH_BYTES 32u

uint32_t soft_crc32(uint32_t start, const uint8_t *bytes, size_t count);
void soft_sha256(const uint8_t *bytes, size_t count, uint8_t digest[32]);
void execute(uint32_t job[4], const uint32_t *code); /* execute.S */
int main(void);

static uint32_t code[5], scratch[SCRATCH_BYTES / 4u], words[ROOM / 4u];
static uint8_t reply[ROOM];
static uint8_t *const frame = (uint8_t *)words;

/* Bytes of the next frame; of one that broke off none. */
static uint32_t receive(void) {
    uint32_t count = 0, symbol;
    for (;;) {
        while ((symbol = LINK_SYMBOL) & SYMBOL_NONE) {
            __asm volatile("wfi" ::: "memory");
        }
        if (symbol & SYMBOL_END) {
            return symbol & SYMBOL_BAD ? 0 : count;
        }
        if (count < ROOM) {
            frame[count++] = (uint8_t)symbol;
        }
    }
}

/* One instruction, between what tells where it went on. */
static void run_job(const uint8_t *job, uint8_t *answer) {
    uint32_t numbers[4] = {hwl_get32(job + 4), hwl_get32(job + 8), 0, 0};
    code[0] = hwl_get32(job);
    code[1] = 0x001E0E13u; /* addi x28, x28, 1: it went on behind itself */
    code[2] = 0x000E8067u; /* jalr x0, 0(x29) */
    code[3] = 0x002E0E13u; /* addi x28, x28, 2: it jumped */
    code[4] = 0x000E8067u;
    memcpy(scratch, job + 12, SCRATCH_BYTES);
    execute(numbers, code);
    hwl_put32(answer, numbers[2]);
    hwl_put32(answer + 4, numbers[3]);
    memcpy(answer + 8, scratch, SCRATCH_BYTES);
}

static void wait_ms(uint32_t milliseconds) {
    uint32_t start = SYSTEM_MILLISECONDS;
    while (SYSTEM_MILLISECONDS - start < milliseconds) {
    }
}

static uint32_t answer(uint32_t count) {
    uint32_t k, jobs = (count - 1u) / JOB_BYTES;
    const uint8_t *data = frame + 1; /* stands at no multiple of four */
    switch (frame[0]) {
    case 'E':
        memcpy(reply, frame, count);
        return count;
    case 'A':
        hwl_put32(reply, (uint32_t)(uintptr_t)code);
        hwl_put32(reply + 4, (uint32_t)(uintptr_t)scratch);
        return 8;
    case 'C': /* from byte 4 on whole words */
        hwl_put32(reply, hwl_crc32(hwl_get32(data), data + 4, count - 5u));
        hwl_put32(reply + 4, soft_crc32(hwl_get32(data), data + 4, count - 5u));
        return 8;
    case 'S':
        memmove(frame, data, count - 1u);
        hwl_sha256(frame, count - 1u, reply);
        soft_sha256(frame, count - 1u, reply + 32);
        return 64;
    case 'X':
        for (k = 0; k < jobs; k++) {
            run_job(data + k * JOB_BYTES, reply + k * ANSWER_BYTES);
        }
        return jobs * ANSWER_BYTES;
    case 'R':
        hwl_put32(reply, HWL_REGISTER(hwl_get32(data)));
        return 4;
    case 'W':
        wait_ms(hwl_get32(data));
        return 0;
    default:
        return 0;
    }
}

int main(void) {
    for (;;) {
        uint32_t count = receive(), bytes = count == 0 ? 0 : answer(count);
        hwl_cobs_send(reply, bytes, NULL);
    }
}
