// Takes single fields strictly, so that two plans that differ never mean the same.

#include "field.h"
#include <string.h>

enum { PATH_LENGTH_MAX = 1023 };

const char *field_divide(struct line *line, char *text) {
  line->count = 0;
  for (char *field = text;;) {
    size_t length = strcspn(field, " ");
    if (length == 0) return "an empty field";
    if (line->count == FIELDS_MAX) return "too many fields";
    line->fields[line->count++] = field;
    for (size_t at = 0; at < length; at++) {
      if (field[at] < '!' || field[at] > '~') return "a character that has no business in a plan";
    }
    if (field[length] == '\0') return NULL;
    field[length] = '\0';
    field += length + 1;
  }
}

bool field_decimal(const char *text, uint64_t maximum, uint64_t *value) {
  uint64_t result = 0;
  if (*text == '\0' || (text[0] == '0' && text[1] != '\0')) return false;
  for (; *text != '\0'; text++) {
    if (*text < '0' || *text > '9') return false;
    unsigned digit = (unsigned)(*text - '0');
    if (digit > maximum || result > (maximum - digit) / 10) return false;
    result = result * 10 + digit;
  }
  *value = result;
  return true;
}

bool field_small(const char *text, unsigned maximum, unsigned *value) {
  uint64_t wide;
  if (!field_decimal(text, maximum, &wide)) return false;
  *value = (unsigned)wide;
  return true;
}

static int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool field_is_digest(const char *text, size_t digits) {
  if (strlen(text) != digits) return false;
  for (; *text != '\0'; text++) {
    if (hex_digit(*text) < 0) return false;
  }
  return true;
}

bool field_hexadecimal(const char *text, size_t digits, uint64_t *value) {
  uint64_t result = 0;
  if (digits > 16 || !field_is_digest(text, digits)) return false;
  for (; *text != '\0'; text++) result = result << 4 | (uint64_t)hex_digit(*text);
  *value = result;
  return true;
}

bool field_is_path(const char *text) {
  size_t length = strlen(text);
  return text[0] == '/' && length > 1 && length <= PATH_LENGTH_MAX && text[length - 1] != '/' &&
         strstr(text, "//") == NULL && strstr(text, "/../") == NULL &&
         (length < 3 || strcmp(text + length - 3, "/..") != 0);
}

int field_name(const char *text, const char *const *names, size_t count) {
  for (size_t at = 0; at < count; at++) {
    if (strcmp(text, names[at]) == 0) return (int)at;
  }
  return -1;
}
