// Reads plans from standard input, each after its length (4 bytes, low first), as the safe drive would, and says of each what
// became of it: `taken`, or `refused` and why. Nothing is driven. Built with sanitizers by test/support/safe-drive.ts.
// Invariants: each plan lies in a block of exactly its length; of a plan that was taken, everything that the mechanisms rely
// on is looked at again, and a mistake ends the program.

#include "plan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct plan plan;

static void must(bool holds, const char *rule) {
  if (holds) return;
  fprintf(stderr, "taken against the rule: %s\n", rule);
  abort();
}

static void look_at_step(const struct step *step) {
  unsigned device = step->device;
  must(device >= FIRST_TOKEN && device - FIRST_TOKEN < TOKENS && (device & 0xF) < 12, "a device of a board");
  must(device != 0x8009 && device != 0x800A && device != 0x800B && device != 0x8019 && device != 0x8029, "no quarantined device");
  must(step->stage < plan.stage_count && strlen(step->place) > 0, "a stage and a place");
  if (step->kind == STEP_ABSENT) {
    must(strlen(step->reason) > 0, "a reason");
    return;
  }
  must(step->bus < plan.bus_count, "a bus of the plan");
  must(step->timeout_ms >= 1 && step->timeout_ms <= TIMEOUT_MS_MAX && step->settle_ms <= SETTLE_MS_MAX, "times");
  unsigned width = step->width_bits;
  must(width == 8 || width == 16 || width == 32 || width == 64, "a width");
  uint64_t all = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
  must((step->value & ~all) == 0 && (step->mask & ~all) == 0 && (step->expected & ~step->mask) == 0, "words of the width");
  const struct bus *bus = &plan.buses[step->bus];
  switch (step->kind) {
    case STEP_WINDOW:
      must(bus->kind == BUS_WINDOW && step->position % (width / 8) == 0, "a register on its boundary");
      must(step->mapping < 0 || step->position >= (uint64_t)step->mapping, "a register in its mapping");
      break;
    case STEP_SYSFS:
      must(bus->kind == BUS_SYSFS && strncmp(step->path, bus->path, strlen(bus->path)) == 0, "an attribute below its root");
      must(strstr(step->path, "/../") == NULL && strlen(step->path) < 1024 && strlen(step->text) <= 24, "a path and a text");
      break;
    case STEP_I2C:
      must(bus->kind == BUS_I2C || bus->kind == BUS_I2C_SOCKET, "an I2C bus");
      must(step->chip >= 0x08 && step->chip <= 0x77 && step->command <= 0xFF, "a chip");
      must(step->protocol == I2C_RAW || width == (step->protocol == I2C_BYTE ? 8u : 16u), "a protocol of its width");
      break;
    case STEP_SERIAL:
      must(bus->kind == BUS_SERIAL && step->unit >= 1 && step->unit <= 247 && step->address <= 0xFFFF, "a unit");
      must(step->table == MODBUS_HOLDING || step->value <= 1, "a coil");
      break;
    case STEP_ABSENT: break;
  }
}

int main(void) {
  unsigned char head[4];
  while (fread(head, 1, sizeof head, stdin) == sizeof head) {
    size_t length = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
    char *text = malloc(length == 0 ? 1 : length);
    if (text == NULL || fread(text, 1, length, stdin) != length) return 1;
    unsigned line = 0;
    const char *odd = plan_parse(&plan, text, length, &line);
    if (odd == NULL) {
      for (size_t at = 0; at < plan.step_count; at++) look_at_step(&plan.steps[at]);
      must(strlen(plan.board) == 64 && strlen(plan.boot) == 36, "a board and a boot");
      printf("taken\n");
    } else {
      printf("refused %s\n", odd);
    }
    fflush(stdout);
    free(text);
  }
  return 0;
}
