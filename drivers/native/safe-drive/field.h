// Fields of a line of a plan: one way to write each thing, and every number in its range.
#ifndef DSMIL_SAFE_DRIVE_FIELD_H
#define DSMIL_SAFE_DRIVE_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FIELDS_MAX = 14 };

struct line {
  char *fields[FIELDS_MAX];
  size_t count;
};

// Divides `text` in place: single spaces between fields of printable characters, and nothing else. Null, or what is odd.
const char *field_divide(struct line *line, char *text);
// Decimal without sign or leading zeros.
bool field_decimal(const char *text, uint64_t maximum, uint64_t *value);
bool field_small(const char *text, unsigned maximum, unsigned *value);
// Exactly `digits` lower-case hexadecimal digits, at most 16.
bool field_hexadecimal(const char *text, size_t digits, uint64_t *value);
// Exactly `digits` lower-case hexadecimal digits of something that is no number here.
bool field_is_digest(const char *text, size_t digits);
// Absolute, and nothing in it leads back up.
bool field_is_path(const char *text);
// The place of `text` among `count` names, or -1.
int field_name(const char *text, const char *const *names, size_t count);

#endif
