// Mapped register windows: exact-width volatile access under a SIGBUS guard, batches.
// Invariants: every access is checked here, whatever JavaScript passes: handle, bounds, alignment, rights.
//   A table of windows belongs to one environment (one thread), so no lock is needed around it.
//   One access is one load or store instruction of its width; nothing is merged, split or repeated.
// Faults: a refused access returns a negative code; only mapping throws, with the errno name.

#include "native.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
#define BATCH_COUNT_MAX (1u << 27)

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

// Initial-exec, so that reading it in a signal handler on any thread never allocates.
static _Thread_local struct guard *volatile current_guard __attribute__((tls_model("initial-exec")));

static struct sigaction previous_bus;
static struct sigaction previous_segment;
static pthread_once_t guard_once = PTHREAD_ONCE_INIT;
static int guard_error;

static bool inside_windows(const struct table *table, const void *address) {
  uintptr_t at = (uintptr_t)address;
  for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
    const struct window *window = &table->windows[slot];
    uintptr_t start = (uintptr_t)window->mapping;
    if (window->base != NULL && at >= start && at - start < window->mapping_length) return true;
  }
  return false;
}

static void chain(const struct sigaction *previous, int signal_number, siginfo_t *information,
                  void *context) {
  if (previous->sa_flags & SA_SIGINFO) {
    previous->sa_sigaction(signal_number, information, context);
  } else if (previous->sa_handler == SIG_DFL || previous->sa_handler == SIG_IGN) {
    // An ignored fault would repeat for ever, so it ends the process as the kernel itself does.
    signal(signal_number, SIG_DFL);
    raise(signal_number);
  } else {
    previous->sa_handler(signal_number);
  }
}

static void on_fault(int signal_number, siginfo_t *information, void *context) {
  struct guard *guard = current_guard;
  // Arm reports an external abort without a valid fault address as address 0 (ESR_ELx.FnV).
  bool without_address = signal_number == SIGBUS && information->si_addr == NULL;
  if (guard != NULL && information->si_code > 0 &&
      (without_address || inside_windows(guard->table, information->si_addr))) {
    current_guard = NULL;
    siglongjmp(guard->jump, 1);
  }
  int saved_errno = errno;
  chain(signal_number == SIGBUS ? &previous_bus : &previous_segment, signal_number, information, context);
  errno = saved_errno;
}

static void install_guard(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_fault;
  // SA_NODEFER leaves the signal mask alone, so the jump need not restore it (a system call per access).
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGBUS, &action, &previous_bus) != 0 ||
      sigaction(SIGSEGV, &action, &previous_segment) != 0) {
    guard_error = errno;
  }
}

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

// Functions of their own, so that no variable of a caller lives across the jump. False on a bus error.
static inline bool guarded_load(const struct table *table, const volatile uint8_t *address, uint32_t bytes,
                                uint64_t *value) {
  struct guard guard;
  guard.table = table;
  if (sigsetjmp(guard.jump, 0) != 0) return false;
  current_guard = &guard;
  *value = load(address, bytes);
  current_guard = NULL;
  return true;
}

static inline bool guarded_store(const struct table *table, volatile uint8_t *address, uint32_t bytes,
                                 uint64_t value) {
  struct guard guard;
  guard.table = table;
  if (sigsetjmp(guard.jump, 0) != 0) return false;
  current_guard = &guard;
  store(address, bytes, value);
  current_guard = NULL;
  return true;
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

static napi_value code_value(napi_env env, int code) {
  napi_value result = NULL;
  napi_create_int32(env, -code, &result);
  return result;
}

/** Finds the window and offset that the first two arguments name; a code when they name none. */
static inline int locate(napi_env env, struct table *table, napi_value *arguments, uint32_t bytes,
                         struct window **found, uint64_t *offset) {
  uint32_t handle;
  double position;
  if (napi_get_value_uint32(env, arguments[0], &handle) != napi_ok ||
      napi_get_value_double(env, arguments[1], &position) != napi_ok) {
    return CODE_ARGUMENT;
  }
  struct window *window = window_of(table, handle);
  if (window == NULL) return CODE_CLOSED;
  if (!(position >= 0 && position < LENGTH_MAX)) return CODE_EXCEEDED;
  *offset = (uint64_t)position;
  if ((double)*offset != position) return CODE_MISALIGNED;
  *found = window;
  return check(window, *offset, bytes);
}

static inline napi_value read_cell(napi_env env, napi_callback_info info, uint32_t bytes) {
  napi_value arguments[2];
  size_t count = 2;
  void *data;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, &data) != napi_ok) return NULL;
  struct window *window;
  uint64_t offset;
  int code = locate(env, data, arguments, bytes, &window, &offset);
  if (code != 0) return code_value(env, code);
  uint64_t value;
  if (!guarded_load(data, window->base + offset, bytes, &value)) return code_value(env, CODE_BUS_ERROR);
  napi_value result = NULL;
  if (bytes == 8) {
    napi_create_bigint_uint64(env, value, &result);
  } else {
    napi_create_uint32(env, (uint32_t)value, &result);
  }
  return result;
}

