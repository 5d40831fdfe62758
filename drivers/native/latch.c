// The stop latch: a request word in a file of its own for each track and for people, a latched word that kernel alone writes.
// Invariants: engaged unless the latched word is exactly RELEASED and every request word is the one acknowledged;
// a truncated or foreign file, and an absent latch file, count as engaged; an absent request file is a requester that
// has not asked, which contradicts what was acknowledged of it as soon as it ever has.

#define _GNU_SOURCE
#include "latch.h"
#include "shared-file.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum { REQUESTERS = 4, PEOPLE = 3, FILE_BYTES = 4096 };
enum { PATH_BYTES = 512 };
enum { RELEASED = 0x52454C31, LATCHED = 0x4C415443, FRESH = 0x46524553 };
static const uint64_t REQUEST_MAGIC = 0x3251455250545344ull;  // "DSTPREQ2"
static const uint64_t LATCH_MAGIC = 0x32544C5054535344ull;

struct request_file {
  uint64_t magic;
  unsigned char padding[56];
  uint32_t count;
};

struct latch_file {
  uint64_t magic;
  uint32_t latched;
  uint32_t acknowledged[REQUESTERS];
};

struct request {
  struct dsmil_shared_file shared;
  struct request_file *file;
  char path[PATH_BYTES];
};

struct latch {
  struct request requests[REQUESTERS];
  struct dsmil_shared_file latch_file;
  struct latch_file *latch;
  uint32_t self;
  bool kernel;
  char latch_path[PATH_BYTES];
};

static void fill_request(unsigned char *address, const void *context) {
  (void)context;
  ((struct request_file *)address)->magic = REQUEST_MAGIC;
}

static void fill_latch(unsigned char *address, const void *context) {
  (void)context;
  struct latch_file *file = (struct latch_file *)address;
  file->latched = FRESH;
  file->magic = LATCH_MAGIC;
}

// Other tracks may start before kernel has made its file; until then the stop counts as engaged.
static int map_latch(struct latch *latch) {
  int opened = dsmil_shared_open(&latch->latch_file, latch->latch_path, FILE_BYTES, 0640,
                                 latch->kernel ? DSMIL_SHARED_WRITE : DSMIL_SHARED_READ,
                                 latch->kernel ? fill_latch : NULL, NULL);
  if (opened == 0) latch->latch = (struct latch_file *)latch->latch_file.address;
  return opened;
}

// A requester's own word is written by it alone, and by people's group where it is theirs; kernel makes that one.
static int map_request(struct latch *latch, uint32_t requester) {
  struct request *request = &latch->requests[requester];
  bool own = requester == latch->self;
  bool made_here = requester == PEOPLE ? latch->kernel : own;
  int opened = dsmil_shared_open(&request->shared, request->path, FILE_BYTES, requester == PEOPLE ? 0664 : 0640,
                                 own || made_here ? DSMIL_SHARED_WRITE : DSMIL_SHARED_READ,
                                 made_here ? fill_request : NULL, NULL);
  if (opened == 0) request->file = (struct request_file *)request->shared.address;
  return opened;
}

// Bits of the latch's state; the same values as in latch.ts. Zero is the only state that is not engaged.
enum {
  STATE_REQUESTED = 1,
  STATE_LATCHED = 2,
  STATE_REQUEST_FILE_UNSOUND = 4,
  STATE_LATCH_FILE_UNSOUND = 8,
  STATE_LATCHED_WORD_UNKNOWN = 16,
};

static uint32_t state_of(struct latch *latch) {
  if (latch->requests[latch->self].file == NULL) return STATE_REQUEST_FILE_UNSOUND;
  if (latch->latch == NULL && map_latch(latch) < 0) return STATE_LATCH_FILE_UNSOUND;
  const struct latch_file *file = latch->latch;
  uint32_t state = 0;
  uint32_t latched = __atomic_load_n(&file->latched, __ATOMIC_SEQ_CST);
  if (latched != RELEASED) state |= STATE_LATCHED;
  if (latched != RELEASED && latched != LATCHED && latched != FRESH) state |= STATE_LATCHED_WORD_UNKNOWN;
  for (uint32_t requester = 0; requester < REQUESTERS; requester++) {
    struct request *request = &latch->requests[requester];
    int mapped = request->file != NULL ? 0 : map_request(latch, requester);
    uint32_t count = 0;
    if (mapped == 0) {
      count = __atomic_load_n(&request->file->count, __ATOMIC_SEQ_CST);
      // After the word: the first look at a file that was cut short is what marks it broken.
      if (request->file->magic != REQUEST_MAGIC || request->shared.broken) state |= STATE_REQUEST_FILE_UNSOUND;
    } else if (mapped != -ENOENT) {
      state |= STATE_REQUEST_FILE_UNSOUND;
    }
    if (count != __atomic_load_n(&file->acknowledged[requester], __ATOMIC_RELAXED)) state |= STATE_REQUESTED;
  }
  if (file->magic != LATCH_MAGIC || latch->latch_file.broken) state |= STATE_LATCH_FILE_UNSOUND;
  return state;
}

static bool is_engaged(struct latch *latch) {
  return state_of(latch) != 0;
}

static struct latch *latch_of(napi_env env, napi_callback_info info) {
  void *data;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  return data;
}

static napi_value boolean(napi_env env, bool value) {
  napi_value result;
  napi_get_boolean(env, value, &result);
  return result;
}

static napi_value latch_engage(napi_env env, napi_callback_info info) {
  struct latch *latch = latch_of(env, info);
  struct request_file *own = latch->requests[latch->self].file;
  if (own != NULL) __atomic_fetch_add(&own->count, 1, __ATOMIC_SEQ_CST);
  return NULL;
}

