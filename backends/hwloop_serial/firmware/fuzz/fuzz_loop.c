/*
 * A plain loop for where there is no libFuzzer: steps drawn from a seed, executed for a number of seconds. Use: SECONDS [SEED].
 * Prints the executions; a sanitizer stops it, and the last input then stands in crash-input.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MOST_BYTES 1024u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;
static uint8_t bytes[MOST_BYTES];
static size_t count;

static uint32_t drawn(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 16);
}

/* Small numbers and zeros are drawn more often than others: lengths, offsets and counts are small. */
static void draw(void) {
    size_t k;
    count = drawn() % MOST_BYTES;
    for (k = 0; k < count; k++) {
        uint32_t kind = drawn() % 4u;
        bytes[k] = (uint8_t)(kind == 0 ? 0 : kind == 1 ? drawn() % 16u : drawn());
    }
}

static void save(void) {
    FILE *file = fopen("crash-input", "wb");
    if (file != NULL) {
        fwrite(bytes, 1, count, file);
        fclose(file);
    }
}

/* Called by the sanitizers before they end the program. */
void __sanitizer_set_death_callback(void (*callback)(void));

int main(int arguments, char **argument) {
    double seconds = arguments > 1 ? strtod(argument[1], NULL) : 10.0;
    unsigned long executions = 0;
    time_t end = time(NULL) + (time_t)seconds;
    state = (arguments > 2 ? strtoull(argument[2], NULL, 10) : 1u) * 0x9E3779B97F4A7C15u | 1u;
    __sanitizer_set_death_callback(save);
    do {
        draw();
        LLVMFuzzerTestOneInput(bytes, count);
        executions++;
    } while (time(NULL) < end);
    printf("%lu executions, no crash\n", executions);
    return 0;
}
