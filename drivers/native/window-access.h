// What register-window.c, window-batch.c and window-guard.c share: windows, their guard and one access.
#ifndef DSMIL_WINDOW_ACCESS_H
#define DSMIL_WINDOW_ACCESS_H

#include "native.h"
#include <setjmp.h>
#include <stdbool.h>

_Static_assert(sizeof(void *) == 8, "registers of 64 bits need one load");

enum code {
  CODE_CLOSED = 1,
  CODE_EXCEEDED = 2,
  CODE_MISALIGNED = 3,
  CODE_READ_ONLY = 4,
  CODE_BUS_ERROR = 5,
  CODE_VALUE = 6,
  CODE_WIDTH = 7,
  CODE_ARGUMENT = 8,
};

// A handle is generation * 4096 + slot; generations start at 1, so no handle is below 4096.
#define SLOT_BITS 12
#define SLOT_COUNT (1u << SLOT_BITS)
#define GENERATION_MAX ((1u << (31 - SLOT_BITS)) - 1)
#define LENGTH_MAX 4294967296.0

struct window {
  volatile uint8_t *base;  // NULL when the slot is free
  uint64_t length;
  void *mapping;
  size_t mapping_length;
  uint32_t generation;
  bool writable;
};

struct table {
  uint32_t next_slot;
  struct window windows[SLOT_COUNT];
};

// ---- The guard: a bus error inside a guarded access returns to it instead of ending the process.

struct guard {
  sigjmp_buf jump;
  const struct table *table;
  volatile uint32_t progress;
};

// Armed while an access runs on this thread. Initial-exec, so that reading it in a signal handler never allocates.
extern _Thread_local struct guard *volatile dsmil_window_guard __attribute__((tls_model("initial-exec")));

// Installs the signal handlers once per process; 0 or an errno.
int dsmil_install_window_guard(void);

// ---- One access. Order as Linux readl and writel (Documentation/memory-barriers.txt, "KERNEL I/O BARRIER EFFECTS").

#if defined(__x86_64__)
#define AFTER_READ() __asm__ volatile("" ::: "memory")
#define BEFORE_WRITE() __asm__ volatile("" ::: "memory")
#elif defined(__aarch64__)
#define AFTER_READ() __asm__ volatile("dmb oshld" ::: "memory")
#define BEFORE_WRITE() __asm__ volatile("dmb oshst" ::: "memory")
#else
#define AFTER_READ() __sync_synchronize()
#define BEFORE_WRITE() __sync_synchronize()
#endif

static inline uint64_t load(const volatile uint8_t *address, uint32_t bytes) {
  uint64_t value;
  switch (bytes) {
    case 1: value = *address; break;
    case 2: value = *(const volatile uint16_t *)address; break;
    case 4: value = *(const volatile uint32_t *)address; break;
    default: value = *(const volatile uint64_t *)address; break;
  }
  AFTER_READ();
  return value;
}

static inline void store(volatile uint8_t *address, uint32_t bytes, uint64_t value) {
  BEFORE_WRITE();
  switch (bytes) {
    case 1: *address = (uint8_t)value; break;
    case 2: *(volatile uint16_t *)address = (uint16_t)value; break;
    case 4: *(volatile uint32_t *)address = (uint32_t)value; break;
    default: *(volatile uint64_t *)address = value; break;
  }
}

static inline struct window *window_of(struct table *table, uint32_t handle) {
  struct window *window = &table->windows[handle & (SLOT_COUNT - 1)];
  return window->base != NULL && window->generation == handle >> SLOT_BITS ? window : NULL;
}

static inline int check(const struct window *window, uint64_t offset, uint32_t bytes) {
  if (window->length < bytes || offset > window->length - bytes) return CODE_EXCEEDED;
  // The page offset of the mapping equals that of the device, so the pointer's alignment is the bus's.
  if (((uintptr_t)window->base + offset) & (bytes - 1)) return CODE_MISALIGNED;
  return 0;
}

// Reads and writes of many registers, on the same table (window-batch.c).
void dsmil_init_window_batch(napi_env env, napi_value exports, struct table *table);

#endif
