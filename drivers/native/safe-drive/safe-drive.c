// dsmil-safe-drive [--check] [--board DIGEST] PLAN: drives devices to their safe values when Node is gone, from the plan that
// kernel left. --check reads the plan and touches nothing; --board refuses the plan of any other board.
// Invariants: nothing is touched unless all of the plan is right, was written since the machine started and by nobody but its
// owner; nothing is touched that is not in it; a device is called safe when every value that can be read back was.
// Exit status: how many devices are not known to be safe (at most 250), 254 for a plan that is refused, 255 for a usage error.

#define _GNU_SOURCE
#include "lane.h"
#include "plan.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { UNSAFE_MAX = 250, EXIT_PLAN_REFUSED = 254, EXIT_USAGE = 255 };

static struct plan plan;
static char text[PLAN_BYTES_MAX + 1];
static struct verdict verdicts[STEPS_MAX];

// --- The plan ------------------------------------------------------------------------------------

static int refuse(const char *path, unsigned line, const char *odd) {
  fprintf(stderr, "dsmil-safe-drive: %s", path);
  if (line > 0) fprintf(stderr, ", line %u", line);
  fprintf(stderr, ": %s; no device was touched\n", odd);
  return EXIT_PLAN_REFUSED;
}

static const char *odd_status(const struct stat *status) {
  if (!S_ISREG(status->st_mode)) return "it is no file";
  if (status->st_uid != geteuid() && status->st_uid != 0) return "it belongs to another user";
  if (status->st_mode & (S_IWGRP | S_IWOTH)) return "others may write it";
  return status->st_size > PLAN_BYTES_MAX ? "it is too long" : NULL;
}

// Only a plan that nobody but its owner, who is this user or root, could have written.
static const char *read_plan(const char *path, size_t *length) {
  struct stat status;
  // Before it is opened, which alone has an effect on some devices, and again on what was opened.
  if (lstat(path, &status) < 0) return strerror(errno);
  const char *odd = odd_status(&status);
  if (odd != NULL) return odd;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return strerror(errno);
  odd = fstat(fd, &status) < 0 ? strerror(errno) : odd_status(&status);
  for (*length = 0; odd == NULL && *length <= PLAN_BYTES_MAX;) {
    ssize_t count = read(fd, text + *length, sizeof text - *length);
    if (count == 0) break;
    if (count < 0 && errno != EINTR) odd = strerror(errno);
    if (count > 0) *length += (size_t)count;
  }
  close(fd);
  return odd;
}

// Numbers of adapters, attributes and windows hold for one boot: afterwards the same path may be another device.
static const char *foreign(const char *board) {
  char boot[64] = "";
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  ssize_t count = fd < 0 ? -1 : read(fd, boot, sizeof boot - 1);
  if (fd >= 0) close(fd);
  if (count <= 0) return "nobody can tell whether it was written since the machine started";
  boot[strcspn(boot, "\n")] = '\0';
  if (strcmp(plan.boot, boot) != 0) return "it was written before the machine started";
  if (board != NULL && strcmp(plan.board, board) != 0) return "it is of another board";
  return NULL;
}

// --- What became of it ---------------------------------------------------------------------------

static void tell_step(const struct step *step, const struct verdict *verdict) {
  char wrote[SHOWN_BYTES];
  if (step->kind == STEP_ABSENT) {
    fprintf(stderr, "%s: not written: %s", step->place, step->reason);
    return;
  }
  step_show(step, wrote);
  fprintf(stderr, "%s: ", step->place);
  switch (verdict->progress) {
    case STEP_WAITS: fprintf(stderr, "not written: its turn did not come in time"); break;
    case STEP_BEGUN: fprintf(stderr, "writing %s did not come to an end in time", wrote); break;
    case STEP_FAILED: fprintf(stderr, "writing %s failed: %s", wrote, verdict->finding); break;
    case STEP_WRITTEN:
      if (step->mask == 0) fprintf(stderr, "wrote %s, which cannot be read back", wrote);
      else fprintf(stderr, "wrote %s, not read back: %s", wrote, verdict->finding);
      break;
    case STEP_HOLDS: fprintf(stderr, "wrote %s, read back %s", wrote, verdict->shown); break;
    case STEP_DIFFERS: fprintf(stderr, "differs: wrote %s, read back %s", wrote, verdict->shown); break;
  }
  bool compared = verdict->progress == STEP_HOLDS || verdict->progress == STEP_DIFFERS;
  uint64_t all = step->width_bits == 64 ? UINT64_MAX : (UINT64_C(1) << step->width_bits) - 1;
  if (compared && step->mask != all) fprintf(stderr, " (of 0x%llX)", (unsigned long long)step->mask);
}

// One line for each device, in the order of the plan, with each of its values; how many are not known to be safe.
static unsigned tell(void) {
  static bool told[TOKENS];
  unsigned unsafe = 0;
  for (size_t at = 0; at < plan.step_count; at++) {
    unsigned device = plan.steps[at].device;
    if (told[device - FIRST_TOKEN]) continue;
    told[device - FIRST_TOKEN] = true;
    bool safe = true;
    for (size_t other = at; other < plan.step_count; other++) {
      if (plan.steps[other].device == device && !step_is_safe(&plan.steps[other], &verdicts[other])) safe = false;
    }
    if (!safe) unsafe++;
    fprintf(stderr, "0x%04X %s", device, safe ? "safe" : "NOT KNOWN TO BE SAFE");
    const char *before = ": ";
    for (size_t other = at; other < plan.step_count; other++) {
      if (plan.steps[other].device != device) continue;
      fprintf(stderr, "%s", before);
      tell_step(&plan.steps[other], &verdicts[other]);
      before = "; ";
    }
    fprintf(stderr, "\n");
  }
  return unsafe;
}

int main(int count, char **arguments) {
  static char journal[64 * 1024];
  bool check = false;
  const char *board = NULL;
  int at = 1;
  if (at < count && strcmp(arguments[at], "--check") == 0) {
    check = true;
    at++;
  }
  if (at + 1 < count && strcmp(arguments[at], "--board") == 0) {
    board = arguments[at + 1];
    at += 2;
  }
  if (at + 1 != count) {
    fprintf(stderr, "usage: dsmil-safe-drive [--check] [--board DIGEST] PLAN\n");
    return EXIT_USAGE;
  }
  const char *path = arguments[at];
  size_t length = 0;
  unsigned line = 0;
  const char *odd = read_plan(path, &length);
  if (odd == NULL) odd = plan_parse(&plan, text, length, &line);
  if (odd != NULL) return refuse(path, line, odd);
  odd = foreign(board);
  if (odd != NULL) return refuse(path, 0, odd);
  if (check) return 0;
  signal(SIGPIPE, SIG_IGN);
  lanes_drive(&plan, verdicts);
  // A line at a time reaches the journal whole.
  setvbuf(stderr, journal, _IOLBF, sizeof journal);
  unsigned unsafe = tell();
  fprintf(stderr, "dsmil-safe-drive: %u devices not known to be safe\n", unsafe);
  return (int)(unsafe < UNSAFE_MAX ? unsafe : UNSAFE_MAX);
}
