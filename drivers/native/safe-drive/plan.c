// Reads a plan strictly: one way to write each thing, every number in its range, a checksum over all of it.
// Invariants: nothing is believed before the last line has confirmed the rest; permanently quarantined devices and reserved
// addresses are refused here too, whoever wrote them.

#include "plan.h"
#include <string.h>

enum { FIELDS_MAX = 14, FIRST_TOKEN = 0x8000, GROUPS = 7, DEVICES_PER_GROUP = 12 };

struct reader {
  struct plan *plan;
  char *fields[FIELDS_MAX];
  size_t count;
  unsigned stage;
  bool staged;
};

static uint32_t crc32c(const char *bytes, size_t length) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t at = 0; at < length; at++) {
    crc ^= (unsigned char)bytes[at];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78u : 0);
  }
  return ~crc;
}

// Decimal without sign or leading zeros.
static bool decimal(const char *text, uint64_t maximum, uint64_t *value) {
  uint64_t result = 0;
  if (*text == '\0' || (text[0] == '0' && text[1] != '\0')) return false;
  for (; *text != '\0'; text++) {
    unsigned digit = (unsigned)(*text - '0');
    if (digit > 9 || result > (maximum - digit) / 10) return false;
    result = result * 10 + digit;
  }
  *value = result;
  return result <= maximum;
}

static bool small(const char *text, unsigned maximum, unsigned *value) {
  uint64_t wide;
  if (!decimal(text, maximum, &wide)) return false;
  *value = (unsigned)wide;
  return true;
}

static int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

// Exactly `digits` lower-case hexadecimal digits.
static bool hexadecimal(const char *text, size_t digits, uint64_t *value) {
  uint64_t result = 0;
  if (strlen(text) != digits || digits > 16) return false;
  for (; *text != '\0'; text++) {
    int digit = hex_digit(*text);
    if (digit < 0) return false;
    result = result << 4 | (uint64_t)digit;
  }
  *value = result;
  return true;
}

static bool hex_bytes(const char *text, size_t minimum, size_t maximum, unsigned char *bytes, size_t *count) {
  size_t length = strlen(text);
  if (length % 2 != 0 || length / 2 < minimum || length / 2 > maximum) return false;
  for (size_t at = 0; at < length; at += 2) {
    int high = hex_digit(text[at]), low = hex_digit(text[at + 1]);
    if (high < 0 || low < 0) return false;
    bytes[at / 2] = (unsigned char)(high << 4 | low);
  }
  *count = length / 2;
  return true;
}

// Absolute, and nothing in it leads back up.
static bool is_path(const char *text) {
  size_t length = strlen(text);
  return text[0] == '/' && length > 1 && length < 1024 && text[length - 1] != '/' && strstr(text, "//") == NULL &&
         strstr(text, "/../") == NULL && (length < 3 || strcmp(text + length - 3, "/..") != 0);
}

static bool is_device(uint64_t token) {
  static const unsigned forbidden[] = {0x8009, 0x800A, 0x800B, 0x8019, 0x8029};
  for (size_t at = 0; at < sizeof forbidden / sizeof *forbidden; at++) {
    if (token == forbidden[at]) return false;
  }
  return token >= FIRST_TOKEN && token < FIRST_TOKEN + GROUPS * 0x10 && (token & 0xF) < DEVICES_PER_GROUP;
}

static bool is_form(const char *text, enum text_form *form) {
  static const char *const names[] = {"number", "word", "direction"};
  for (unsigned at = 0; at < sizeof names / sizeof *names; at++) {
    if (strcmp(text, names[at]) != 0) continue;
    *form = (enum text_form)at;
    return true;
  }
  return false;
}

