// CRC32C three ways with one answer: SSE4.2, the ARMv8 CRC extension, and a table for everything else.

#define _GNU_SOURCE
#include "crc32c.h"
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

enum { POLYNOMIAL_REFLECTED = 0x82F63B78 };

typedef uint32_t (*crc_function)(uint32_t, const void *, size_t);

static uint32_t table[256];
static crc_function chosen = dsmil_crc32c_table;
static const char *chosen_name = "table";

uint32_t dsmil_crc32c_table(uint32_t crc, const void *bytes, size_t length) {
  const unsigned char *at = bytes;
  crc = ~crc;
  while (length-- > 0) crc = table[(crc ^ *at++) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_sse42(uint32_t crc, const void *bytes, size_t length) {
  const unsigned char *at = bytes;
  uint64_t wide = (uint32_t)~crc;
  for (; length >= 8; length -= 8, at += 8) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    wide = _mm_crc32_u64(wide, word);
  }
  uint32_t narrow = (uint32_t)wide;
  while (length-- > 0) narrow = _mm_crc32_u8(narrow, *at++);
  return ~narrow;
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) static uint32_t by_armv8(uint32_t crc, const void *bytes, size_t length) {
  const unsigned char *at = bytes;
  crc = ~crc;
  for (; length >= 8; length -= 8, at += 8) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    crc = __crc32cd(crc, word);
  }
  while (length-- > 0) crc = __crc32cb(crc, *at++);
  return ~crc;
}
#endif

void dsmil_crc32c_choose(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? (uint32_t)POLYNOMIAL_REFLECTED : 0);
    table[byte] = crc;
  }
#if defined(__x86_64__)
  if (__builtin_cpu_supports("sse4.2")) {
    chosen = by_sse42;
    chosen_name = "sse4.2";
  }
#elif defined(__aarch64__)
  if (getauxval(AT_HWCAP) & HWCAP_CRC32) {
    chosen = by_armv8;
    chosen_name = "armv8-crc";
  }
#endif
}

uint32_t dsmil_crc32c(uint32_t crc, const void *bytes, size_t length) {
  return chosen(crc, bytes, length);
}

const char *dsmil_crc32c_name(void) {
  return chosen_name;
}
