# void execute(uint32_t job[4], const uint32_t *code): x6 and x7 are job[0] and job[1]; afterwards job[2] is x5, job[3] is x28.
    .globl execute
    .section .text.execute, "ax"
execute:
    addi sp, sp, -16
    sw s0, 0(sp)
    sw ra, 4(sp)
    mv s0, a0
    lw t1, 0(s0)
    lw t2, 4(s0)
    li t0, 0x5A5A5A5A
    li t3, 0
    la t4, 1f
    jr a1
1:  sw t0, 8(s0)
    sw t3, 12(s0)
    lw s0, 0(sp)
    lw ra, 4(sp)
    addi sp, sp, 16
    ret