// bus INDEX window 0|1 PATH, sysfs PATH, i2c PATH, i2c-socket PATH, serial BAUD DATA-BITS n|e|o STOP-BITS PATH
static const char *take_bus(struct reader *in) {
  struct plan *plan = in->plan;
  uint64_t index;
  if (in->staged) return "a bus after the first stage";
  if (in->count < 4 || plan->bus_count == BUSES_MAX) return "no bus line";
  if (!decimal(in->fields[1], BUSES_MAX, &index) || index != plan->bus_count) return "buses are not numbered in order";
  struct bus *bus = &plan->buses[plan->bus_count];
  const char *kind = in->fields[2];
  unsigned flag = 0;
  if (strcmp(kind, "window") == 0) {
    if (in->count != 5 || !small(in->fields[3], 1, &flag)) return "no window bus";
    *bus = (struct bus){.kind = BUS_WINDOW, .synchronous = flag == 1};
  } else if (strcmp(kind, "serial") == 0) {
    *bus = (struct bus){.kind = BUS_SERIAL};
    if (in->count != 8 || !small(in->fields[3], 4000000, &bus->baud) || !small(in->fields[4], 8, &bus->data_bits) ||
        bus->data_bits < 7 || strlen(in->fields[5]) != 1 || strchr("neo", in->fields[5][0]) == NULL ||
        !small(in->fields[6], 2, &bus->stop_bits) || bus->stop_bits < 1)
      return "no serial bus";
    bus->parity = in->fields[5][0];
  } else {
    if (in->count != 4) return "no bus line";
    if (strcmp(kind, "sysfs") == 0) *bus = (struct bus){.kind = BUS_SYSFS};
    else if (strcmp(kind, "i2c") == 0) *bus = (struct bus){.kind = BUS_I2C};
    else if (strcmp(kind, "i2c-socket") == 0) *bus = (struct bus){.kind = BUS_I2C_SOCKET};
    else return "no such kind of bus";
  }
  bus->path = in->fields[in->count - 1];
  if (!is_path(bus->path)) return "the bus has no absolute path";
  plan->bus_count++;
  return NULL;
}

static const char *take_stage(struct reader *in) {
  uint64_t index;
  if (in->count != 2 || in->plan->stage_count == STAGES_MAX) return "no stage line";
  if (!decimal(in->fields[1], STAGES_MAX, &index) || index != in->plan->stage_count)
    return "stages are not numbered in order";
  in->stage = in->plan->stage_count++;
  in->staged = true;
  return NULL;
}

// WIDTH VALUE MASK EXPECTED from field `at` on.
static bool take_words(struct reader *in, size_t at, struct step *step) {
  if (!small(in->fields[at], 64, &step->width_bits)) return false;
  unsigned width = step->width_bits;
  if (width != 8 && width != 16 && width != 32 && width != 64) return false;
  return hexadecimal(in->fields[at + 1], width / 4, &step->value) &&
         hexadecimal(in->fields[at + 2], width / 4, &step->mask) &&
         hexadecimal(in->fields[at + 3], width / 4, &step->expected) && (step->expected & ~step->mask) == 0;
}

static const char *take_window(struct reader *in, struct step *step) {
  uint64_t mapping = 0;
  bool whole = strcmp(in->fields[6], "-") == 0;
  step->kind = STEP_WINDOW;
  if (in->count != 12 || !(whole || decimal(in->fields[6], INT64_MAX, &mapping)) ||
      !decimal(in->fields[7], INT64_MAX - 8, &step->position) || !take_words(in, 8, step))
    return "no window step";
  step->mapping = whole ? -1 : (int64_t)mapping;
  if (step->position % (step->width_bits / 8) != 0) return "the register is not on a boundary of its width";
  if (!whole && step->position < mapping) return "the register lies before its mapping";
  return NULL;
}

static const char *take_sysfs(struct reader *in, const struct bus *bus, struct step *step) {
  size_t root = strlen(bus->path);
  step->kind = STEP_SYSFS;
  if (in->count != 13 || !take_words(in, 6, step) || !is_form(in->fields[10], &step->form) ||
      strlen(in->fields[11]) == 0 || strlen(in->fields[11]) > 24)
    return "no sysfs step";
  step->text = in->fields[11];
  step->path = in->fields[12];
  if (!is_path(step->path) || strncmp(step->path, bus->path, root) != 0 || step->path[root] != '/')
    return "the attribute is outside the root of its bus";
  return NULL;
}

static const char *take_i2c(struct reader *in, struct step *step) {
  uint64_t chip;
  step->kind = STEP_I2C;
  if (in->count != 8 || !hexadecimal(in->fields[6], 2, &chip) ||
      !hex_bytes(in->fields[7], 2, 9, step->bytes, &step->byte_count))
    return "no I2C step";
  // UM10204 section 3.1.12: the rest is reserved, and 0 would reach every chip.
  if (chip < 0x08 || chip > 0x77) return "a reserved chip address";
  step->chip = (unsigned)chip;
  return NULL;
}

static const char *take_serial(struct reader *in, struct step *step) {
  step->kind = STEP_SERIAL;
  if (in->count != 8 || !hex_bytes(in->fields[6], 8, FRAME_BYTES_MAX, step->bytes, &step->byte_count) ||
      !hex_bytes(in->fields[7], 8, 8, step->answer, &step->answer_count))
    return "no serial step";
  bool writes = step->bytes[1] == 5 || step->bytes[1] == 6 || step->bytes[1] == 16;
  if (step->bytes[0] < 1 || step->bytes[0] > 247 || !writes) return "not the frame of a Modbus write to one unit";
  return NULL;
}

