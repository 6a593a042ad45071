#include "sha256.h"

#include <string.h>

#define BLOCK 64u

static const uint32_t start[8] = {
    0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

static const uint32_t rounds[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

static uint32_t turned(uint32_t x, unsigned n) { return x >> n | x << (32u - n); }

static uint32_t get_big(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_big(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 24);
    at[1] = (uint8_t)(value >> 16);
    at[2] = (uint8_t)(value >> 8);
    at[3] = (uint8_t)value;
}

/* The message schedule in a ring of 16 words: w[t & 15] for round t. */
static uint32_t scheduled(uint32_t w[16], unsigned t) {
    uint32_t a = w[(t + 1u) & 15u], b = w[(t + 14u) & 15u];
    if (t >= 16u) {
        w[t & 15u] += (turned(a, 7) ^ turned(a, 18) ^ a >> 3) + w[(t + 9u) & 15u] + (turned(b, 17) ^ turned(b, 19) ^ b >> 10);
    }
    return w[t & 15u];
}

static void compress(uint32_t hash[8], const uint8_t *block) {
    uint32_t w[16], s[8];
    unsigned t;
    for (t = 0; t < 16; t++) {
        w[t] = get_big(block + 4 * t);
    }
    memcpy(s, hash, sizeof s);
    for (t = 0; t < 64; t++) {
        uint32_t sum1 = turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25);
        uint32_t one = s[7] + sum1 + ((s[4] & s[5]) ^ (~s[4] & s[6])) + rounds[t] + scheduled(w, t);
        uint32_t sum0 = turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22);
        uint32_t two = sum0 + ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (t = 0; t < 8; t++) {
        hash[t] += s[t];
    }
}

void hwl_sha256(const uint8_t *bytes, size_t count, uint8_t digest[HWL_DIGEST_BYTES]) {
    uint32_t hash[8];
    uint8_t last[2 * BLOCK] = {0};
    size_t done = 0, rest = count % BLOCK, tail = rest < BLOCK - 8u ? BLOCK : 2u * BLOCK;
    uint64_t bits = (uint64_t)count * 8u;
    unsigned k;
    memcpy(hash, start, sizeof hash);
    for (; count - done >= BLOCK; done += BLOCK) {
        compress(hash, bytes + done);
    }
    if (rest > 0) { /* bytes may be no pointer at all where count is 0 */
        memcpy(last, bytes + done, rest);
    }
    last[rest] = 0x80;
    put_big(last + tail - 8, (uint32_t)(bits >> 32));
    put_big(last + tail - 4, (uint32_t)bits);
    for (done = 0; done < tail; done += BLOCK) {
        compress(hash, last + done);
    }
    for (k = 0; k < 8; k++) {
        put_big(digest + 4 * k, hash[k]);
    }
}
