// Reads a plan strictly: one way to write each thing, every number in its range, a checksum over all of it.
// Invariants: nothing is believed before the last line has confirmed the rest; permanently quarantined devices and reserved
// addresses are refused here too, whoever wrote them; a device is on one bus and in one stage.

#include "plan.h"
#include "field.h"
#include <string.h>

enum { DEVICES_PER_GROUP = 12, DIGEST_DIGITS = 64, BOOT_ID_LENGTH = 36 };

#define COUNT_OF(names) (sizeof(names) / sizeof *(names))

struct reader {
  struct plan *plan;
  struct line line;
  unsigned stage;
  bool staged;
  // Of each device, 1 + where it was first; 0 before that.
  unsigned stage_of[TOKENS], bus_of[TOKENS];
};

static uint32_t crc32c(const char *bytes, size_t length) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t at = 0; at < length; at++) {
    crc ^= (unsigned char)bytes[at];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
  }
  return ~crc;
}

static bool is_device(uint64_t token) {
  static const unsigned forbidden[] = {0x8009, 0x800A, 0x800B, 0x8019, 0x8029};
  for (size_t at = 0; at < COUNT_OF(forbidden); at++) {
    if (token == forbidden[at]) return false;
  }
  return token >= FIRST_TOKEN && token < FIRST_TOKEN + TOKENS && (token & 0xF) < DEVICES_PER_GROUP;
}

// bus INDEX window 0|1 PATH, sysfs PATH, i2c PATH, i2c-socket PATH, serial BAUD DATA-BITS n|e|o STOP-BITS PATH
static const char *take_bus(struct reader *in) {
  static const char *const kinds[] = {"window", "sysfs", "i2c", "i2c-socket", "serial"};
  static const size_t counts[] = {5, 4, 4, 4, 8};
  struct plan *plan = in->plan;
  char *const *fields = in->line.fields;
  uint64_t index;
  unsigned flag = 0;
  if (in->staged) return "a bus after the first stage";
  if (in->line.count < 4 || plan->bus_count == BUSES_MAX) return "no bus line";
  if (!field_decimal(fields[1], BUSES_MAX, &index) || index != plan->bus_count) return "buses are not numbered in order";
  int kind = field_name(fields[2], kinds, COUNT_OF(kinds));
  if (kind < 0) return "no such kind of bus";
  if (in->line.count != counts[kind]) return "no bus line";
  struct bus *bus = &plan->buses[plan->bus_count];
  *bus = (struct bus){.kind = (enum bus_kind)kind, .path = fields[in->line.count - 1]};
  if (bus->kind == BUS_WINDOW) {
    if (!field_small(fields[3], 1, &flag)) return "no window bus";
    bus->synchronous = flag == 1;
  } else if (bus->kind == BUS_SERIAL) {
    if (!field_small(fields[3], 4000000, &bus->baud) || !field_small(fields[4], 8, &bus->data_bits) || bus->data_bits < 7 ||
        strlen(fields[5]) != 1 || strchr("neo", fields[5][0]) == NULL || !field_small(fields[6], 2, &bus->stop_bits) ||
        bus->stop_bits < 1)
      return "no serial bus";
    bus->parity = fields[5][0];
  }
  if (!field_is_path(bus->path)) return "the bus has no absolute path";
  plan->bus_count++;
  return NULL;
}

static const char *take_stage(struct reader *in) {
  uint64_t index;
  if (in->line.count != 2 || in->plan->stage_count == STAGES_MAX) return "no stage line";
  if (!field_decimal(in->line.fields[1], STAGES_MAX, &index) || index != in->plan->stage_count)
    return "stages are not numbered in order";
  in->stage = (unsigned)in->plan->stage_count++;
  in->staged = true;
  return NULL;
}

// WIDTH VALUE MASK EXPECTED from field `at` on.
static bool take_words(const struct reader *in, size_t at, struct step *step) {
  char *const *fields = in->line.fields;
  if (!field_small(fields[at], 64, &step->width_bits)) return false;
  unsigned width = step->width_bits;
  if (width != 8 && width != 16 && width != 32 && width != 64) return false;
  return field_hexadecimal(fields[at + 1], width / 4, &step->value) &&
         field_hexadecimal(fields[at + 2], width / 4, &step->mask) &&
         field_hexadecimal(fields[at + 3], width / 4, &step->expected) && (step->expected & ~step->mask) == 0;
}

