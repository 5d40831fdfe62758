// CRC32C (Castagnoli, RFC 3720 section 12.1) by hardware where there is any.
#ifndef DSMIL_CRC32C_H
#define DSMIL_CRC32C_H

#include <stddef.h>
#include <stdint.h>

// Chooses the implementation for this processor; call once before dsmil_crc32c.
void dsmil_crc32c_choose(void);
// Continues `crc` (0 to begin) over `bytes`.
uint32_t dsmil_crc32c(uint32_t crc, const void *bytes, size_t length);
uint32_t dsmil_crc32c_table(uint32_t crc, const void *bytes, size_t length);
// `sse4.2`, `armv8-crc` or `table`.
const char *dsmil_crc32c_name(void);

#endif
