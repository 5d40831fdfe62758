// dsmil-safe-drive [--check] PLAN: drives devices to their safe values when Node is gone, from the plan that kernel left.
// Stages in order; within one, lanes side by side: a lane is one bus, or one device on sysfs, in a process of its own that is
// killed when its time is up, so that nothing that hangs keeps the others from their safe values.
// Invariants: nothing is touched unless all of the plan is right; nothing is touched that is not in it.
// Exit status: how many devices are not known to be safe (at most 250), 254 for a plan that is refused, 255 for a usage error.

#define _GNU_SOURCE
#include "plan.h"
#include "step.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { UNSAFE_MAX = 250, EXIT_PLAN_REFUSED = 254, EXIT_USAGE = 255 };
enum { LANES_MAX = 256, STAGE_MS_MAX = 10000, LANE_SLACK_MS = 250 };

// What a lane tells of one step; smaller than PIPE_BUF, so it arrives whole or not at all.
struct verdict {
  uint32_t step;
  uint16_t safe, told;
  char finding[FINDING_BYTES];
};

struct lane {
  unsigned bus, device;
  pid_t pid;
  int pipe;
  int64_t budget_ms;
};

static struct plan plan;
static char text[PLAN_BYTES_MAX + 1];
static struct verdict verdicts[STEPS_MAX];

static int refuse(const char *path, unsigned line, const char *odd) {
  fprintf(stderr, "dsmil-safe-drive: %s", path);
  if (line > 0) fprintf(stderr, ", line %u", line);
  fprintf(stderr, ": %s; no device was touched\n", odd);
  return EXIT_PLAN_REFUSED;
}

// Only a plan that nobody but its owner, who is this user or root, could have written.
static const char *read_plan(const char *path, size_t *length) {
  struct stat status;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return strerror(errno);
  const char *odd = NULL;
  if (fstat(fd, &status) < 0) odd = strerror(errno);
  else if (!S_ISREG(status.st_mode)) odd = "it is no file";
  else if (status.st_uid != geteuid() && status.st_uid != 0) odd = "it belongs to another user";
  else if (status.st_mode & (S_IWGRP | S_IWOTH)) odd = "others may write it";
  else if (status.st_size > PLAN_BYTES_MAX) odd = "it is too long";
  for (*length = 0; odd == NULL && *length <= PLAN_BYTES_MAX;) {
    ssize_t count = read(fd, text + *length, sizeof text - *length);
    if (count == 0) break;
    if (count < 0 && errno != EINTR) odd = strerror(errno);
    if (count > 0) *length += (size_t)count;
  }
  close(fd);
  return odd;
}

// --- In a lane -----------------------------------------------------------------------------------

static bool in_lane(const struct step *step, unsigned stage, const struct lane *lane) {
  return step->kind != STEP_ABSENT && step->stage == stage && step->bus == lane->bus &&
         (plan.buses[step->bus].kind != BUS_SYSFS || step->device == lane->device);
}

// Writes all that is not safe yet, then waits as long as the slowest of them settles, then looks at all of it.
static void round_of(unsigned stage, const struct lane *lane) {
  unsigned settle_ms = 0;
  for (size_t at = 0; at < plan.step_count; at++) {
    const struct step *step = &plan.steps[at];
    struct verdict *verdict = &verdicts[at];
    if (!in_lane(step, stage, lane) || verdict->safe) continue;
    verdict->safe = step_perform(&plan.buses[step->bus], step, verdict->finding);
    if (verdict->safe && step->settle_ms > settle_ms) settle_ms = step->settle_ms;
  }
  sleep_ms(settle_ms);
  for (size_t at = 0; at < plan.step_count; at++) {
    const struct step *step = &plan.steps[at];
    struct verdict *verdict = &verdicts[at];
    if (!in_lane(step, stage, lane) || !verdict->safe || verdict->told) continue;
    verdict->safe = step_confirm(&plan.buses[step->bus], step, verdict->finding);
  }
}

enum telling { TELL_SAFE, TELL_REST };

static void report(unsigned stage, const struct lane *lane, enum telling telling) {
  for (size_t at = 0; at < plan.step_count; at++) {
    struct verdict *verdict = &verdicts[at];
    if (!in_lane(&plan.steps[at], stage, lane) || verdict->told || (telling == TELL_SAFE && !verdict->safe)) continue;
    verdict->step = (uint32_t)at;
    verdict->told = 1;
    if (write(lane->pipe, verdict, sizeof *verdict) != sizeof *verdict) _exit(1);
  }
}

static void drive_lane(unsigned stage, const struct lane *lane) {
  // What does not answer has its second turn after everything else of its lane had the first.
  round_of(stage, lane);
  report(stage, lane, TELL_SAFE);
  round_of(stage, lane);
  report(stage, lane, TELL_REST);
}

// --- Lanes side by side --------------------------------------------------------------------------

