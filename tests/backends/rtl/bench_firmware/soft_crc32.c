/* The firmware's own, to be compared with the chip's. */
#define hwl_crc32 soft_crc32
#include "crc32.c"
