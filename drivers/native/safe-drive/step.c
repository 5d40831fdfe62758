// Windows and sysfs attributes: one store of the register's width, one write(2); and what is read back of them.
// Invariants: a bus error ends one access, not the steps that come after it; nothing beyond the end of a file is touched.

#define _GNU_SOURCE
#include "step.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

bool failed(char *finding, const char *attempt, int error) {
  snprintf(finding, FINDING_BYTES, "%s: %s", attempt, strerror(error));
  return false;
}

static bool differs(const struct step *step, uint64_t seen, char *finding) {
  if ((seen & step->mask) == step->expected) return true;
  snprintf(finding, FINDING_BYTES, "wrote 0x%llX, read back 0x%llX", (unsigned long long)step->expected,
           (unsigned long long)(seen & step->mask));
  return false;
}

// --- Windows -------------------------------------------------------------------------------------

struct window {
  unsigned char *mapped, *at;
  size_t size;
};

static sigjmp_buf bus_error;

static void on_bus_error(int number) {
  (void)number;
  siglongjmp(bus_error, 1);
}

static bool map_window(const struct bus *bus, const struct step *step, struct window *window, char *finding) {
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes = step->width_bits / 8;
  uint64_t from = step->mapping >= 0 ? (uint64_t)step->mapping : step->position - step->position % page;
  int fd = open(bus->path, O_RDWR | O_CLOEXEC | (bus->synchronous ? O_SYNC : 0));
  if (fd < 0) return failed(finding, "the window cannot be opened", errno);
  struct stat status;
  // A file has an end behind which a store would be lost or fatal. Devices check for themselves, and whoever named the
  // beginning of the mapping has checked its end: a small PCI BAR lies somewhere in its page.
  if (step->mapping < 0 && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && step->position + bytes > (uint64_t)status.st_size) {
    close(fd);
    return failed(finding, "the window ends before the register", ENXIO);
  }
  window->size = (size_t)(step->position - from + bytes);
  window->mapped = mmap(NULL, window->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)from);
  int error = errno;
  close(fd);
  if (window->mapped == MAP_FAILED) return failed(finding, "the window cannot be mapped", error);
  window->at = window->mapped + (step->position - from);
  return true;
}

static uint64_t load(const unsigned char *at, unsigned width_bits) {
  switch (width_bits) {
    case 8: return *(const volatile uint8_t *)at;
    case 16: return *(const volatile uint16_t *)at;
    case 32: return *(const volatile uint32_t *)at;
    default: return *(const volatile uint64_t *)at;
  }
}

static void store(unsigned char *at, unsigned width_bits, uint64_t value) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  switch (width_bits) {
    case 8: *(volatile uint8_t *)at = (uint8_t)value; return;
    case 16: *(volatile uint16_t *)at = (uint16_t)value; return;
    case 32: *(volatile uint32_t *)at = (uint32_t)value; return;
    default: *(volatile uint64_t *)at = value; return;
  }
}

enum access { ACCESS_STORE, ACCESS_LOAD };

static bool access_window(const struct bus *bus, const struct step *step, enum access access, uint64_t *seen, char *finding) {
  struct window window;
  if (!map_window(bus, step, &window, finding)) return false;
  struct sigaction guard = {.sa_handler = on_bus_error, .sa_flags = SA_NODEFER}, bus_before, fault_before;
  sigaction(SIGBUS, &guard, &bus_before);
  sigaction(SIGSEGV, &guard, &fault_before);
  bool sound = sigsetjmp(bus_error, 1) == 0;
  if (sound) {
    if (access == ACCESS_STORE) store(window.at, step->width_bits, step->value);
    else *seen = load(window.at, step->width_bits);
  }
  sigaction(SIGBUS, &bus_before, NULL);
  sigaction(SIGSEGV, &fault_before, NULL);
  munmap(window.mapped, window.size);
  return sound || failed(finding, "the window raised a bus error", EIO);
}

// --- Sysfs ---------------------------------------------------------------------------------------

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

static bool write_attribute(const struct step *step, char *finding) {
  char line[64];
  int length = snprintf(line, sizeof line, "%s\n", glitch_free(step));
  int fd = open(step->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return failed(finding, "the attribute cannot be opened", errno);
  ssize_t taken = write(fd, line, (size_t)length);
  int error = taken < 0 ? errno : EIO;
  close(fd);
  return taken == length || failed(finding, "the attribute did not take the write", error);
}

static bool confirm_attribute(const struct step *step, char *finding) {
  char text[256], *end;
  if (read_attribute(step->path, text, sizeof text) <= 0) return failed(finding, "not read back", errno);
  if (step->form != TEXT_NUMBER) {
    if (strcmp(text, step->text) == 0) return true;
    snprintf(finding, FINDING_BYTES, "wrote %s, read back %.24s", step->text, text);
    return false;
  }
  errno = 0;
  bool negative = text[0] == '-';
  bool hexadecimal = strncmp(text + negative, "0x", 2) == 0 || strncmp(text + negative, "0X", 2) == 0;
  unsigned long long magnitude = strtoull(text + negative, &end, hexadecimal ? 16 : 10);
  if (errno != 0 || end == text + negative || (*end != '\0' && *end != ' ') || text[negative] == '-' || text[negative] == '+') {
    snprintf(finding, FINDING_BYTES, "read back %.24s, which is no number", text);
    return false;
  }
  uint64_t word = negative ? (uint64_t)0 - magnitude : magnitude;
  return differs(step, step->width_bits == 64 ? word : word & ((UINT64_C(1) << step->width_bits) - 1), finding);
}

// --- Any mechanism -------------------------------------------------------------------------------

bool step_perform(const struct bus *bus, const struct step *step, char *finding) {
  switch (step->kind) {
    case STEP_WINDOW: return access_window(bus, step, ACCESS_STORE, NULL, finding);
    case STEP_SYSFS: return write_attribute(step, finding);
    case STEP_I2C: return i2c_write(bus, step, finding);
    case STEP_SERIAL: return serial_write(bus, step, finding);
    case STEP_ABSENT: break;
  }
  return false;
}

bool step_confirm(const struct bus *bus, const struct step *step, char *finding) {
  uint64_t seen = 0;
  if (step->mask == 0) return true;
  if (step->kind == STEP_SYSFS) return confirm_attribute(step, finding);
  if (step->kind != STEP_WINDOW) return true;
  return access_window(bus, step, ACCESS_LOAD, &seen, finding) && differs(step, seen, finding);
}