// MAPPING|- POSITION and words
static const char *take_window(const struct reader *in, struct step *step) {
  char *const *fields = in->line.fields;
  uint64_t mapping = 0;
  step->kind = STEP_WINDOW;
  if (in->line.count != 12) return "no window step";
  bool whole = strcmp(fields[6], "-") == 0;
  if (!(whole || field_decimal(fields[6], INT64_MAX, &mapping)) ||
      !field_decimal(fields[7], INT64_MAX - 8, &step->position) || !take_words(in, 8, step))
    return "no window step";
  step->mapping = whole ? -1 : (int64_t)mapping;
  if (step->position % (step->width_bits / 8) != 0) return "the register is not on a boundary of its width";
  if (!whole && step->position < mapping) return "the register lies before its mapping";
  return NULL;
}

// Words, then FORM TEXT PATH
static const char *take_sysfs(const struct reader *in, const struct bus *bus, struct step *step) {
  static const char *const forms[] = {"number", "word", "direction"};
  char *const *fields = in->line.fields;
  size_t root = strlen(bus->path);
  step->kind = STEP_SYSFS;
  if (in->line.count != 13 || !take_words(in, 6, step)) return "no sysfs step";
  int form = field_name(fields[10], forms, COUNT_OF(forms));
  if (form < 0 || strlen(fields[11]) > 24) return "no sysfs step";
  step->form = (enum text_form)form;
  step->text = fields[11];
  step->path = fields[12];
  if (!field_is_path(step->path) || strncmp(step->path, bus->path, root) != 0 || step->path[root] != '/')
    return "the attribute is outside the root of its bus";
  return NULL;
}

// CHIP COMMAND PROTOCOL and words
static const char *take_i2c(const struct reader *in, struct step *step) {
  static const char *const protocols[] = {"byte", "word", "word-swapped", "raw"};
  char *const *fields = in->line.fields;
  uint64_t chip, command;
  step->kind = STEP_I2C;
  if (in->line.count != 13 || !field_hexadecimal(fields[6], 2, &chip) || !field_hexadecimal(fields[7], 2, &command) ||
      !take_words(in, 9, step))
    return "no I2C step";
  int protocol = field_name(fields[8], protocols, COUNT_OF(protocols));
  if (protocol < 0) return "no I2C step";
  step->protocol = (enum i2c_protocol)protocol;
  if (step->protocol != I2C_RAW && step->width_bits != (step->protocol == I2C_BYTE ? 8u : 16u))
    return "a protocol that does not carry its width";
  // UM10204 section 3.1.12: the rest is reserved, and 0 would reach every chip.
  if (chip < 0x08 || chip > 0x77) return "a reserved chip address";
  step->chip = (unsigned)chip;
  step->command = (unsigned)command;
  return NULL;
}

// UNIT TABLE ADDRESS and words
static const char *take_serial(const struct reader *in, struct step *step) {
  static const char *const tables[] = {"holding", "coil"};
  char *const *fields = in->line.fields;
  step->kind = STEP_SERIAL;
  if (in->line.count != 13 || !field_small(fields[6], 255, &step->unit) || !field_small(fields[8], 0xFFFF, &step->address) ||
      !take_words(in, 9, step))
    return "no serial step";
  int table = field_name(fields[7], tables, COUNT_OF(tables));
  if (table < 0) return "no serial step";
  step->table = (enum modbus_table)table;
  // Serial Line 1.02 section 2.2: 0 is a broadcast that nobody answers, and the last ones are reserved.
  if (step->unit < 1 || step->unit > 247) return "not one unit";
  unsigned registers = step->table == MODBUS_COIL || step->width_bits == 8 ? 1 : step->width_bits / 16;
  if (step->address + registers > 0x10000) return "an address behind the last one";
  if (step->table == MODBUS_COIL && step->value > 1) return "a coil that is neither on nor off";
  return NULL;
}

// A device is driven on its bus, in its stage.
static const char *take_device(struct reader *in, const struct step *step) {
  unsigned index = step->device - FIRST_TOKEN;
  if (in->stage_of[index] == 0) in->stage_of[index] = step->stage + 1;
  if (in->stage_of[index] != step->stage + 1) return "a device in two stages";
  if (step->kind == STEP_ABSENT) return NULL;
  if (in->bus_of[index] == 0) in->bus_of[index] = step->bus + 1;
  return in->bus_of[index] == step->bus + 1 ? NULL : "a device on two buses";
}

