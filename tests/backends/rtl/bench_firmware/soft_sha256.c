/* The firmware's own, to be compared with the chip's. */
#define hwl_sha256 soft_sha256
#include "sha256.c"
