# From the ROM of a chip whose memory is empty: FIRMWARE_BYTES of the serial flash, from FLASH_AT on, to memory at 0. Their last word is the
# CRC-32 of those before it; where it is not, all is read again. No memory is used before that, only registers.
    .equ FLASH, MEMORY_BYTES + 0x200
    .equ CRC, 0x80000100
    .equ CRC_BYTE, 0x80000104
    .equ WAKE_UP, 0xAB000000
    .equ READ_DATA, 0x03000000
    .equ DESELECT, 4

    .section .start, "ax"
    .globl start
start:
    li s0, FLASH
    li s1, CRC
    li a0, WAKE_UP            # the flash sleeps after the FPGA has read its configuration
    li a1, 8
    jal ra, exchange
    li t0, DESELECT
    sw t0, 0(s0)
    li t0, 400                # more than 30 us at 48 MHz
1:  addi t0, t0, -1
    bnez t0, 1b
    li a0, READ_DATA + FLASH_AT
    li a1, 32
    jal ra, exchange
    li t0, -1
    sw t0, 0(s1)
    li s2, 0
    li s3, FIRMWARE_BYTES - 4
2:  jal ra, byte
    sb a0, 0(s2)
    sw a0, 4(s1)
    addi s2, s2, 1
    bltu s2, s3, 2b
    li s4, 4
3:  jal ra, byte
    sb a0, 0(s2)
    addi s2, s2, 1
    addi s4, s4, -1
    bnez s4, 3b
    li t0, DESELECT
    sw t0, 0(s0)
    lw t0, -4(s2)
    lw t1, 0(s1)
    not t1, t1
    bne t0, t1, start
    jr zero

# a0: the next byte of the flash.
byte:
    li a1, 8
    li a0, 0
# Sends a1 bits of a0, the highest first; a0 is then what came meanwhile.
exchange:
    li t0, 2
    bltz a0, 4f
    li t0, 0
4:  sw t0, 0(s0)
    ori t0, t0, 1
    sw t0, 0(s0)
    add a0, a0, a0
    lw t0, 0(s0)
    or a0, a0, t0
    addi a1, a1, -1
    bnez a1, exchange
    sw zero, 0(s0)
    jr ra
