/* INFO: what the device says of itself, as JSON. PROTOCOL.md, section 7. */
#ifndef HWL_INFO_H
#define HWL_INFO_H

#include <stdint.h>

#define HWL_INFO_ROOM 768u /* bytes; the text is shorter, its numbers and names being bounded */

/* Writes the text for the device `name` into `text`; returns its length (bytes). */
uint32_t hwl_info_write(char text[HWL_INFO_ROOM], const char *name);

#endif
