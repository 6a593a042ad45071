/* The program image, kind "fixed": read and checked before anything of it is used. PROTOCOL.md, section 8. */
#ifndef HWL_IMAGE_H
#define HWL_IMAGE_H

#include "messages.h"

#define HWL_SOURCE_INPUT 0xFFFFFFFFu /* -1: a projection from the input */

/* An image that was checked; `at` is where it stands in memory. Numbers of neurons, inputs and places fit 32 bits. */
typedef struct {
    const uint8_t *at;
    uint32_t bytes;
    uint32_t populations;
    uint32_t projections;
    uint32_t inputs;
    uint32_t neurons;
    uint32_t populations_at;
    uint32_t projections_at;
} hwl_image;

typedef struct {
    uint32_t n;
    uint32_t first;
    uint32_t keep_u;    /* 0..4095 */
    uint32_t keep_v;    /* 1..4096 */
    uint32_t threshold; /* 0..2^23 - 64: never negative */
    const uint8_t *bias, *u_start, *v_start; /* i32[n], or NULL: zeros */
} hwl_population;

typedef struct {
    uint32_t source; /* population, or HWL_SOURCE_INPUT */
    uint32_t start, size;
    uint32_t target;
    uint32_t left, right; /* its exponent, as a shift to the left or to the right */
    uint32_t depth;
    uint8_t code, form;
    const uint8_t *weights;
    const uint8_t *delays;  /* or NULL: all 0 */
    const uint8_t *pointer; /* form list: u32[size + 1] */
    const uint8_t *targets; /* form list: u16, or u32 where `wide` */
    uint32_t n; /* neurons of the target */
    int wide;
} hwl_projection;

enum { HWL_SIGNED = 0, HWL_PLUS = 1, HWL_MINUS = 2 }; /* code */
enum { HWL_DENSE = 0, HWL_LIST = 1 };                 /* form */

/* Checks the `bytes` at `at` and fills `image`, or says what is wrong: BAD_IMAGE, detail = offset of the field. */
hwl_error hwl_image_read(hwl_image *image, const uint8_t *at, uint32_t bytes);

/* Parts of an image that was checked. */
void hwl_image_population(const hwl_image *image, uint32_t index, hwl_population *population);
void hwl_image_projection(const hwl_image *image, uint32_t index, hwl_projection *projection);

#endif
