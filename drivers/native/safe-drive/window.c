// Registers in mapped windows: one store or load of the register's width.
// Invariants: a bus error ends one access, not the steps that come after it; nothing beyond the end of a file is touched.

#define _GNU_SOURCE
#include "step.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

// Loads into `word`, or stores the step's value where there is none.
static bool access_window(const struct bus *bus, const struct step *step, uint64_t *word, char *finding) {
  struct window window;
  if (!map_window(bus, step, &window, finding)) return false;
  struct sigaction guard = {.sa_handler = on_bus_error, .sa_flags = SA_NODEFER}, bus_before, fault_before;
  sigaction(SIGBUS, &guard, &bus_before);
  sigaction(SIGSEGV, &guard, &fault_before);
  bool sound = sigsetjmp(bus_error, 1) == 0;
  if (sound) {
    if (word == NULL) store(window.at, step->width_bits, step->value);
    else *word = load(window.at, step->width_bits);
  }
  sigaction(SIGBUS, &bus_before, NULL);
  sigaction(SIGSEGV, &fault_before, NULL);
  munmap(window.mapped, window.size);
  return sound || failed(finding, "the window raised a bus error", EIO);
}

bool window_write(const struct bus *bus, const struct step *step, char *finding) {
  return access_window(bus, step, NULL, finding);
}

bool window_read(const struct bus *bus, const struct step *step, uint64_t *word, char *finding) {
  return access_window(bus, step, word, finding);
}
