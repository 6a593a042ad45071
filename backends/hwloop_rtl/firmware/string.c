/* What the firmware takes of the C library: whole words where both ends stand at multiples of four. */
#include <string.h>

#include <stdint.h>

#define WORD 4u
#define ODD(at) (((uintptr_t)(at)&3u) != 0)

/* Memory may be read as words whatever type it has: this file is compiled with -fno-strict-aliasing. */
void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (!ODD(t) && !ODD(f)) {
        for (; count >= 4u * WORD; count -= 4u * WORD, t += 4u * WORD, f += 4u * WORD) {
            uint32_t *w = (uint32_t *)(void *)t;
            const uint32_t *r = (const uint32_t *)(const void *)f;
            w[0] = r[0];
            w[1] = r[1];
            w[2] = r[2];
            w[3] = r[3];
        }
        for (; count >= WORD; count -= WORD, t += WORD, f += WORD) {
            *(uint32_t *)(void *)t = *(const uint32_t *)(const void *)f;
        }
    }
    while (count-- > 0) {
        *t++ = *f++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    uint8_t *t = to;
    const uint8_t *f = from;
    if (t <= f || t >= f + count) {
        return memcpy(to, from, count);
    }
    while (count-- > 0) {
        t[count] = f[count];
    }
    return to;
}

void *memset(void *at, int value, size_t count) {
    uint8_t *t = at;
    uint32_t word = (uint8_t)value * 0x01010101u;
    for (; count > 0 && ODD(t); count--) {
        *t++ = (uint8_t)value;
    }
    for (; count >= 8u * WORD; count -= 8u * WORD, t += 8u * WORD) {
        uint32_t *w = (uint32_t *)(void *)t;
        w[0] = w[1] = w[2] = w[3] = word;
        w[4] = w[5] = w[6] = w[7] = word;
    }
    while (count-- > 0) {
        *t++ = (uint8_t)value;
    }
    return at;
}

int memcmp(const void *a, const void *b, size_t count) {
    const uint8_t *x = a, *y = b;
    for (; count > 0; count--, x++, y++) {
        if (*x != *y) {
            return *x < *y ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *text) {
    size_t count = 0;
    while (text[count] != '\0') {
        count++;
    }
    return count;
}