static napi_value read8(napi_env env, napi_callback_info info) { return read_cell(env, info, 1); }
static napi_value read16(napi_env env, napi_callback_info info) { return read_cell(env, info, 2); }
static napi_value read32(napi_env env, napi_callback_info info) { return read_cell(env, info, 4); }
static napi_value read64(napi_env env, napi_callback_info info) { return read_cell(env, info, 8); }

static inline bool value_of(napi_env env, napi_value argument, uint32_t bytes, uint64_t *value) {
  if (bytes == 8) {
    bool lossless = false;
    return napi_get_value_bigint_uint64(env, argument, value, &lossless) == napi_ok && lossless;
  }
  double number;
  if (napi_get_value_double(env, argument, &number) != napi_ok) return false;
  if (!(number >= 0 && number < (double)(UINT64_C(1) << (bytes * 8)))) return false;
  *value = (uint64_t)number;
  return (double)*value == number;
}

static inline napi_value write_cell(napi_env env, napi_callback_info info, uint32_t bytes) {
  napi_value arguments[3];
  size_t count = 3;
  void *data;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, &data) != napi_ok) return NULL;
  struct window *window;
  uint64_t offset;
  uint64_t value;
  int code = locate(env, data, arguments, bytes, &window, &offset);
  if (code == 0 && !window->writable) code = CODE_READ_ONLY;
  if (code == 0 && !value_of(env, arguments[2], bytes, &value)) code = CODE_VALUE;
  if (code != 0) return code_value(env, code);
  if (!guarded_store(data, window->base + offset, bytes, value)) return code_value(env, CODE_BUS_ERROR);
  return code_value(env, 0);
}

static napi_value write8(napi_env env, napi_callback_info info) { return write_cell(env, info, 1); }
static napi_value write16(napi_env env, napi_callback_info info) { return write_cell(env, info, 2); }
static napi_value write32(napi_env env, napi_callback_info info) { return write_cell(env, info, 4); }
static napi_value write64(napi_env env, napi_callback_info info) { return write_cell(env, info, 8); }

// ---- Batches: a plan is a Uint32Array of runs (handle, offset, bytes, count), checked again at every use.
// A run is `count` registers of one width side by side; each has its own word in the words array, in order.

#define RUN_WORDS 4

struct batch {
  struct table *table;
  const uint32_t *plan;
  size_t plan_length;
  uint32_t start;  // words before this one are left alone
  uint32_t word_count;
  void *words;
  bool wide;  // words are 64-bit
};

// Where a batch stopped: before word `index`, for the reason `code`; code 0 when it is done.
struct stop {
  uint32_t index;
  int code;
};

// One run as far as it may be accessed: words first .. end - 1, then `code` if it may not be finished.
struct run {
  struct window *window;
  uint64_t offset;
  uint32_t bytes;
  uint32_t index;  // of the word that belongs to `offset`
  uint32_t first;
  uint32_t end;
  int code;
};

