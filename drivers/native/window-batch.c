// Many registers in one call: a plan is a Uint32Array of runs (handle, offset, bytes, count).
// A run is `count` registers of one width side by side; each has its own word in the words array, in order.
// Invariants: every run is checked again at every use, and a batch of writes is checked whole before the first.

#include "window-access.h"

#define BATCH_COUNT_MAX (1u << 27)
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
  dsmil_window_guard = &guard;
  struct stop stop = read_runs(batch, &guard.progress);
  dsmil_window_guard = NULL;
  return stop;
}

static struct stop guarded_write_runs(const struct batch *batch) {
  struct guard guard;
  guard.table = batch->table;
  guard.progress = batch->start;
  if (sigsetjmp(guard.jump, 0) != 0) return (struct stop){guard.progress, CODE_BUS_ERROR};
  dsmil_window_guard = &guard;
  struct stop stop = write_runs(batch, &guard.progress);
  dsmil_window_guard = NULL;
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

void dsmil_init_window_batch(napi_env env, napi_value exports, struct table *table) {
  dsmil_export_with(env, exports, "readWindowBatch", read_batch, table);
  dsmil_export_with(env, exports, "writeWindowBatch", write_batch, table);
}
