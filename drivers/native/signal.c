// Wake-ups in the event loop's own epoll: a FIFO as doorbell, a pidfd as the notice of a process's end.
// Invariants: a FIFO is open for reading and writing on both sides, so neither ever blocks on open, gets
// end-of-file or SIGPIPE; callbacks run in a callback scope, so promises settle before the loop goes on.

#define _GNU_SOURCE
#include "signal-watch.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

// One wake-up serves this many rounds of callbacks before other handles of the loop get their turn.
enum { ROUNDS_MAX = 16 };
// A FIFO holds 65536 bytes unless somebody changed it (pipe(7)).
enum { DRAIN_ROUNDS_MAX = 512 };
// What a byte in a FIFO means. Only exactly this byte is a test; every other one is a plain ring.
enum { RING_PLAIN = 0, RING_TEST = 0x54 };
// Bits of what was heard; the same values as in signal.ts.
enum { RINGS_PLAIN = 1, RINGS_TEST = 2 };

// The closer function may outlive the watch, so it holds a cell that the watch empties when it goes.
struct watch_cell {
  struct dsmil_watch *watch;
};

struct dsmil_watch {
  uv_poll_t poll;
  napi_env env;
  napi_ref callback;
  napi_async_context async;
  napi_async_cleanup_hook_handle cleanup;
  enum dsmil_watch_kind kind;
  int fd;
  bool closing;
  struct watch_cell *cell;
  dsmil_watch_more more;
  void *context;
};

// What was read from a FIFO: how many rings, and of which kinds.
struct rings {
  uint32_t count;
  uint32_t kinds;
};