static size_t lanes_of(unsigned stage, struct lane *lanes) {
  size_t count = 0;
  for (size_t at = 0; at < plan.step_count; at++) {
    const struct step *step = &plan.steps[at];
    if (step->kind == STEP_ABSENT || step->stage != stage) continue;
    size_t found = 0;
    while (found < count && !in_lane(step, stage, &lanes[found])) found++;
    if (found == count) {
      if (count == LANES_MAX) continue;
      lanes[count++] = (struct lane){.bus = step->bus, .device = step->device, .pipe = -1, .budget_ms = LANE_SLACK_MS};
    }
    lanes[found].budget_ms += 2 * ((int64_t)step->timeout_ms + step->settle_ms);
  }
  return count;
}

static void start(unsigned stage, struct lane *lane) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return;
  lane->pid = fork();
  if (lane->pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    lane->pipe = ends[1];
    drive_lane(stage, lane);
    _exit(0);
  }
  close(ends[1]);
  lane->pipe = ends[0];
  if (lane->pid > 0) return;
  close(lane->pipe);
  lane->pipe = -1;
}

// False when the lane has said all it had to say.
static bool take(const struct lane *lane) {
  struct verdict verdict;
  ssize_t count = read(lane->pipe, &verdict, sizeof verdict);
  if (count < 0 && errno == EINTR) return true;
  if (count != sizeof verdict || verdict.step >= plan.step_count) return false;
  verdict.finding[FINDING_BYTES - 1] = '\0';
  verdicts[verdict.step] = verdict;
  return true;
}

static void drive_stage(unsigned stage) {
  static struct lane lanes[LANES_MAX];
  static struct pollfd waiting[LANES_MAX];
  size_t count = lanes_of(stage, lanes), open = 0;
  int64_t budget_ms = 0;
  for (size_t at = 0; at < count; at++) {
    start(stage, &lanes[at]);
    waiting[at] = (struct pollfd){.fd = lanes[at].pipe, .events = POLLIN};
    if (lanes[at].pipe >= 0) open++;
    if (lanes[at].budget_ms > budget_ms) budget_ms = lanes[at].budget_ms;
  }
  int64_t until_ms = now_ms() + (budget_ms < STAGE_MS_MAX ? budget_ms : STAGE_MS_MAX);
  while (open > 0) {
    int64_t left_ms = until_ms - now_ms();
    if (left_ms <= 0) break;
    if (poll(waiting, count, (int)left_ms) <= 0) continue;
    for (size_t at = 0; at < count; at++) {
      if (waiting[at].fd < 0 || waiting[at].revents == 0 || take(&lanes[at])) continue;
      waiting[at].fd = -1;
      open--;
    }
  }
  for (size_t at = 0; at < count; at++) {
    if (lanes[at].pipe < 0) continue;
    close(lanes[at].pipe);
    kill(lanes[at].pid, SIGKILL);
    // One that hangs in a driver cannot be taken leave of now: it must not hold up the next stage.
    waitpid(lanes[at].pid, NULL, WNOHANG);
  }
}

// --- What became of it ---------------------------------------------------------------------------

// One line for each device, in the order of the plan; how many are not known to be safe.
static unsigned tell(void) {
  static bool told[0x10000];
  unsigned unsafe = 0;
  for (size_t at = 0; at < plan.step_count; at++) {
    unsigned device = plan.steps[at].device, values = 0;
    if (told[device]) continue;
    told[device] = true;
    const struct step *bad = NULL;
    const char *finding = NULL;
    for (size_t other = at; other < plan.step_count; other++) {
      const struct step *step = &plan.steps[other];
      if (step->device != device) continue;
      values++;
      if (bad != NULL || (step->kind != STEP_ABSENT && verdicts[other].safe)) continue;
      bad = step;
      finding = step->kind == STEP_ABSENT ? step->reason : verdicts[other].finding;
    }
    if (bad == NULL) {
      fprintf(stderr, "0x%04X safe (%u values)\n", device, values);
      continue;
    }
    unsafe++;
    fprintf(stderr, "0x%04X NOT KNOWN TO BE SAFE: %s: %s\n", device, bad->place, finding);
  }
  return unsafe;
}

int main(int count, char **arguments) {
  bool check = count == 3 && strcmp(arguments[1], "--check") == 0;
  if (count != 2 && !check) {
    fprintf(stderr, "usage: dsmil-safe-drive [--check] PLAN\n");
    return EXIT_USAGE;
  }
  const char *path = arguments[count - 1];
  size_t length = 0;
  unsigned line = 0;
  const char *odd = read_plan(path, &length);
  if (odd == NULL) odd = plan_parse(&plan, text, length, &line);
  if (odd != NULL) return refuse(path, line, odd);
  if (check) return 0;
  signal(SIGPIPE, SIG_IGN);
  for (size_t at = 0; at < plan.step_count; at++) snprintf(verdicts[at].finding, FINDING_BYTES, "its bus did not come to an end in time");
  for (unsigned stage = 0; stage < plan.stage_count; stage++) drive_stage(stage);
  unsigned unsafe = tell();
  fprintf(stderr, "dsmil-safe-drive: %u devices not known to be safe\n", unsafe);
  return (int)(unsafe < UNSAFE_MAX ? unsafe : UNSAFE_MAX);
}