// step DEVICE PLACE BUS TIMEOUT SETTLE ..., or absent DEVICE PLACE REASON
static const char *take_step(struct reader *in, bool absent) {
  struct plan *plan = in->plan;
  uint64_t device, bus;
  if (!in->staged) return "a step before the first stage";
  if (plan->step_count == STEPS_MAX) return "too many steps";
  struct step *step = &plan->steps[plan->step_count];
  *step = (struct step){.stage = in->stage};
  if (in->count < 4 || !hexadecimal(in->fields[1], 4, &device) || !is_device(device)) return "not a device to be driven";
  step->device = (unsigned)device;
  step->place = in->fields[2];
  const char *odd = NULL;
  if (absent) {
    if (in->count != 4) return "no absent line";
    step->reason = in->fields[3];
  } else {
    if (in->count < 8 || !decimal(in->fields[3], BUSES_MAX, &bus) || bus >= plan->bus_count) return "no such bus";
    if (!small(in->fields[4], TIMEOUT_MS_MAX, &step->timeout_ms) || step->timeout_ms == 0) return "no time-out";
    if (!small(in->fields[5], SETTLE_MS_MAX, &step->settle_ms)) return "no settling time";
    step->bus = (unsigned)bus;
    switch (plan->buses[bus].kind) {
      case BUS_WINDOW: odd = take_window(in, step); break;
      case BUS_SYSFS: odd = take_sysfs(in, &plan->buses[bus], step); break;
      case BUS_I2C:
      case BUS_I2C_SOCKET: odd = take_i2c(in, step); break;
      case BUS_SERIAL: odd = take_serial(in, step); break;
    }
  }
  if (odd == NULL) plan->step_count++;
  return odd;
}

// Single spaces between fields of printable characters, and nothing else.
static const char *divide(struct reader *in, char *line) {
  in->count = 0;
  for (char *field = line;;) {
    size_t length = strcspn(field, " ");
    if (length == 0) return "an empty field";
    if (in->count == FIELDS_MAX) return "too many fields";
    in->fields[in->count++] = field;
    for (size_t at = 0; at < length; at++) {
      if (field[at] < '!' || field[at] > '~') return "a character that has no business in a plan";
    }
    if (field[length] == '\0') return NULL;
    field[length] = '\0';
    field += length + 1;
  }
}

static const char *take_line(struct reader *in) {
  const char *word = in->fields[0];
  if (strcmp(word, "bus") == 0) return take_bus(in);
  if (strcmp(word, "stage") == 0) return take_stage(in);
  if (strcmp(word, "step") == 0) return take_step(in, false);
  if (strcmp(word, "absent") == 0) return take_step(in, true);
  return "no such line";
}

// The last line, `end STEPS CRC32C`, confirms the bytes before it. Looked at first, because dividing changes them.
static const char *take_end(struct reader *in, const char *text, size_t length, size_t *end, uint64_t *steps) {
  static char copy[64];
  uint64_t sum;
  size_t last = length;
  while (last > 0 && text[last - 1] != '\n') last--;
  if (last == 0 || length - last >= sizeof copy) return "no end line";
  memcpy(copy, text + last, length - last);
  copy[length - last] = '\0';
  if (divide(in, copy) != NULL || in->count != 3 || strcmp(in->fields[0], "end") != 0 ||
      !decimal(in->fields[1], STEPS_MAX, steps) || !hexadecimal(in->fields[2], 8, &sum))
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
  plan->bus_count = plan->step_count = plan->stage_count = 0;
  if (length == 0 || length > PLAN_BYTES_MAX || text[length - 1] != '\n') return "the plan is cut short";
  if (memchr(text, '\0', length) != NULL) return "a character that has no business in a plan";
  const char *odd = take_end(&in, text, length - 1, &end, &steps);
  if (odd != NULL) return odd;
  for (size_t at = 0; at < end;) {
    char *stop = memchr(text + at, '\n', end - at);
    *stop = '\0';
    ++*line;
    odd = divide(&in, text + at);
    if (odd != NULL) return odd;
    if (*line > 1) odd = take_line(&in);
    else if (in.count != 3 || strcmp(in.fields[0], "dsmil-safe-drive") != 0 || strcmp(in.fields[1], "1") != 0)
      odd = "not a plan of version 1";
    if (odd != NULL) return odd;
    at = (size_t)(stop - text) + 1;
  }
  return *line > 0 && steps == plan->step_count ? NULL : "steps are missing";
}
