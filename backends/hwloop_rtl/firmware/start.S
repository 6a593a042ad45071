# What happens before main: a stack, and variables at zero. There are no variables with other values (rtl.ld refuses them): after a
# restart the memory is what it was.
    .section .start, "ax"
    .globl start
start:
    la sp, stack_top
    la a0, bss_start
    la a1, bss_end
1:  bgeu a0, a1, 2f
    sw zero, 0(a0)
    addi a0, a0, 4
    j 1b
2:  call main
    ebreak
