// The plan of a safe drive: what kernel wrote down while it lived, checked to the last character before anything is touched.
#ifndef DSMIL_SAFE_DRIVE_PLAN_H
#define DSMIL_SAFE_DRIVE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  PLAN_BYTES_MAX = 4 << 20,
  BUSES_MAX = 128,
  STEPS_MAX = 16384,
  STAGES_MAX = 128,
  TIMEOUT_MS_MAX = 5000,
  SETTLE_MS_MAX = 5000,
  // 7 groups with gaps between them: 0x8000..0x806B.
  FIRST_TOKEN = 0x8000,
  TOKENS = 7 * 0x10,
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

// How an I2C register crosses the wire, as in drivers/bus/i2c.ts: SMBus byte, SMBus word low byte first, the same with its
// bytes swapped, or a block high byte first.
enum i2c_protocol { I2C_BYTE, I2C_WORD, I2C_WORD_SWAPPED, I2C_RAW };

enum modbus_table { MODBUS_HOLDING, MODBUS_COIL };

enum step_kind { STEP_ABSENT, STEP_WINDOW, STEP_SYSFS, STEP_I2C, STEP_SERIAL };

struct step {
  enum step_kind kind;
  unsigned stage, device, bus, timeout_ms, settle_ms;
  // For messages: `fan-controller.duty`.
  const char *place;
  // What is written, and which of its bits are read back afterwards; a mask of 0 compares nothing.
  unsigned width_bits;
  uint64_t value, mask, expected;
  // Window: the mapping begins here (-1: at the page of the position), and the register is there.
  int64_t mapping;
  uint64_t position;
  // Sysfs.
  enum text_form form;
  const char *text, *path;
  // I2C: chip 0x08..0x77 and command byte.
  unsigned chip, command;
  enum i2c_protocol protocol;
  // Modbus: unit 1..247 and 0-based address.
  unsigned unit, address;
  enum modbus_table table;
  // Why an absent step cannot be done.
  const char *reason;
};

struct plan {
  // SHA-256 of the board, and the boot of the machine in which the plan was written.
  const char *board, *boot;
  size_t bus_count, step_count, stage_count;
  struct bus buses[BUSES_MAX];
  struct step steps[STEPS_MAX];
};

// Takes `text` apart in place; it must outlive the plan. Null when all of it is right, else what is odd; `line` is where.
const char *plan_parse(struct plan *plan, char *text, size_t length, unsigned *line);

#endif
