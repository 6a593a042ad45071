/* Numbers of the messages: PROTOCOL.md, sections 1, 2, 4 and 6. */
#ifndef HWL_MESSAGES_H
#define HWL_MESSAGES_H

#include <stdint.h>

/* CRC-32 of the schema lines of section 2; a test takes it from the page. */
#define HWL_SCHEMA 0xC75902D6u
#define HWL_HELLO_SEED 0x48574C50u

enum {
    HWL_HELLO = 0x01,
    HWL_STATUS = 0x02,
    HWL_BEGIN = 0x03,
    HWL_WRITE = 0x04,
    HWL_SEAL = 0x05,
    HWL_RUN = 0x06,
    HWL_READ = 0x07,
    HWL_RESET = 0x08,
    HWL_CALL = 0x09,
    HWL_CONFIGURE = 0x0A,
    HWL_LAST_REQUEST = HWL_CONFIGURE,
    HWL_REPLY = 0x80,
    HWL_ERROR = 0xFF
};

enum { HWL_INFO = 0, HWL_PROGRAM = 1, HWL_INPUT = 2, HWL_ARGUMENT = 3, HWL_OUTPUT = 4, HWL_RESULT = 5 };

enum { HWL_KIND_FIXED = 2 };

typedef enum {
    HWL_OK = 0,
    HWL_WRONG_SESSION = 1,
    HWL_WRONG_BOOT = 2,
    HWL_OLD = 3,
    HWL_MALFORMED = 4,
    HWL_UNKNOWN = 5,
    HWL_BUSY = 6,
    HWL_TOO_LARGE = 7,
    HWL_OUT_OF_RANGE = 8,
    HWL_WRONG_TRANSFER = 9,
    HWL_BAD_IMAGE = 10,
    HWL_NO_PROGRAM = 11,
    HWL_NO_INPUT = 12,
    HWL_WRONG_PROGRAM = 13,
    HWL_WRONG_INPUT = 14,
    HWL_WRONG_SETTINGS = 15,
    HWL_BAD_INPUT = 16,
    HWL_OVERFLOW = 17,
    HWL_WRONG_TAG = 18,
    HWL_ABORTED = 19,
    HWL_FAILED = 20
} hwl_code;

/* An error with its two numbers; code HWL_OK: none. */
typedef struct {
    hwl_code code;
    uint32_t detail;
    uint32_t other;
} hwl_error;

#endif
