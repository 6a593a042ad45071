/* Arm MPS2 with the AN385 image, as QEMU has it: CMSDK UART 0, SysTick for milliseconds. */
#include "hwl_board.h"
#include "hwl_config.h"

#define CLOCK_HZ 25000000u
#ifndef HWL_BAUD
#define HWL_BAUD 115200u
#endif
#define WRITE_PATIENCE_MS 2000u

/* CMSDK APB UART */
typedef struct {
    volatile uint32_t data;
    volatile uint32_t state;
    volatile uint32_t control;
    volatile uint32_t interrupt; /* written: cleared */
    volatile uint32_t divider;
} cmsdk_uart;
#define UART0 ((cmsdk_uart *)0x40004000u)
#define STATE_SENDING 1u
#define STATE_RECEIVED 2u
#define CONTROL_ON 0x0Bu /* send, receive, interrupt of the receiver */
#define INTERRUPT_RECEIVED 2u

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xE000E010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xE000E014u)
#define SYSTICK_NOW (*(volatile uint32_t *)0xE000E018u)
#define SYSTICK_ON 7u /* processor clock, interrupt, counting */
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100u)
#define UART0_RECEIVE_BIT 1u

/* Room for all frames that may be on their way while a tick is computed, as long as they are behind COBS. */
#define FRAME_ON_LINE (13u + HWL_MAX_BODY + 4u + (17u + HWL_MAX_BODY) / 254u + 2u)
#define RING_BYTES (HWL_WINDOW * FRAME_ON_LINE + 1u)

static struct {
    uint8_t bytes[RING_BYTES];
    volatile uint32_t in, out;
} ring;
static volatile uint32_t now_ms;

/* Survive a restart that is no power cut: the first may be given from outside (QEMU's loader), the second counts restarts. */
__attribute__((section(".noinit"))) static struct {
    uint32_t seed;
    uint32_t starts;
} kept;

int main(void);
void systick(void);
void uart0_receive(void);

void systick(void) { now_ms++; }

static uint32_t after(uint32_t place) { return place + 1u < RING_BYTES ? place + 1u : 0; }

/* Takes the byte that is there. Where the ring is full it stays in the UART: the window promises that this does not happen. */
static void take(void) {
    UART0->interrupt = INTERRUPT_RECEIVED;
    while ((UART0->state & STATE_RECEIVED) != 0 && after(ring.in) != ring.out) {
        ring.bytes[ring.in] = (uint8_t)UART0->data;
        ring.in = after(ring.in);
    }
}

void uart0_receive(void) { take(); }

size_t hwl_board_read(uint8_t *bytes, size_t room) {
    size_t count = 0;
    while (count < room && ring.out != ring.in) {
        bytes[count++] = ring.bytes[ring.out];
        ring.out = after(ring.out);
    }
    if ((UART0->state & STATE_RECEIVED) != 0) {
        __asm volatile("cpsid i" ::: "memory");
        take();
        __asm volatile("cpsie i" ::: "memory");
    }
    return count;
}

void hwl_board_write(const uint8_t *bytes, size_t count) {
    uint32_t start = now_ms;
    size_t k;
    for (k = 0; k < count; k++) {
        while ((UART0->state & STATE_SENDING) != 0) {
            if (now_ms - start > WRITE_PATIENCE_MS) {
                return;
            }
        }
        UART0->data = bytes[k];
    }
}

uint32_t hwl_board_milliseconds(void) { return now_ms; }

/* The moment at which the first frame comes (a 25 millionth of a second), beside what the last start has left. */
uint32_t hwl_board_boot_id(void) {
    uint32_t id = kept.seed ^ (++kept.starts * 0x9E3779B9u) ^ (now_ms << 15) ^ SYSTICK_NOW;
    id = (id ^ id >> 16) * 0x85EBCA6Bu;
    id = (id ^ id >> 13) * 0xC2B2AE35u;
    return id ^ id >> 16;
}

const char *hwl_board_device_id(void) { return "mps2-an385"; }

void hwl_board_idle(void) { __asm volatile("wfi"); }

int main(void) {
    SYSTICK_RELOAD = CLOCK_HZ / 1000u - 1u;
    SYSTICK_NOW = 0;
    SYSTICK_CONTROL = SYSTICK_ON;
    UART0->divider = CLOCK_HZ / HWL_BAUD;
    UART0->control = CONTROL_ON;
    NVIC_ENABLE = UART0_RECEIVE_BIT;
    hwl_main();
    return 0;
}
