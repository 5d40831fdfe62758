// I2C registers by the same transfers as the driver's (drivers/bus/i2c.ts): SMBus byte and word data, or a block.
// Faults: a transfer on a real adapter ends when its driver says so, which was told the time that is left.

#define _GNU_SOURCE
#include "step.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BYTES_MAX = 8 };

static size_t byte_count(const struct step *step) { return step->width_bits / 8; }

// SMBus 3.2 section 6.5.5: a word goes low byte first.
static bool low_byte_first(const struct step *step) { return step->protocol == I2C_BYTE || step->protocol == I2C_WORD; }

static void to_wire(const struct step *step, unsigned char *bytes) {
  size_t count = byte_count(step);
  for (size_t at = 0; at < count; at++) {
    size_t place = low_byte_first(step) ? at : count - 1 - at;
    bytes[at] = (unsigned char)(step->value >> (8 * place));
  }
}

static uint64_t from_wire(const struct step *step, const unsigned char *bytes) {
  uint64_t word = 0;
  size_t count = byte_count(step);
  for (size_t at = 0; at < count; at++) {
    size_t place = low_byte_first(step) ? at : count - 1 - at;
    word |= (uint64_t)bytes[at] << (8 * place);
  }
  return word;
}

// --- An adapter of the kernel's ------------------------------------------------------------------

static int open_adapter(const struct bus *bus, const struct step *step, int64_t until_ms, char *finding) {
  int64_t left_ms = until_ms - now_ms();
  int fd = open(bus->path, O_RDWR | O_CLOEXEC);
  if (fd < 0) {
    failed(finding, "the adapter cannot be opened", errno);
    return -1;
  }
  // In units of 10 ms; an adapter that does not know it keeps its own.
  (void)ioctl(fd, I2C_TIMEOUT, (unsigned long)((left_ms > 0 ? left_ms : 1) + 9) / 10);
  // I2C_SLAVE, not I2C_SLAVE_FORCE: a chip that a kernel driver has claimed is that driver's.
  if (ioctl(fd, I2C_SLAVE, (unsigned long)step->chip) == 0) return fd;
  failed(finding, "the chip is not to be had", errno);
  close(fd);
  return -1;
}

static bool smbus(int fd, const struct step *step, __u8 direction, union i2c_smbus_data *data) {
  struct i2c_smbus_ioctl_data call = {.read_write = direction, .command = (__u8)step->command, .data = data};
  switch (step->protocol) {
    case I2C_BYTE: call.size = I2C_SMBUS_BYTE_DATA; break;
    case I2C_WORD:
    case I2C_WORD_SWAPPED: call.size = I2C_SMBUS_WORD_DATA; break;
    case I2C_RAW: call.size = I2C_SMBUS_I2C_BLOCK_DATA; break;
  }
  return ioctl(fd, I2C_SMBUS, &call) == 0;
}

// Bytes in the order of the wire, wherever the call wants or has them.
static bool adapter_transfer(int fd, const struct step *step, __u8 direction, unsigned char *bytes) {
  union i2c_smbus_data data;
  size_t count = byte_count(step);
  memset(&data, 0, sizeof data);
  if (step->protocol == I2C_RAW) data.block[0] = (__u8)count;
  if (direction == I2C_SMBUS_WRITE) {
    if (step->protocol == I2C_RAW) memcpy(data.block + 1, bytes, count);
    else if (step->protocol == I2C_BYTE) data.byte = bytes[0];
    else data.word = (__u16)(bytes[0] | bytes[1] << 8);
  }
  if (!smbus(fd, step, direction, &data)) return false;
  if (direction == I2C_SMBUS_WRITE) return true;
  if (step->protocol == I2C_RAW) {
    if (data.block[0] != count) {
      errno = EPROTO;
      return false;
    }
    memcpy(bytes, data.block + 1, count);
  } else if (step->protocol == I2C_BYTE) {
    bytes[0] = data.byte;
  } else {
    bytes[0] = (unsigned char)data.word;
    bytes[1] = (unsigned char)(data.word >> 8);
  }
  return true;
}

