// Shared memory files: exact size, made atomically, never resized, and a SIGBUS in them is not the end.
// Invariants: a path never shows a half-made file (it is filled under another name and linked into place);
// the size is checked at open; blocks are reserved, so a full tmpfs fails at creation and not at a store.

#define _GNU_SOURCE
#include "shared-file.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES_MAX = 32, ATTEMPTS_MAX = 16 };

static struct dsmil_shared_file *_Atomic files[FILES_MAX];
static struct sigaction previous_action;
static pthread_once_t guard_once = PTHREAD_ONCE_INIT;

// Puts private zeros where the truncated file was, so that the faulting access completes; the owner sees
// `broken`. Faults elsewhere go to whoever handled SIGBUS before.
static void on_bus_error(int number, siginfo_t *info, void *context) {
  unsigned char *at = info->si_addr;
  for (int i = 0; i < FILES_MAX; i++) {
    struct dsmil_shared_file *file = files[i];
    if (file == NULL || at < file->address || at >= file->address + file->size) continue;
    void *zeros = mmap(file->address, file->size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zeros == MAP_FAILED) break;
    file->broken = 1;
    return;
  }
  if (previous_action.sa_flags & SA_SIGINFO) {
    previous_action.sa_sigaction(number, info, context);
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(number);
  } else {
    signal(SIGBUS, SIG_DFL);
  }
}

static void install_guard(void) {
  struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous_action);
}

static int remember(struct dsmil_shared_file *file) {
  pthread_once(&guard_once, install_guard);
  for (int i = 0; i < FILES_MAX; i++) {
    struct dsmil_shared_file *none = NULL;
    if (__atomic_compare_exchange_n(&files[i], &none, file, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 0;
  }
  return -EMFILE;
}

static void forget(struct dsmil_shared_file *file) {
  for (int i = 0; i < FILES_MAX; i++) {
    if (files[i] == file) files[i] = NULL;
  }
}

// Fills a file under a name of its own and links it to `path`; losing the race to another maker is fine.
static int make(const char *path, size_t size, unsigned mode, dsmil_shared_fill fill, const void *context) {
  char name[4096];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int length = snprintf(name, sizeof name, "%s.%d.%lx.new", path, (int)getpid(), (unsigned long)now.tv_nsec);
  if (length < 0 || (size_t)length >= sizeof name) return -ENAMETOOLONG;
  int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return -errno;
  int result = 0;
  if (fchmod(fd, mode) < 0) result = -errno;
  if (result == 0) result = -posix_fallocate(fd, 0, (off_t)size);
  if (result == 0) {
    unsigned char *address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address == MAP_FAILED) {
      result = -errno;
    } else {
      fill(address, context);
      munmap(address, size);
    }
  }
  if (result == 0 && link(name, path) < 0 && errno != EEXIST) result = -errno;
  unlink(name);
  close(fd);
  return result;
}

int dsmil_shared_open(struct dsmil_shared_file *file, const char *path, size_t size, unsigned mode,
                      enum dsmil_shared_access access, dsmil_shared_fill fill, const void *context) {
  int flags = (access == DSMIL_SHARED_WRITE ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  int fd = -1;
  for (int attempt = 0; fd < 0; attempt++) {
    fd = open(path, flags);
    if (fd >= 0) break;
    if (errno != ENOENT || fill == NULL || attempt == ATTEMPTS_MAX) return -errno;
    int made = make(path, size, mode, fill, context);
    if (made < 0) return made;
  }
  struct stat status;
  if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || (size_t)status.st_size != size) {
    close(fd);
    return -EMEDIUMTYPE;
  }
  // Everybody's file is nobody's word.
  if (status.st_mode & S_IWOTH) {
    close(fd);
    return -EPERM;
  }
  int protection = access == DSMIL_SHARED_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
  void *address = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
  if (address == MAP_FAILED) {
    int error = errno;
    close(fd);
    return -error;
  }
  *file = (struct dsmil_shared_file){.address = address, .size = size, .fd = fd};
  int remembered = remember(file);
  if (remembered < 0) dsmil_shared_close(file);
  return remembered;
}

void dsmil_shared_close(struct dsmil_shared_file *file) {
  forget(file);
  munmap(file->address, file->size);
  close(file->fd);
  file->address = NULL;
  file->fd = -1;
}
