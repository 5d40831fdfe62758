// Sysfs attributes: one write(2), and what the attribute shows afterwards.

#define _GNU_SOURCE
#include "step.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t read_attribute(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return -1;
  ssize_t length = read(fd, text, size - 1);
  int error = errno;
  close(fd);
  errno = error;
  if (length < 0) return -1;
  text[length] = '\0';
  text[strcspn(text, "\n")] = '\0';
  return length;
}

// Turning a line to output keeps the level it has: `out` alone drives it low.
static const char *glitch_free(const struct step *step) {
  char path[1100], text[32];
  const char *name = strrchr(step->path, '/');
  if (step->form != TEXT_DIRECTION || strcmp(step->text, "out") != 0) return step->text;
  snprintf(path, sizeof path, "%.*s/value", (int)(name - step->path), step->path);
  if (read_attribute(path, text, sizeof text) <= 0) return step->text;
  return strcmp(text, "1") == 0 ? "high" : "low";
}

bool sysfs_write(const struct step *step, char *finding) {
  char line[64];
  int length = snprintf(line, sizeof line, "%s\n", glitch_free(step));
  int fd = open(step->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return failed(finding, "the attribute cannot be opened", errno);
  ssize_t taken = write(fd, line, (size_t)length);
  int error = taken < 0 ? errno : EIO;
  close(fd);
  return taken == length || failed(finding, "the attribute did not take the write", error);
}

// The word that a number stands for, in two's complement of the register's width.
static bool word_of(const struct step *step, const char *text, uint64_t *word) {
  char *end;
  bool negative = text[0] == '-';
  const char *digits = text + negative;
  bool hexadecimal = strncmp(digits, "0x", 2) == 0 || strncmp(digits, "0X", 2) == 0;
  if (*digits < '0' || *digits > '9') return false;
  errno = 0;
  unsigned long long magnitude = strtoull(digits, &end, hexadecimal ? 16 : 10);
  if (errno != 0 || end == digits || (*end != '\0' && *end != ' ')) return false;
  *word = negative ? (uint64_t)0 - magnitude : magnitude;
  if (step->width_bits < 64) *word &= (UINT64_C(1) << step->width_bits) - 1;
  return true;
}

bool sysfs_read(const struct step *step, struct reading *reading, char *finding) {
  char text[256];
  uint64_t word = 0;
  errno = 0;
  if (read_attribute(step->path, text, sizeof text) <= 0) return failed(finding, "the attribute is not read", errno);
  snprintf(reading->shown, SHOWN_BYTES, "%.24s", text);
  // It goes to the journal.
  for (char *at = reading->shown; *at != '\0'; at++) {
    if (*at < ' ' || *at > '~') *at = '?';
  }
  if (step->form != TEXT_NUMBER) reading->holds = strcmp(text, step->text) == 0;
  else reading->holds = word_of(step, text, &word) && (word & step->mask) == step->expected;
  return true;
}
