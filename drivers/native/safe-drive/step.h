// One step of a safe drive on its mechanism. Each function is called in a process of its own, which may be killed.
// Invariants: every wait ends at `until_ms` of `now_ms`; only a driver of the operating system can hang longer than that.
#ifndef DSMIL_SAFE_DRIVE_STEP_H
#define DSMIL_SAFE_DRIVE_STEP_H

#include "plan.h"

enum { FINDING_BYTES = 96, SHOWN_BYTES = 32 };

// What a register showed when it was read back.
struct reading {
  char shown[SHOWN_BYTES];
  bool holds;
};

// True when the mechanism took the write; else `finding` says why not.
bool step_write(const struct bus *bus, const struct step *step, int64_t until_ms, char *finding);
// True when the register was read; else `finding` says why not. Only for a step with a mask.
bool step_read(const struct bus *bus, const struct step *step, int64_t until_ms, struct reading *reading, char *finding);
// What the step writes, as its reading would show it.
void step_show(const struct step *step, char *shown);

bool window_write(const struct bus *bus, const struct step *step, char *finding);
bool window_read(const struct bus *bus, const struct step *step, uint64_t *word, char *finding);
bool sysfs_write(const struct step *step, char *finding);
bool sysfs_read(const struct step *step, struct reading *reading, char *finding);
bool i2c_write(const struct bus *bus, const struct step *step, int64_t until_ms, char *finding);
bool i2c_read(const struct bus *bus, const struct step *step, int64_t until_ms, uint64_t *word, char *finding);
bool modbus_write(const struct bus *bus, const struct step *step, int64_t until_ms, char *finding);
bool modbus_read(const struct bus *bus, const struct step *step, int64_t until_ms, uint64_t *word, char *finding);

int64_t now_ms(void);
void sleep_ms(int64_t ms);
// Waits until the descriptor is ready; false when `until_ms` came first.
bool wait_for(int fd, short events, int64_t until_ms);
bool send_all(int fd, const unsigned char *bytes, size_t count, int64_t until_ms);
bool failed(char *finding, const char *attempt, int error);

#endif
