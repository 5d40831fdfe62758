// Mapped register windows: mapping a file or device, and exact-width access to one register.
// Invariants: every access is checked here, whatever JavaScript passes: handle, bounds, alignment, rights.
//   A table of windows belongs to one environment (one thread), so no lock is needed around it.
//   One access is one load or store instruction of its width; nothing is merged, split or repeated.
// Faults: a refused access returns a negative code; only mapping throws, with the errno name.

#include "window-access.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// Functions of their own, so that no variable of a caller lives across the jump. False on a bus error.
static inline bool guarded_load(const struct table *table, const volatile uint8_t *address, uint32_t bytes,
                                uint64_t *value) {
  struct guard guard;
  guard.table = table;
  if (sigsetjmp(guard.jump, 0) != 0) return false;
  dsmil_window_guard = &guard;
  *value = load(address, bytes);
  dsmil_window_guard = NULL;
  return true;
}

static inline bool guarded_store(const struct table *table, volatile uint8_t *address, uint32_t bytes,
                                 uint64_t value) {
  struct guard guard;
  guard.table = table;
  if (sigsetjmp(guard.jump, 0) != 0) return false;
  dsmil_window_guard = &guard;
  store(address, bytes, value);
  dsmil_window_guard = NULL;
  return true;
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
  int guard_error = dsmil_install_window_guard();
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
  dsmil_init_window_batch(env, exports, table);
}
