#include "device.h"
#include "hwl_board.h"

#define READ_AT_ONCE 64u

void hwl_main(void) {
    static hwl_device device;
    uint8_t bytes[READ_AT_ONCE];
    hwl_device_begin(&device);
    for (;;) {
        size_t count = hwl_board_read(bytes, sizeof bytes);
        hwl_device_take(&device, bytes, count);
        if (!hwl_device_go_on(&device) && count == 0) {
            hwl_board_idle();
        }
    }
}