// --- A simulated adapter -------------------------------------------------------------------------

enum { REQUEST_HEAD = 6, ANSWER_HEAD = 4 };

// The messages of drivers/bus/i2c-wire.ts: `count` bytes written after the command, `asked` bytes read.
static bool socket_transfer(const struct bus *bus, const struct step *step, int64_t until_ms, size_t count, size_t asked,
                            unsigned char *bytes, char *finding) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(bus->path);
  if (length >= sizeof address.sun_path) return failed(finding, "the adapter has too long a path", ENAMETOOLONG);
  memcpy(address.sun_path, bus->path, length);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    int error = errno;
    if (fd >= 0) close(fd);
    return failed(finding, "the adapter cannot be reached", error);
  }
  unsigned char request[REQUEST_HEAD + 1 + BYTES_MAX] = {
      (unsigned char)(REQUEST_HEAD + count), 0, 1, (unsigned char)step->chip, 0, (unsigned char)asked, (unsigned char)step->command,
  };
  unsigned char answer[ANSWER_HEAD + BYTES_MAX];
  size_t got = 0, wanted = ANSWER_HEAD;
  memcpy(request + REQUEST_HEAD + 1, bytes, count);
  bool open = send_all(fd, request, REQUEST_HEAD + 1 + count, until_ms);
  while (open && got < wanted && wait_for(fd, POLLIN, until_ms)) {
    ssize_t part = read(fd, answer + got, wanted - got);
    if (part > 0) got += (size_t)part;
    else if (part == 0 || (errno != EAGAIN && errno != EINTR)) open = false;
    // Bytes follow an answer that is one; a refusal has none.
    if (got == ANSWER_HEAD && answer[3] == 0) wanted = ANSWER_HEAD + asked;
  }
  close(fd);
  if (got < wanted) return failed(finding, "the adapter did not answer", ETIMEDOUT);
  if (answer[1] != 0 || answer[2] != 1) return failed(finding, "the adapter answered something else", EPROTO);
  if (answer[3] != 0) return failed(finding, "the chip did not acknowledge", ENXIO);
  if (answer[0] != ANSWER_HEAD - 1 + asked) return failed(finding, "the transfer had the wrong length", EPROTO);
  memcpy(bytes, answer + ANSWER_HEAD, asked);
  return true;
}

// --- Either --------------------------------------------------------------------------------------

bool i2c_write(const struct bus *bus, const struct step *step, int64_t until_ms, char *finding) {
  unsigned char bytes[BYTES_MAX];
  to_wire(step, bytes);
  if (bus->kind == BUS_I2C_SOCKET) return socket_transfer(bus, step, until_ms, byte_count(step), 0, bytes, finding);
  int fd = open_adapter(bus, step, until_ms, finding);
  if (fd < 0) return false;
  bool done = adapter_transfer(fd, step, I2C_SMBUS_WRITE, bytes);
  if (!done) failed(finding, "the chip did not take the write", errno);
  close(fd);
  return done;
}

bool i2c_read(const struct bus *bus, const struct step *step, int64_t until_ms, uint64_t *word, char *finding) {
  unsigned char bytes[BYTES_MAX];
  if (bus->kind == BUS_I2C_SOCKET) {
    if (!socket_transfer(bus, step, until_ms, 0, byte_count(step), bytes, finding)) return false;
  } else {
    int fd = open_adapter(bus, step, until_ms, finding);
    if (fd < 0) return false;
    bool done = adapter_transfer(fd, step, I2C_SMBUS_READ, bytes);
    if (!done) failed(finding, "the chip was not read", errno);
    close(fd);
    if (!done) return false;
  }
  *word = from_wire(step, bytes);
  return true;
}
