// Lanes: what of a stage is done one after the other, each in a process of its own.
#ifndef DSMIL_SAFE_DRIVE_LANE_H
#define DSMIL_SAFE_DRIVE_LANE_H

#include "step.h"

// All of the plan together, and one stage; the unit that runs it waits longer (TimeoutStopSec).
enum { TOTAL_MS_MAX = 12000, STAGE_MS_MAX = 10000 };

enum progress {
  // Its turn did not come, or its process was not started.
  STEP_WAITS,
  // The write was begun and has not ended.
  STEP_BEGUN,
  STEP_FAILED,
  // The mechanism took the write; it was not read back, or cannot be.
  STEP_WRITTEN,
  STEP_HOLDS,
  STEP_DIFFERS,
};

// What a lane tells of one step; smaller than PIPE_BUF, so it arrives whole or not at all.
struct verdict {
  uint32_t step;
  enum progress progress;
  char shown[SHOWN_BYTES], finding[FINDING_BYTES];
};

// Drives all stages in order; of each step, `verdicts` then has what was last heard.
void lanes_drive(const struct plan *plan, struct verdict *verdicts);
// Whether the register is known to be as the plan wants it.
bool step_is_safe(const struct step *step, const struct verdict *verdict);

#endif