// Bounded, so that a peer which rings without end cannot keep this thread here; the rest stays readable.
static struct rings drain(int fd) {
  char bytes[256];
  struct rings heard = {0, 0};
  for (int round = 0; round < DRAIN_ROUNDS_MAX; round++) {
    ssize_t count = read(fd, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return heard;
    heard.count += (uint32_t)count;
    for (ssize_t at = 0; at < count; at++) {
      // Every byte that is not the mark of a test is a plain ring: what is not clear is taken seriously.
      heard.kinds |= bytes[at] == RING_TEST ? RINGS_TEST : RINGS_PLAIN;
    }
    if ((size_t)count < sizeof bytes) return heard;
  }
  return heard;
}

static void call(struct dsmil_watch *watch, uint32_t kinds) {
  napi_handle_scope scope;
  if (napi_open_handle_scope(watch->env, &scope) != napi_ok) return;
  napi_value callback, receiver, argument, result;
  napi_get_reference_value(watch->env, watch->callback, &callback);
  napi_get_global(watch->env, &receiver);
  napi_create_uint32(watch->env, kinds, &argument);
  if (napi_make_callback(watch->env, watch->async, receiver, callback, 1, &argument, &result) ==
      napi_pending_exception) {
    napi_value error;
    napi_get_and_clear_last_exception(watch->env, &error);
    napi_fatal_exception(watch->env, error);
  }
  napi_close_handle_scope(watch->env, scope);
}

static void on_closed(uv_handle_t *handle) {
  struct dsmil_watch *watch = handle->data;
  if (watch->kind == DSMIL_WATCH_PROCESS) close(watch->fd);
  if (watch->cleanup != NULL) napi_remove_async_cleanup_hook(watch->cleanup);
  free(watch);
}

// Stops the poll at once (the descriptor may be closed right after) and frees when libuv has let go.
static void close_watch(struct dsmil_watch *watch) {
  if (watch->closing) return;
  watch->closing = true;
  if (watch->cell != NULL) watch->cell->watch = NULL;
  uv_poll_stop(&watch->poll);
  napi_delete_reference(watch->env, watch->callback);
  napi_async_destroy(watch->env, watch->async);
  uv_close((uv_handle_t *)&watch->poll, on_closed);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  struct dsmil_watch *watch = poll->data;
  for (int round = 0; !watch->closing; round++) {
    uint32_t kinds = 0;
    if (watch->kind == DSMIL_WATCH_PROCESS) {
      // A pidfd stays readable for ever, so it is listened to once.
      uv_poll_stop(poll);
    } else {
      kinds = drain(watch->fd).kinds;
    }
    call(watch, kinds);
    if (watch->closing || watch->more == NULL || !watch->more(watch->context)) return;
    if (round + 1 == ROUNDS_MAX) {
      dsmil_doorbell_ring(watch->fd);
      return;
    }
  }
}

static void on_environment_end(napi_async_cleanup_hook_handle handle, void *data) {
  (void)handle;
  close_watch(data);
}

struct dsmil_watch *dsmil_watch_open(napi_env env, int fd, enum dsmil_watch_kind kind, napi_value callback,
                                     dsmil_watch_more more, void *context) {
  struct dsmil_watch *watch = calloc(1, sizeof *watch);
  uv_loop_t *loop = NULL;
  napi_value name;
  if (watch == NULL || napi_get_uv_event_loop(env, &loop) != napi_ok) {
    free(watch);
    dsmil_throw_errno(env, ENOMEM, "watch");
    return NULL;
  }
  *watch = (struct dsmil_watch){.env = env, .kind = kind, .fd = fd, .more = more, .context = context};
  int result = uv_poll_init(loop, &watch->poll, fd);
  if (result < 0) {
    free(watch);
    dsmil_throw_errno(env, -result, "watch");
    return NULL;
  }
  watch->poll.data = watch;
  napi_create_string_utf8(env, "dsmil-signal", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &watch->async);
  napi_create_reference(env, callback, 1, &watch->callback);
  napi_add_async_cleanup_hook(env, on_environment_end, watch, &watch->cleanup);
  uv_poll_start(&watch->poll, UV_READABLE, on_readable);
  return watch;
}

static napi_value run_closer(napi_env env, napi_callback_info info) {
  void *data;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  struct watch_cell *cell = data;
  if (cell->watch != NULL) close_watch(cell->watch);
  return NULL;
}

static void free_cell(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  struct watch_cell *cell = data;
  if (cell->watch != NULL) cell->watch->cell = NULL;
  free(cell);
}

napi_value dsmil_watch_closer(napi_env env, struct dsmil_watch *watch) {
  struct watch_cell *cell = malloc(sizeof *cell);
  if (cell == NULL) {
    close_watch(watch);
    dsmil_throw_errno(env, ENOMEM, "watch");
    return NULL;
  }
  napi_value closer;
  cell->watch = watch;
  watch->cell = cell;
  napi_create_function(env, "closeWatch", NAPI_AUTO_LENGTH, run_closer, cell, &closer);
  napi_add_finalizer(env, closer, cell, free_cell, NULL, NULL);
  return closer;
}

// 0, or the errno of a ring that nobody can hear any more: EPIPE when no process has the FIFO open for reading.
static int ring(int fd, char kind) {
  while (write(fd, &kind, 1) < 0) {
    // A full FIFO already holds a wake-up, so a refused byte is no loss: who rings plainly sets a word as well.
    if (errno == EAGAIN) return 0;
    if (errno != EINTR) return errno;
  }
  return 0;
}

void dsmil_doorbell_ring(int fd) {
  (void)ring(fd, RING_PLAIN);
}

// doorbellOpenToRing(path) -> descriptor that can only ring; throws ENXIO while nobody listens.
static napi_value doorbell_open_to_ring(napi_env env, napi_callback_info info) {
  size_t count = 1, length = 0;
  napi_value argument, result;
  char path[4096];
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (count != 1 || napi_get_value_string_utf8(env, argument, path, sizeof path, &length) != napi_ok) {
    dsmil_throw_errno(env, EINVAL, "doorbellOpenToRing");
    return NULL;
  }
  int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  struct stat status;
  if (fd >= 0 && (fstat(fd, &status) < 0 || !S_ISFIFO(status.st_mode))) {
    close(fd);
    errno = EMEDIUMTYPE;
    fd = -1;
  }
  if (fd < 0) {
    dsmil_throw_errno(env, errno, "doorbellOpenToRing");
    return NULL;
  }
  napi_create_int32(env, fd, &result);
  return result;
}

// Made under a name of its own and put into place whole: another user must never find it with half its mode.
static int make_bell(const char *path, mode_t mode) {
  char name[4096];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int length = snprintf(name, sizeof name, "%s.%d.%lx.new", path, (int)getpid(), (unsigned long)now.tv_nsec);
  if (length < 0 || (size_t)length >= sizeof name) return -ENAMETOOLONG;
  if (mkfifo(name, mode) < 0) return -errno;
  int result = 0;
  // The maker's umask must not keep the peer out; losing the race to another maker is fine.
  if (chmod(name, mode) < 0 || (link(name, path) < 0 && errno != EEXIST)) result = -errno;
  unlink(name);
  return result;
}

// doorbellOpen(path, mode) -> descriptor of the FIFO, made with this mode when absent.
static napi_value doorbell_open(napi_env env, napi_callback_info info) {
  size_t count = 2, length = 0;
  napi_value arguments[2], result;
  char path[4096];
  uint32_t mode = 0;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (count != 2 || napi_get_value_string_utf8(env, arguments[0], path, sizeof path, &length) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &mode) != napi_ok) {
    dsmil_throw_errno(env, EINVAL, "doorbellOpen");
    return NULL;
  }
  const int flags = O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW;
  int fd = open(path, flags);
  if (fd < 0 && errno == ENOENT) {
    int made = make_bell(path, (mode_t)mode);
    if (made < 0) {
      dsmil_throw_errno(env, -made, "doorbellOpen");
      return NULL;
    }
    fd = open(path, flags);
  }
  if (fd < 0) {
    dsmil_throw_errno(env, errno, "doorbellOpen");
    return NULL;
  }
  struct stat status;
  if (fstat(fd, &status) < 0 || !S_ISFIFO(status.st_mode)) {
    close(fd);
    dsmil_throw_errno(env, EMEDIUMTYPE, "doorbellOpen");
    return NULL;
  }
  napi_create_int32(env, fd, &result);
  return result;
}

