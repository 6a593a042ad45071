/* CRC-32 of zlib: reflected, polynomial EDB88320. */
#ifndef HWL_CRC32_H
#define HWL_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* zlib.crc32(bytes, start); the crc of a whole is that of its second part started with that of its first. */
uint32_t hwl_crc32(uint32_t start, const uint8_t *bytes, size_t count);

#endif