static napi_value latch_engaged(napi_env env, napi_callback_info info) {
  return boolean(env, is_engaged(latch_of(env, info)));
}

static napi_value latch_state(napi_env env, napi_callback_info info) {
  napi_value result;
  napi_create_uint32(env, state_of(latch_of(env, info)), &result);
  return result;
}

// True when the latched word was never set by a kernel process: the first start since power-up.
static napi_value latch_fresh(napi_env env, napi_callback_info info) {
  struct latch *latch = latch_of(env, info);
  return boolean(env, latch->latch != NULL && __atomic_load_n(&latch->latch->latched, __ATOMIC_SEQ_CST) == FRESH);
}

static struct latch *kernel_latch_of(napi_env env, napi_callback_info info) {
  struct latch *latch = latch_of(env, info);
  if (latch->kernel && latch->latch != NULL) return latch;
  dsmil_throw_errno(env, EPERM, "only the kernel track may write the stop latch");
  return NULL;
}

// latch(): acknowledges every request and latches; true when the word was not latched before.
static napi_value latch_latch(napi_env env, napi_callback_info info) {
  struct latch *latch = kernel_latch_of(env, info);
  if (latch == NULL) return NULL;
  struct latch_file *file = latch->latch;
  // Latched first, so that acknowledging never shows a released moment.
  uint32_t before = __atomic_exchange_n(&file->latched, LATCHED, __ATOMIC_SEQ_CST);
  for (uint32_t requester = 0; requester < REQUESTERS; requester++) {
    const struct request *request = &latch->requests[requester];
    bool mapped = request->file != NULL || map_request(latch, requester) == 0;
    uint32_t count = mapped ? __atomic_load_n(&request->file->count, __ATOMIC_SEQ_CST) : 0;
    __atomic_store_n(&file->acknowledged[requester], count, __ATOMIC_SEQ_CST);
  }
  return boolean(env, before != LATCHED);
}

static napi_value latch_release(napi_env env, napi_callback_info info) {
  struct latch *latch = kernel_latch_of(env, info);
  if (latch == NULL) return NULL;
  __atomic_store_n(&latch->latch->latched, RELEASED, __ATOMIC_SEQ_CST);
  return NULL;
}

static void unmap(struct latch *latch) {
  if (latch->latch != NULL) dsmil_shared_close(&latch->latch_file);
  latch->latch = NULL;
  for (int requester = 0; requester < REQUESTERS; requester++) {
    struct request *request = &latch->requests[requester];
    if (request->file != NULL) dsmil_shared_close(&request->shared);
    request->file = NULL;
  }
}

static napi_value latch_close(napi_env env, napi_callback_info info) {
  unmap(latch_of(env, info));
  return NULL;
}

static void method(napi_env env, napi_value object, const char *name, napi_callback callback, struct latch *latch) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, latch, &function);
  napi_set_named_property(env, object, name, function);
}

static bool take_path(napi_env env, napi_value value, char *path) {
  size_t length = 0;
  // The length of a path that does not fit is cut silently, so it is asked for first.
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length == 0 || length >= PATH_BYTES) return false;
  return napi_get_value_string_utf8(env, value, path, PATH_BYTES, &length) == napi_ok;
}

static bool take_request_paths(napi_env env, napi_value paths, struct latch *latch) {
  uint32_t count = 0;
  if (napi_get_array_length(env, paths, &count) != napi_ok || count != REQUESTERS) return false;
  for (uint32_t requester = 0; requester < REQUESTERS; requester++) {
    napi_value path;
    if (napi_get_element(env, paths, requester, &path) != napi_ok) return false;
    if (!take_path(env, path, latch->requests[requester].path)) return false;
  }
  return true;
}

// latchOpen(requestPaths, latchPath, self, kernel) -> methods of the latch; `self` is an index of requestPaths.
static napi_value latch_open(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value arguments[4], result;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  // Never freed: the methods point at it, and a process opens one latch in its life.
  struct latch *latch = calloc(1, sizeof *latch);
  if (latch == NULL || count != 4 || !take_request_paths(env, arguments[0], latch) ||
      !take_path(env, arguments[1], latch->latch_path) ||
      napi_get_value_uint32(env, arguments[2], &latch->self) != napi_ok || latch->self >= REQUESTERS ||
      napi_get_value_bool(env, arguments[3], &latch->kernel) != napi_ok) {
    free(latch);
    dsmil_throw_errno(env, EINVAL, "latchOpen");
    return NULL;
  }
  int opened = map_request(latch, latch->self);
  if (opened == 0 && latch->kernel) opened = map_request(latch, PEOPLE);
  if (opened == 0) {
    opened = map_latch(latch);
    if (opened == -ENOENT && !latch->kernel) opened = 0;
  }
  if (opened < 0) {
    unmap(latch);
    free(latch);
    dsmil_throw_errno(env, -opened, "latchOpen");
    return NULL;
  }
  napi_create_object(env, &result);
  method(env, result, "engage", latch_engage, latch);
  method(env, result, "engaged", latch_engaged, latch);
  method(env, result, "state", latch_state, latch);
  method(env, result, "fresh", latch_fresh, latch);
  method(env, result, "latch", latch_latch, latch);
  method(env, result, "release", latch_release, latch);
  method(env, result, "close", latch_close, latch);
  return result;
}

void dsmil_init_latch(napi_env env, napi_value exports) {
  dsmil_export(env, exports, "latchOpen", latch_open);
}
