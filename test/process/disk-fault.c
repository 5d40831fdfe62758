/* Makes the disk under the agent's database fail on demand: preloaded into its processes by disk-fault.test.ts.
 * The kind of fault is the name of a file in DISK_FAULT_DIRECTORY: eio-write, eio-flush, short-write. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int ours(int descriptor) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = '\0';
  return strstr(path, "/security/agent.db") != NULL;
}

static int asked(const char *kind, int descriptor) {
  const char *directory = getenv("DISK_FAULT_DIRECTORY");
  char path[PATH_MAX];
  if (directory == NULL) return 0;
  snprintf(path, sizeof path, "%s/%s", directory, kind);
  int before = errno;
  int found = access(path, F_OK) == 0 && ours(descriptor);
  errno = before;
  return found;
}

typedef ssize_t (*writer)(int, const void *, size_t, off64_t);

static ssize_t faulty(const char *name, int descriptor, const void *bytes, size_t count, off64_t at) {
  writer real = (writer)dlsym(RTLD_NEXT, name);
  if (asked("eio-write", descriptor)) {
    errno = EIO;
    return -1;
  }
  if (asked("short-write", descriptor)) {
    /* Half of it is written, and then nothing more: as on a file system that fills up under a write. */
    if (count < 2) {
      errno = ENOSPC;
      return -1;
    }
    return real(descriptor, bytes, count / 2, at);
  }
  return real(descriptor, bytes, count, at);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t at) {
  return faulty("pwrite64", descriptor, bytes, count, at);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t at) {
  return faulty("pwrite", descriptor, bytes, count, at);
}

typedef int (*flusher)(int);

int fdatasync(int descriptor) {
  if (asked("eio-flush", descriptor)) {
    errno = EIO;
    return -1;
  }
  return ((flusher)dlsym(RTLD_NEXT, "fdatasync"))(descriptor);
}

int fsync(int descriptor) {
  if (asked("eio-flush", descriptor)) {
    errno = EIO;
    return -1;
  }
  return ((flusher)dlsym(RTLD_NEXT, "fsync"))(descriptor);
}