// doorbellWatch(descriptor, callback) -> function that closes the watch (not the descriptor); the callback gets the
// kinds of rings that were heard.
static napi_value doorbell_watch(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  int32_t fd;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (count != 2 || napi_get_value_int32(env, arguments[0], &fd) != napi_ok) {
    dsmil_throw_errno(env, EINVAL, "doorbellWatch");
    return NULL;
  }
  struct dsmil_watch *watch = dsmil_watch_open(env, fd, DSMIL_WATCH_DOORBELL, arguments[1], NULL, NULL);
  return watch == NULL ? NULL : dsmil_watch_closer(env, watch);
}

static bool descriptor_of(napi_env env, napi_callback_info info, int32_t *fd) {
  size_t count = 1;
  napi_value argument;
  napi_get_cb_info(env, info, &count, &argument, NULL, NULL);
  if (count == 1 && napi_get_value_int32(env, argument, fd) == napi_ok) return true;
  dsmil_throw_errno(env, EINVAL, "doorbell");
  return false;
}

// Whether somebody can hear the ring.
static napi_value answer_ring(napi_env env, napi_callback_info info, char kind) {
  int32_t fd;
  napi_value result;
  if (!descriptor_of(env, info, &fd)) return NULL;
  napi_get_boolean(env, ring(fd, kind) == 0, &result);
  return result;
}

static napi_value doorbell_ring(napi_env env, napi_callback_info info) {
  return answer_ring(env, info, RING_PLAIN);
}

static napi_value doorbell_ring_test(napi_env env, napi_callback_info info) {
  return answer_ring(env, info, RING_TEST);
}

// doorbellDrain(descriptor) -> how many rings were waiting, of whatever kind.
static napi_value doorbell_drain(napi_env env, napi_callback_info info) {
  int32_t fd;
  napi_value result;
  if (!descriptor_of(env, info, &fd)) return NULL;
  napi_create_uint32(env, drain(fd).count, &result);
  return result;
}

// processWatch(pid, callback) -> closing function; calls back once when the process has ended.
static napi_value process_watch(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  int32_t pid;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (count != 2 || napi_get_value_int32(env, arguments[0], &pid) != napi_ok || pid <= 0) {
    dsmil_throw_errno(env, EINVAL, "processWatch");
    return NULL;
  }
  int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
  if (fd < 0) {
    dsmil_throw_errno(env, errno, "processWatch");
    return NULL;
  }
  struct dsmil_watch *watch = dsmil_watch_open(env, fd, DSMIL_WATCH_PROCESS, arguments[1], NULL, NULL);
  if (watch == NULL) {
    close(fd);
    return NULL;
  }
  return dsmil_watch_closer(env, watch);
}

void dsmil_init_signal(napi_env env, napi_value exports) {
  dsmil_export(env, exports, "doorbellOpen", doorbell_open);
  dsmil_export(env, exports, "doorbellOpenToRing", doorbell_open_to_ring);
  dsmil_export(env, exports, "doorbellWatch", doorbell_watch);
  dsmil_export(env, exports, "doorbellRing", doorbell_ring);
  dsmil_export(env, exports, "doorbellRingTest", doorbell_ring_test);
  dsmil_export(env, exports, "doorbellDrain", doorbell_drain);
  dsmil_export(env, exports, "processWatch", process_watch);
}