// 0, or the code of a batch that cannot even be started.
static int batch_of(napi_env env, napi_callback_info info, struct batch *batch) {
  napi_value arguments[3];
  size_t argument_count = 3;
  void *data;
  if (napi_get_cb_info(env, info, &argument_count, arguments, NULL, &data) != napi_ok) return CODE_ARGUMENT;
  napi_typedarray_type plan_type;
  napi_typedarray_type word_type;
  size_t word_count;
  void *plan;
  if (napi_get_typedarray_info(env, arguments[0], &plan_type, &batch->plan_length, &plan, NULL, NULL) !=
          napi_ok ||
      napi_get_typedarray_info(env, arguments[1], &word_type, &word_count, &batch->words, NULL, NULL) !=
          napi_ok ||
      napi_get_value_uint32(env, arguments[2], &batch->start) != napi_ok || plan_type != napi_uint32_array ||
      (word_type != napi_uint32_array && word_type != napi_biguint64_array) ||
      batch->plan_length % RUN_WORDS != 0 || word_count > BATCH_COUNT_MAX) {
    return CODE_ARGUMENT;
  }
  batch->table = data;
  batch->plan = plan;
  batch->word_count = (uint32_t)word_count;
  batch->wide = word_type == napi_biguint64_array;
  return 0;
}

// The run at `entry`, whose first register belongs to word `index`.
static inline struct run run_of(const struct batch *batch, const uint32_t *entry, uint32_t index) {
  uint32_t count = entry[3];
  struct run run = {.offset = entry[1], .bytes = entry[2], .index = index};
  if (count > batch->word_count - index) {
    run.first = run.end = index;
    run.code = CODE_ARGUMENT;
    return run;
  }
  run.end = index + count;
  run.first = batch->start > index ? batch->start : index;
  if (run.first >= run.end) return run;
  uint32_t bytes = run.bytes;
  run.window = window_of(batch->table, entry[0]);
  if (bytes != 4 && bytes != 8 && bytes != 2 && bytes != 1) {
    run.code = CODE_WIDTH;
  } else if (bytes == 8 && !batch->wide) {
    run.code = CODE_WIDTH;
  } else if (run.window == NULL) {
    run.code = CODE_CLOSED;
  } else {
    uint64_t length = run.window->length;
    uint64_t inside = run.offset >= length ? 0 : (length - run.offset) / bytes;
    if (run.first - index >= inside) {
      run.code = CODE_EXCEEDED;
    } else if (((uintptr_t)run.window->base + run.offset) & (bytes - 1)) {
      run.code = CODE_MISALIGNED;
    } else {
      if (inside < count) {
        run.end = index + (uint32_t)inside;
        run.code = CODE_EXCEEDED;
      }
      return run;
    }
  }
  run.end = run.first;
  return run;
}

static inline uint64_t word_at(const struct batch *batch, uint32_t index) {
  return batch->wide ? ((const uint64_t *)batch->words)[index] : ((const uint32_t *)batch->words)[index];
}

// Called with constants for `bytes` and `wide`, so that each pair becomes a loop of its own.
static inline __attribute__((always_inline)) void read_run(struct run run, void *words, uint32_t bytes,
                                                           bool wide, volatile uint32_t *progress) {
  const volatile uint8_t *address = run.window->base + run.offset + (uint64_t)(run.first - run.index) * bytes;
  for (uint32_t index = run.first; index < run.end; index++, address += bytes) {
    *progress = index;
    // A fault in the load leaves by a jump: the words before it must be in memory by then.
    __asm__ volatile("" ::: "memory");
    uint64_t value = load(address, bytes);
    if (wide) {
      ((uint64_t *)words)[index] = value;
    } else {
      ((uint32_t *)words)[index] = (uint32_t)value;
    }
  }
}

static struct stop read_runs(const struct batch *batch, volatile uint32_t *progress) {
  uint32_t index = 0;
  for (size_t at = 0; at < batch->plan_length; at += RUN_WORDS) {
    struct run run = run_of(batch, batch->plan + at, index);
    if (run.first < run.end) {
      switch (run.bytes * 2 + batch->wide) {
        case 2: read_run(run, batch->words, 1, false, progress); break;
        case 3: read_run(run, batch->words, 1, true, progress); break;
        case 4: read_run(run, batch->words, 2, false, progress); break;
        case 5: read_run(run, batch->words, 2, true, progress); break;
        case 8: read_run(run, batch->words, 4, false, progress); break;
        case 9: read_run(run, batch->words, 4, true, progress); break;
        default: read_run(run, batch->words, 8, true, progress); break;
      }
    }
    if (run.code != 0) return (struct stop){run.end, run.code};
    index += batch->plan[at + 3];
  }
  return (struct stop){index, 0};
}

