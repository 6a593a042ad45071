/* At most once: a command whose sequence number came before is answered from memory. PROTOCOL.md, section 3. */
#ifndef HWL_SESSION_H
#define HWL_SESSION_H

#include "hwl_config.h"
#include "messages.h"

#if HWL_COUNTERS
#define HWL_KEPT_BYTES 48u /* the longest reply to a command: CALL's has 10 and what it counted */
#else
#define HWL_KEPT_BYTES 16u /* the longest reply to a command: CALL's and ERROR's have 10 and 11 */
#endif

typedef struct {
    uint32_t number; /* of the session; 0: none yet */
    uint32_t last;   /* sequence of the last command; 0: none yet */
    uint8_t type;    /* of the kept reply */
    uint8_t length;
    uint8_t body[HWL_KEPT_BYTES];
} hwl_session;

typedef enum { HWL_FRESH, HWL_AGAIN, HWL_TOO_OLD } hwl_turn;

/* Whether requests of this type take effect at most once. */
int hwl_is_command(uint8_t type);

/* A HELLO of session `number`: 1 if it opens another one than is open. */
int hwl_session_open(hwl_session *session, uint32_t number);

/* What a command with this sequence number is. */
hwl_turn hwl_session_turn(const hwl_session *session, uint32_t sequence);

/* Keeps the reply of the command that was just done. */
void hwl_session_keep(hwl_session *session, uint32_t sequence, uint8_t type, const uint8_t *body, uint8_t length);

#endif
