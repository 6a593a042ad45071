#include "info.h"

#include <string.h>

#include "hwl_config.h"

#define NAME_CHARACTERS 63u

typedef struct {
    char *text;
    uint32_t count;
} writer;

static void put(writer *to, const char *text) {
    size_t count = strlen(text);
    if (count < HWL_INFO_ROOM - to->count) {
        memcpy(to->text + to->count, text, count);
        to->count += (uint32_t)count;
    }
}

/* A name in quotes: what JSON or a terminal might take for more than a character becomes an underscore. */
static void put_name(writer *to, const char *name) {
    char safe[NAME_CHARACTERS + 1u];
    uint32_t k;
    for (k = 0; k < NAME_CHARACTERS && name[k] != '\0'; k++) {
        safe[k] = name[k] < ' ' || name[k] > '~' || name[k] == '"' || name[k] == '\\' ? '_' : name[k];
    }
    safe[k] = '\0';
    put(to, "\"");
    put(to, safe);
    put(to, "\"");
}

static void put_number(writer *to, const char *key, uint32_t value) {
    char digits[11];
    uint32_t at = sizeof digits - 1u;
    digits[at] = '\0';
    do {
        digits[--at] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value > 0);
    put(to, key);
    put(to, digits + at);
}

uint32_t hwl_info_write(char text[HWL_INFO_ROOM], const char *name) {
    writer to;
    to.text = text;
    to.count = 0;
    put(&to, "{\"format\": \"hwloop-device\", \"version\": 1, \"kind\": \"fixed\", \"device_id\": ");
    put_name(&to, name);
    put(&to, ", \"firmware\": \"" HWL_FIRMWARE "\", \"ran_on\": \"" HWL_RAN_ON "\", \"limits\": {");
    /* what memory alone allows: 12 bytes of state a neuron, a byte a synapse, and an input unit has at least a synapse */
    put_number(&to, "\"neurons\": ", HWL_STATE_BYTES / 12u);
    put_number(&to, ", \"inputs\": ", HWL_PROGRAM_BYTES);
    put_number(&to, ", \"synapses\": ", HWL_PROGRAM_BYTES);
    put_number(&to, ", \"max_delay\": ", 63u);
    put_number(&to, ", \"max_ticks\": ", HWL_MAX_TICKS);
    put(&to, ", \"recurrent\": true, \"bias\": true, \"starts\": true");
    put_number(&to, ", \"state_bytes\": ", HWL_STATE_BYTES);
    put(&to, "}, \"dt\": null}");
    return to.count;
}