static struct stop check_writes(const struct batch *batch) {
  uint32_t index = 0;
  for (size_t at = 0; at < batch->plan_length; at += RUN_WORDS) {
    struct run run = run_of(batch, batch->plan + at, index);
    for (uint32_t word = run.first; word < run.end; word++) {
      if (!run.window->writable) return (struct stop){word, CODE_READ_ONLY};
      if (run.bytes < 8 && word_at(batch, word) >> (run.bytes * 8) != 0) return (struct stop){word, CODE_VALUE};
    }
    if (run.code != 0) return (struct stop){run.end, run.code};
    index += batch->plan[at + 3];
  }
  return (struct stop){index, 0};
}

// Only after check_writes.
static struct stop write_runs(const struct batch *batch, volatile uint32_t *progress) {
  uint32_t index = 0;
  for (size_t at = 0; at < batch->plan_length; at += RUN_WORDS) {
    struct run run = run_of(batch, batch->plan + at, index);
    for (uint32_t word = run.first; word < run.end; word++) {
      *progress = word;
      store(run.window->base + run.offset + (uint64_t)(word - index) * run.bytes, run.bytes,
            word_at(batch, word));
    }
    index += batch->plan[at + 3];
  }
  return (struct stop){index, 0};
}

static struct stop guarded_read_runs(const struct batch *batch) {
  struct guard guard;
  guard.table = batch->table;
  guard.progress = batch->start;
  if (sigsetjmp(guard.jump, 0) != 0) return (struct stop){guard.progress, CODE_BUS_ERROR};
  current_guard = &guard;
  struct stop stop = read_runs(batch, &guard.progress);
  current_guard = NULL;
  return stop;
}

static struct stop guarded_write_runs(const struct batch *batch) {
  struct guard guard;
  guard.table = batch->table;
  guard.progress = batch->start;
  if (sigsetjmp(guard.jump, 0) != 0) return (struct stop){guard.progress, CODE_BUS_ERROR};
  current_guard = &guard;
  struct stop stop = write_runs(batch, &guard.progress);
  current_guard = NULL;
  return stop;
}

// The number of words when done, else -(16 * index + code).
static napi_value stop_value(napi_env env, struct stop stop) {
  napi_value result = NULL;
  double number = stop.code == 0 ? (double)stop.index : -((double)stop.index * 16 + stop.code);
  napi_create_double(env, number, &result);
  return result;
}

// readWindowBatch(plan, words, start)
static napi_value read_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  int refused = batch_of(env, info, &batch);
  return stop_value(env, refused != 0 ? (struct stop){0, refused} : guarded_read_runs(&batch));
}

// writeWindowBatch(plan, words, start). All registers are checked before the first is written, so only a bus
// error leaves a batch half done.
static napi_value write_batch(napi_env env, napi_callback_info info) {
  struct batch batch;
  int refused = batch_of(env, info, &batch);
  if (refused != 0) return stop_value(env, (struct stop){0, refused});
  struct stop checked = check_writes(&batch);
  return stop_value(env, checked.code != 0 ? checked : guarded_write_runs(&batch));
}

// ---- Mapping and unmapping.

static struct window *free_slot(struct table *table) {
  for (uint32_t tried = 0; tried < SLOT_COUNT; tried++) {
    struct window *window = &table->windows[table->next_slot];
    table->next_slot = (table->next_slot + 1) & (SLOT_COUNT - 1);
    if (window->base == NULL) return window;
  }
  return NULL;
}

// For numbers from 0 to 2^53.
static bool is_whole(double number) { return (double)(uint64_t)number == number; }