// step DEVICE PLACE BUS TIMEOUT SETTLE ..., or absent DEVICE PLACE REASON
static const char *take_step(struct reader *in, bool absent) {
  struct plan *plan = in->plan;
  char *const *fields = in->line.fields;
  uint64_t device, bus;
  if (!in->staged) return "a step before the first stage";
  if (plan->step_count == STEPS_MAX) return "too many steps";
  struct step *step = &plan->steps[plan->step_count];
  *step = (struct step){.stage = in->stage};
  if (in->line.count < 4 || !field_hexadecimal(fields[1], 4, &device) || !is_device(device)) return "not a device to be driven";
  step->device = (unsigned)device;
  step->place = fields[2];
  const char *odd = NULL;
  if (absent) {
    if (in->line.count != 4) return "no absent line";
    step->reason = fields[3];
  } else {
    if (in->line.count < 8 || !field_decimal(fields[3], BUSES_MAX, &bus) || bus >= plan->bus_count) return "no such bus";
    if (!field_small(fields[4], TIMEOUT_MS_MAX, &step->timeout_ms) || step->timeout_ms == 0) return "no time-out";
    if (!field_small(fields[5], SETTLE_MS_MAX, &step->settle_ms)) return "no settling time";
    step->bus = (unsigned)bus;
    switch (plan->buses[bus].kind) {
      case BUS_WINDOW: odd = take_window(in, step); break;
      case BUS_SYSFS: odd = take_sysfs(in, &plan->buses[bus], step); break;
      case BUS_I2C:
      case BUS_I2C_SOCKET: odd = take_i2c(in, step); break;
      case BUS_SERIAL: odd = take_serial(in, step); break;
    }
  }
  if (odd == NULL) odd = take_device(in, step);
  if (odd == NULL) plan->step_count++;
  return odd;
}

// dsmil-safe-drive 2 BOARD BOOT
static const char *take_head(struct reader *in) {
  char *const *fields = in->line.fields;
  if (in->line.count != 4 || strcmp(fields[0], "dsmil-safe-drive") != 0 || strcmp(fields[1], "2") != 0)
    return "not a plan of version 2";
  if (!field_is_digest(fields[2], DIGEST_DIGITS)) return "no digest of a board";
  if (strlen(fields[3]) != BOOT_ID_LENGTH) return "no boot of a machine";
  in->plan->board = fields[2];
  in->plan->boot = fields[3];
  return NULL;
}

static const char *take_line(struct reader *in) {
  const char *word = in->line.fields[0];
  if (strcmp(word, "bus") == 0) return take_bus(in);
  if (strcmp(word, "stage") == 0) return take_stage(in);
  if (strcmp(word, "step") == 0) return take_step(in, false);
  if (strcmp(word, "absent") == 0) return take_step(in, true);
  return "no such line";
}

// The last line, `end STEPS CRC32C`, confirms the bytes before it. Looked at first, because dividing changes them.
static const char *take_end(const char *text, size_t length, size_t *end, uint64_t *steps) {
  char copy[64];
  struct line line;
  uint64_t sum;
  size_t last = length;
  while (last > 0 && text[last - 1] != '\n') last--;
  if (last == 0 || length - last >= sizeof copy) return "no end line";
  memcpy(copy, text + last, length - last);
  copy[length - last] = '\0';
  if (field_divide(&line, copy) != NULL || line.count != 3 || strcmp(line.fields[0], "end") != 0 ||
      !field_decimal(line.fields[1], STEPS_MAX, steps) || !field_hexadecimal(line.fields[2], 8, &sum))
    return "no end line";
  if (sum != crc32c(text, last)) return "the checksum is wrong";
  *end = last;
  return NULL;
}

const char *plan_parse(struct plan *plan, char *text, size_t length, unsigned *line) {
  struct reader in = {.plan = plan};
  size_t end = 0;
  uint64_t steps = 0;
  *line = 0;
  plan->board = plan->boot = NULL;
  plan->bus_count = plan->step_count = plan->stage_count = 0;
  if (length == 0 || length > PLAN_BYTES_MAX || text[length - 1] != '\n') return "the plan is cut short";
  if (memchr(text, '\0', length) != NULL) return "a character that has no business in a plan";
  const char *odd = take_end(text, length - 1, &end, &steps);
  if (odd != NULL) return odd;
  for (size_t at = 0; at < end;) {
    char *stop = memchr(text + at, '\n', end - at);
    *stop = '\0';
    ++*line;
    odd = field_divide(&in.line, text + at);
    if (odd == NULL) odd = *line == 1 ? take_head(&in) : take_line(&in);
    if (odd != NULL) return odd;
    at = (size_t)(stop - text) + 1;
  }
  return *line > 0 && steps == plan->step_count ? NULL : "steps are missing";
}
