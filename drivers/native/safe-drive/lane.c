// Stages in order; within one, lanes side by side: a lane is one bus, or one device on sysfs, in a process of its own that is
// killed when its time is up, so that nothing that hangs keeps the others from their safe values.
// Invariants: of the time a lane has left, no device takes more than its share of the writes or of the reading back; what
// was not safe the first time has a second turn after everything else of its lane; no stage takes the time of a later one.

#define _GNU_SOURCE
#include "lane.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// A lane has a device of its own, and a device is in one.
enum { LANES_MAX = TOKENS, LANE_SLACK_MS = 1000, TURNS = 2 };

struct lane {
  const struct plan *plan;
  struct verdict *verdicts;
  unsigned stage, bus, device;
  pid_t pid;
  int pipe;
  int64_t budget_ms, until_ms;
};

bool step_is_safe(const struct step *step, const struct verdict *verdict) {
  if (step->kind == STEP_ABSENT) return false;
  return verdict->progress == STEP_HOLDS || (step->mask == 0 && verdict->progress == STEP_WRITTEN);
}

static bool in_lane(const struct step *step, const struct lane *lane) {
  return step->kind != STEP_ABSENT && step->stage == lane->stage && step->bus == lane->bus &&
         (lane->plan->buses[step->bus].kind != BUS_SYSFS || step->device == lane->device);
}

// --- In a lane -----------------------------------------------------------------------------------

// Time that each device has left in one pass over the lane, by its place behind FIRST_TOKEN.
static int64_t left_ms[TOKENS];

// A pass writes, or reads back, what is not safe yet; `passes` are still to come, this one included.
static void share_out(const struct lane *lane, int64_t passes) {
  static bool counted[TOKENS];
  int64_t devices = 0;
  for (size_t at = 0; at < TOKENS; at++) counted[at] = false;
  for (size_t at = 0; at < lane->plan->step_count; at++) {
    const struct step *step = &lane->plan->steps[at];
    if (!in_lane(step, lane) || step_is_safe(step, &lane->verdicts[at]) || counted[step->device - FIRST_TOKEN]) continue;
    counted[step->device - FIRST_TOKEN] = true;
    devices++;
  }
  int64_t share_ms = devices == 0 ? 0 : (lane->until_ms - now_ms()) / (passes * devices);
  for (size_t at = 0; at < TOKENS; at++) left_ms[at] = share_ms;
}

static void tell(const struct lane *lane, size_t at) {
  struct verdict *verdict = &lane->verdicts[at];
  verdict->step = (uint32_t)at;
  if (write(lane->pipe, verdict, sizeof *verdict) != sizeof *verdict) _exit(1);
}

static bool write_one(const struct lane *lane, size_t at, int64_t until_ms) {
  const struct step *step = &lane->plan->steps[at];
  struct verdict *verdict = &lane->verdicts[at];
  verdict->progress = STEP_BEGUN;
  tell(lane, at);
  bool written = step_write(&lane->plan->buses[step->bus], step, until_ms, verdict->finding);
  verdict->progress = written ? STEP_WRITTEN : STEP_FAILED;
  if (written) snprintf(verdict->finding, FINDING_BYTES, "its turn to be read back did not come");
  tell(lane, at);
  return written;
}

static void confirm_one(const struct lane *lane, size_t at, int64_t until_ms) {
  const struct step *step = &lane->plan->steps[at];
  struct verdict *verdict = &lane->verdicts[at];
  struct reading reading = {.holds = false};
  if (step_read(&lane->plan->buses[step->bus], step, until_ms, &reading, verdict->finding)) {
    verdict->progress = reading.holds ? STEP_HOLDS : STEP_DIFFERS;
    snprintf(verdict->shown, SHOWN_BYTES, "%s", reading.shown);
  }
  tell(lane, at);
}

enum pass { PASS_WRITE, PASS_CONFIRM };

// How long the slowest of what was written needs to settle.
static unsigned pass_over(const struct lane *lane, enum pass pass) {
  unsigned settle_ms = 0;
  for (size_t at = 0; at < lane->plan->step_count; at++) {
    const struct step *step = &lane->plan->steps[at];
    const struct verdict *verdict = &lane->verdicts[at];
    if (!in_lane(step, lane) || step_is_safe(step, verdict)) continue;
    if (pass == PASS_CONFIRM && verdict->progress != STEP_WRITTEN) continue;
    int64_t *left = &left_ms[step->device - FIRST_TOKEN], begin_ms = now_ms();
    // A device that used up its time lets the others go first.
    if (*left <= 0) continue;
    if (pass == PASS_CONFIRM) confirm_one(lane, at, begin_ms + *left);
    else if (write_one(lane, at, begin_ms + *left) && step->settle_ms > settle_ms) settle_ms = step->settle_ms;
    *left -= now_ms() - begin_ms;
  }
  return settle_ms;
}

