#include "session.h"

#include <string.h>

int hwl_is_command(uint8_t type) {
    return type == HWL_BEGIN || type == HWL_RUN || type == HWL_RESET || type == HWL_CALL || type == HWL_CONFIGURE;
}

int hwl_session_open(hwl_session *session, uint32_t number) {
    if (session->number == number) {
        return 0;
    }
    memset(session, 0, sizeof *session);
    session->number = number;
    return 1;
}

hwl_turn hwl_session_turn(const hwl_session *session, uint32_t sequence) {
    if (sequence == 0 || sequence < session->last) {
        return HWL_TOO_OLD;
    }
    return sequence == session->last ? HWL_AGAIN : HWL_FRESH;
}

void hwl_session_keep(hwl_session *session, uint32_t sequence, uint8_t type, const uint8_t *body, uint8_t length) {
    session->last = sequence;
    session->type = type;
    session->length = length;
    memcpy(session->body, body, length);
}
