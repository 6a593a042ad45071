/* What each request does; framing, sessions and repeats are dealt with before. */
#ifndef HWL_REQUESTS_H
#define HWL_REQUESTS_H

#include "device.h"

/*
 * Does the request whose body is `body[0 .. length]` and writes the body of the reply and its length into device->reply; or returns
 * the error to answer instead.
 */
hwl_error hwl_request_do(hwl_device *device, uint8_t type, const uint8_t *body, uint16_t length);

#endif