// On a serial line an answer that the dead kernel asked for may still come, so no answer to a reading is believed before.
static int64_t quiet_from_ms(const struct lane *lane) {
  int64_t from_ms = now_ms();
  if (lane->plan->buses[lane->bus].kind != BUS_SERIAL) return from_ms;
  unsigned late_ms = 0;
  for (size_t at = 0; at < lane->plan->step_count; at++) {
    const struct step *step = &lane->plan->steps[at];
    if (in_lane(step, lane) && step->mask != 0 && step->timeout_ms > late_ms) late_ms = step->timeout_ms;
  }
  return from_ms + late_ms;
}

static void drive_lane(const struct lane *lane) {
  int64_t quiet_ms = quiet_from_ms(lane);
  for (int64_t turn = 0; turn < TURNS; turn++) {
    int64_t passes = 2 * (TURNS - turn);
    share_out(lane, passes);
    int64_t wait_ms = pass_over(lane, PASS_WRITE), half_ms = (lane->until_ms - now_ms()) / 2;
    if (quiet_ms - now_ms() > wait_ms) wait_ms = quiet_ms - now_ms();
    sleep_ms(wait_ms < half_ms ? wait_ms : half_ms);
    share_out(lane, passes - 1);
    pass_over(lane, PASS_CONFIRM);
  }
}

// --- Lanes side by side --------------------------------------------------------------------------

// Longest time that one step can need: written and read back in each turn, and on a serial line late answers waited out.
static int64_t need_ms(const struct step *step) {
  return TURNS * ((step->kind == STEP_SERIAL ? 3 : 2) * (int64_t)step->timeout_ms + step->settle_ms);
}

static size_t lanes_of(const struct plan *plan, struct verdict *verdicts, unsigned stage, struct lane *lanes) {
  size_t count = 0;
  for (size_t at = 0; at < plan->step_count; at++) {
    const struct step *step = &plan->steps[at];
    if (step->kind == STEP_ABSENT || step->stage != stage) continue;
    size_t found = 0;
    while (found < count && !in_lane(step, &lanes[found])) found++;
    if (found == count) {
      lanes[count++] = (struct lane){
          .plan = plan,
          .verdicts = verdicts,
          .stage = stage,
          .bus = step->bus,
          .device = step->device,
          .pipe = -1,
          .budget_ms = LANE_SLACK_MS,
      };
    }
    lanes[found].budget_ms += need_ms(step);
  }
  return count;
}

// Longest time that a stage can need, within its limit.
static int64_t budget_of(const struct lane *lanes, size_t count) {
  int64_t budget_ms = 0;
  for (size_t at = 0; at < count; at++) {
    if (lanes[at].budget_ms > budget_ms) budget_ms = lanes[at].budget_ms;
  }
  return budget_ms < STAGE_MS_MAX ? budget_ms : STAGE_MS_MAX;
}

static void start(struct lane *lane) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) return;
  lane->pid = fork();
  if (lane->pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    lane->pipe = ends[1];
    drive_lane(lane);
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
  if (count != sizeof verdict || verdict.step >= lane->plan->step_count) return false;
  verdict.finding[FINDING_BYTES - 1] = verdict.shown[SHOWN_BYTES - 1] = '\0';
  lane->verdicts[verdict.step] = verdict;
  return true;
}

static void drive_stage(struct lane *lanes, size_t count, int64_t budget_ms) {
  static struct pollfd waiting[LANES_MAX];
  size_t open = 0;
  int64_t until_ms = now_ms() + budget_ms;
  for (size_t at = 0; at < count; at++) {
    // What a lane has to say must have come before it is killed.
    lanes[at].until_ms = until_ms - (budget_ms > LANE_SLACK_MS ? LANE_SLACK_MS : budget_ms) / 4;
    start(&lanes[at]);
    waiting[at] = (struct pollfd){.fd = lanes[at].pipe, .events = POLLIN};
    if (lanes[at].pipe >= 0) open++;
  }
  while (open > 0) {
    int64_t left = until_ms - now_ms();
    if (left <= 0) break;
    if (poll(waiting, count, (int)left) <= 0) continue;
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

void lanes_drive(const struct plan *plan, struct verdict *verdicts) {
  static struct lane lanes[LANES_MAX];
  int64_t need[STAGES_MAX], later_ms = 0, until_ms = now_ms() + TOTAL_MS_MAX;
  for (unsigned stage = 0; stage < plan->stage_count; stage++) {
    need[stage] = budget_of(lanes, lanes_of(plan, verdicts, stage, lanes));
    later_ms += need[stage];
  }
  for (unsigned stage = 0; stage < plan->stage_count; stage++) {
    size_t count = lanes_of(plan, verdicts, stage, lanes);
    int64_t left = until_ms - now_ms();
    // Each stage gets what it can need, or its part of what is left.
    drive_stage(lanes, count, later_ms <= left ? need[stage] : left * need[stage] / later_ms);
    later_ms -= need[stage];
  }
}
