// One step on any mechanism, what a reading of it says, and the waits that the mechanisms share.

#define _GNU_SOURCE
#include "step.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void sleep_ms(int64_t ms) {
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  while (ms > 0 && nanosleep(&left, &left) < 0 && errno == EINTR) continue;
}

bool wait_for(int fd, short events, int64_t until_ms) {
  struct pollfd one = {.fd = fd, .events = events};
  for (;;) {
    int64_t left = until_ms - now_ms();
    if (left <= 0) return false;
    int ready = poll(&one, 1, (int)left);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool send_all(int fd, const unsigned char *bytes, size_t count, int64_t until_ms) {
  while (count > 0) {
    ssize_t sent = write(fd, bytes, count);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) {
      bytes += sent;
      count -= (size_t)sent;
    } else if (!wait_for(fd, POLLOUT, until_ms)) {
      errno = ETIMEDOUT;
      return false;
    }
  }
  return true;
}

bool failed(char *finding, const char *attempt, int error) {
  snprintf(finding, FINDING_BYTES, "%s: %s", attempt, strerror(error));
  return false;
}

static void show_word(const struct step *step, uint64_t word, char *shown) {
  snprintf(shown, SHOWN_BYTES, "0x%0*llX", (int)(step->width_bits / 4), (unsigned long long)word);
}

void step_show(const struct step *step, char *shown) {
  if (step->kind == STEP_SYSFS) snprintf(shown, SHOWN_BYTES, "%s", step->text);
  else show_word(step, step->value, shown);
}

bool step_write(const struct bus *bus, const struct step *step, int64_t until_ms, char *finding) {
  switch (step->kind) {
    case STEP_WINDOW: return window_write(bus, step, finding);
    case STEP_SYSFS: return sysfs_write(step, finding);
    case STEP_I2C: return i2c_write(bus, step, until_ms, finding);
    case STEP_SERIAL: return modbus_write(bus, step, until_ms, finding);
    case STEP_ABSENT: break;
  }
  return false;
}

bool step_read(const struct bus *bus, const struct step *step, int64_t until_ms, struct reading *reading, char *finding) {
  uint64_t word = 0;
  bool read = false;
  switch (step->kind) {
    case STEP_WINDOW: read = window_read(bus, step, &word, finding); break;
    case STEP_SYSFS: return sysfs_read(step, reading, finding);
    case STEP_I2C: read = i2c_read(bus, step, until_ms, &word, finding); break;
    case STEP_SERIAL: read = modbus_read(bus, step, until_ms, &word, finding); break;
    case STEP_ABSENT: break;
  }
  if (!read) return false;
  show_word(step, word, reading->shown);
  reading->holds = (word & step->mask) == step->expected;
  return true;
}
