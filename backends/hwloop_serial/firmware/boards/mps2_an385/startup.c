/* Vector table, and what happens before main: memory as C expects it. */
#include <stdint.h>
#include <string.h>

extern uint32_t stack_top;
extern uint8_t data_start[], data_end[], data_load[], bss_start[], bss_end[];

int main(void);
void reset(void);
void systick(void);
void uart0_receive(void);

#define AIRCR (*(volatile uint32_t *)0xE000ED0Cu)
#define AIRCR_KEY_AND_RESET 0x05FA0004u

/* A fault starts the board anew: the host sees another boot id, and uploads again. */
static void restart(void) {
    AIRCR = AIRCR_KEY_AND_RESET;
    for (;;) {
    }
}

void reset(void) {
    memcpy(data_start, data_load, (size_t)(data_end - data_start));
    memset(bss_start, 0, (size_t)(bss_end - bss_start));
    main();
    restart();
}

/* Interrupt 0 is what UART 0 has received; no other is switched on. */
__attribute__((section(".vectors"), used)) static void *const vectors[17] = {
    &stack_top, (void *)reset,   (void *)restart, (void *)restart, (void *)restart, (void *)restart,
    (void *)restart, 0, 0, 0, 0, (void *)restart, (void *)restart, 0, (void *)restart, (void *)systick,
    (void *)uart0_receive,
};
