// The plan of a safe drive: what kernel wrote down while it lived, checked to the last character before anything is touched.
#ifndef DSMIL_SAFE_DRIVE_PLAN_H
#define DSMIL_SAFE_DRIVE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  PLAN_BYTES_MAX = 1 << 20,
  BUSES_MAX = 64,
  STEPS_MAX = 4096,
  STAGES_MAX = 64,
  TIMEOUT_MS_MAX = 5000,
  SETTLE_MS_MAX = 5000,
  FRAME_BYTES_MAX = 64,
};

enum bus_kind { BUS_WINDOW, BUS_SYSFS, BUS_I2C, BUS_I2C_SOCKET, BUS_SERIAL };

struct bus {
  enum bus_kind kind;
  const char *path;
  bool synchronous;
  unsigned baud, data_bits, stop_bits;
  char parity;
};

// How a sysfs attribute shows what it holds: a number, the word that was written, or a GPIO direction, where `out` keeps
// the level of the line (Documentation/admin-guide/gpio/sysfs.rst).
enum text_form { TEXT_NUMBER, TEXT_WORD, TEXT_DIRECTION };

enum step_kind { STEP_ABSENT, STEP_WINDOW, STEP_SYSFS, STEP_I2C, STEP_SERIAL };

struct step {
  enum step_kind kind;
  unsigned stage, device, bus, timeout_ms, settle_ms;
  // For messages: `fan-controller.duty`.
  const char *place;
  // Window and sysfs: what is read back afterwards; a mask of 0 compares nothing.
  unsigned width_bits;
  uint64_t value, mask, expected;
  // Window: the mapping begins here (-1: at the page of the position), and the register is there.
  int64_t mapping;
  uint64_t position;
  // Sysfs.
  enum text_form form;
  const char *text, *path;
  // I2C: chip, bytes after its address. Serial: the frame, and the answer that says it was taken.
  unsigned chip;
  unsigned char bytes[FRAME_BYTES_MAX], answer[FRAME_BYTES_MAX];
  size_t byte_count, answer_count;
  // Why an absent step cannot be done.
  const char *reason;
};

struct plan {
  size_t bus_count, step_count, stage_count;
  struct bus buses[BUSES_MAX];
  struct step steps[STEPS_MAX];
};

// Takes `text` apart in place; it must outlive the plan. Null when all of it is right, else what is odd; `line` is where.
const char *plan_parse(struct plan *plan, char *text, size_t length, unsigned *line);

#endif
