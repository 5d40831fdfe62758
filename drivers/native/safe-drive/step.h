// One step of a safe drive on its mechanism. Each function is called in a process of its own, which may be killed.
#ifndef DSMIL_SAFE_DRIVE_STEP_H
#define DSMIL_SAFE_DRIVE_STEP_H

#include "plan.h"

enum { FINDING_BYTES = 96 };

// True when the mechanism took the write; else `finding` says why not.
bool step_perform(const struct bus *bus, const struct step *step, char *finding);
// True when nothing is to be compared, or the register holds what was written.
bool step_confirm(const struct bus *bus, const struct step *step, char *finding);

bool serial_write(const struct bus *bus, const struct step *step, char *finding);
bool i2c_write(const struct bus *bus, const struct step *step, char *finding);

int64_t now_ms(void);
void sleep_ms(int64_t ms);
// Waits until the descriptor is ready; false when `until_ms` came first.
bool wait_for(int fd, short events, int64_t until_ms);
bool failed(char *finding, const char *attempt, int error);

#endif