// mapWindow(fd, fileOffset, start, length, writable): a handle. The pages that hold
// fileOffset .. fileOffset + start + length are mapped; offset 0 of the window is `start` bytes behind fileOffset.
static napi_value map_window(napi_env env, napi_callback_info info) {
  napi_value arguments[5];
  size_t count = 5;
  void *data;
  int32_t descriptor;
  double file_offset;
  double start;
  double length;
  bool writable;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, &data) != napi_ok) return NULL;
  if (napi_get_value_int32(env, arguments[0], &descriptor) != napi_ok ||
      napi_get_value_double(env, arguments[1], &file_offset) != napi_ok ||
      napi_get_value_double(env, arguments[2], &start) != napi_ok ||
      napi_get_value_double(env, arguments[3], &length) != napi_ok ||
      napi_get_value_bool(env, arguments[4], &writable) != napi_ok ||
      !(file_offset >= 0 && file_offset <= 9007199254740991.0 && is_whole(file_offset)) ||
      !(start >= 0 && start <= LENGTH_MAX && is_whole(start)) ||
      !(length >= 1 && length <= LENGTH_MAX && is_whole(length))) {
    dsmil_throw_errno(env, EINVAL, "mapWindow arguments");
    return NULL;
  }
  pthread_once(&guard_once, install_guard);
  if (guard_error != 0) {
    dsmil_throw_errno(env, guard_error, "sigaction");
    return NULL;
  }
  struct table *table = data;
  struct window *window = free_slot(table);
  if (window == NULL) {
    dsmil_throw_errno(env, EMFILE, "mapWindow");
    return NULL;
  }
  uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  uint64_t before = (uint64_t)file_offset % page;
  size_t mapping_length = (size_t)(before + (uint64_t)start + (uint64_t)length);
  void *mapping = mmap(NULL, mapping_length, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED,
                       descriptor, (off_t)((uint64_t)file_offset - before));
  if (mapping == MAP_FAILED) {
    dsmil_throw_errno(env, errno, "mmap");
    return NULL;
  }
  window->mapping = mapping;
  window->mapping_length = (mapping_length + page - 1) / page * page;
  window->length = (uint64_t)length;
  window->writable = writable;
  window->generation = window->generation % GENERATION_MAX + 1;
  window->base = (volatile uint8_t *)mapping + before + (uint64_t)start;
  napi_value result = NULL;
  napi_create_uint32(env, window->generation << SLOT_BITS | (uint32_t)(window - table->windows), &result);
  return result;
}

static void unmap(struct window *window) {
  munmap(window->mapping, window->mapping_length);
  window->base = NULL;
  window->mapping = NULL;
  window->mapping_length = 0;
}

// closeWindow(handle): true when it was open.
static napi_value close_window(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  void *data;
  uint32_t handle;
  napi_value result = NULL;
  if (napi_get_cb_info(env, info, &count, &argument, NULL, &data) != napi_ok) return NULL;
  struct window *window = NULL;
  if (napi_get_value_uint32(env, argument, &handle) == napi_ok) window = window_of(data, handle);
  if (window != NULL) unmap(window);
  napi_get_boolean(env, window != NULL, &result);
  return result;
}

static void discard_table(void *data) {
  struct table *table = data;
  for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
    if (table->windows[slot].base != NULL) unmap(&table->windows[slot]);
  }
  free(table);
}

void dsmil_init_register_window(napi_env env, napi_value exports) {
  struct table *table = calloc(1, sizeof *table);
  if (table == NULL) {
    dsmil_throw_errno(env, ENOMEM, "window table");
    return;
  }
  napi_add_env_cleanup_hook(env, discard_table, table);
  napi_value page_bytes;
  napi_create_double(env, (double)sysconf(_SC_PAGESIZE), &page_bytes);
  napi_set_named_property(env, exports, "windowPageBytes", page_bytes);
  dsmil_export_with(env, exports, "mapWindow", map_window, table);
  dsmil_export_with(env, exports, "closeWindow", close_window, table);
  dsmil_export_with(env, exports, "readWindow8", read8, table);
  dsmil_export_with(env, exports, "readWindow16", read16, table);
  dsmil_export_with(env, exports, "readWindow32", read32, table);
  dsmil_export_with(env, exports, "readWindow64", read64, table);
  dsmil_export_with(env, exports, "writeWindow8", write8, table);
  dsmil_export_with(env, exports, "writeWindow16", write16, table);
  dsmil_export_with(env, exports, "writeWindow32", write32, table);
  dsmil_export_with(env, exports, "writeWindow64", write64, table);
  dsmil_export_with(env, exports, "readWindowBatch", read_batch, table);
  dsmil_export_with(env, exports, "writeWindowBatch", write_batch, table);
}
