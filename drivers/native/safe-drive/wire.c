// Wires: a Modbus write on a serial line until its answer came, and an I2C write until the chip acknowledged it.
// Invariants: every wait ends at the step's own time-out; an answer counts only when every byte of it is the expected one.

#define _GNU_SOURCE
#include "step.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

// At least t3.5 of silence before a frame (Modbus over Serial Line 1.02 section 2.5.1.1), and what an FTDI still holds back.
enum { QUIET_MS = 20 };
enum { RECEIVED_MAX = 512 };

// --- Serial --------------------------------------------------------------------------------------

static bool speed_of(unsigned baud, speed_t *speed) {
  static const struct {
    unsigned baud;
    speed_t speed;
  } speeds[] = {
      {1200, B1200},     {2400, B2400},     {4800, B4800},     {9600, B9600},     {19200, B19200},   {38400, B38400},
      {57600, B57600},   {115200, B115200}, {230400, B230400}, {460800, B460800}, {921600, B921600},
  };
  for (size_t at = 0; at < sizeof speeds / sizeof *speeds; at++) {
    if (speeds[at].baud != baud) continue;
    *speed = speeds[at].speed;
    return true;
  }
  return false;
}

static bool set_line(int fd, const struct bus *bus) {
  struct termios line;
  speed_t speed;
  if (!speed_of(bus->baud, &speed) || tcgetattr(fd, &line) < 0) return false;
  cfmakeraw(&line);
  line.c_cflag &= ~(tcflag_t)(CSIZE | PARENB | PARODD | CSTOPB | CRTSCTS);
  line.c_cflag |= CLOCAL | CREAD | (bus->data_bits == 7 ? CS7 : CS8) | (bus->stop_bits == 2 ? CSTOPB : 0);
  if (bus->parity != 'n') line.c_cflag |= PARENB | (bus->parity == 'o' ? PARODD : 0);
  return cfsetspeed(&line, speed) == 0 && tcsetattr(fd, TCSANOW, &line) == 0;
}

// Throws away what is still on its way to the dead kernel, until nothing came for a while.
static bool quieten(int fd, int64_t until_ms) {
  unsigned char bytes[64];
  tcflush(fd, TCIOFLUSH);
  for (;;) {
    int64_t quiet_ms = now_ms() + QUIET_MS;
    if (quiet_ms > until_ms) return false;
    if (!wait_for(fd, POLLIN, quiet_ms)) return true;
    ssize_t count = read(fd, bytes, sizeof bytes);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
  }
}

static bool send_all(int fd, const unsigned char *bytes, size_t count, int64_t until_ms) {
  while (count > 0) {
    ssize_t sent = write(fd, bytes, count);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    if (sent > 0) {
      bytes += sent;
      count -= (size_t)sent;
    } else if (!wait_for(fd, POLLOUT, until_ms)) {
      errno = ETIMEDOUT;
      return false;
    }
  }
  return true;
}

static bool await_answer(int fd, const struct step *step, int64_t until_ms, char *finding) {
  unsigned char bytes[RECEIVED_MAX];
  size_t length = 0;
  while (wait_for(fd, POLLIN, until_ms)) {
    ssize_t count = read(fd, bytes + length, sizeof bytes - length);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (count <= 0) return failed(finding, "the serial line went away", count < 0 ? errno : EIO);
    length += (size_t)count;
    if (memmem(bytes, length, step->answer, step->answer_count) != NULL) return true;
    unsigned char refusal[] = {step->bytes[0], step->bytes[1] | 0x80};
    const unsigned char *refused = memmem(bytes, length, refusal, sizeof refusal);
    if (refused != NULL && refused + 3 <= bytes + length) {
      snprintf(finding, FINDING_BYTES, "the unit refused with exception %u", refused[2]);
      return false;
    }
    if (length == sizeof bytes) return failed(finding, "the line babbles", EPROTO);
  }
  return failed(finding, length > 0 ? "only noise for an answer" : "no answer", ETIMEDOUT);
}

bool serial_write(const struct bus *bus, const struct step *step, char *finding) {
  int64_t until_ms = now_ms() + QUIET_MS + step->timeout_ms;
  int fd = open(bus->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return failed(finding, "the serial line cannot be opened", errno);
  bool done = false;
  if (!set_line(fd, bus)) failed(finding, "the serial line cannot be set", errno);
  else if (!quieten(fd, until_ms)) failed(finding, "the serial line was not quiet", ETIMEDOUT);
  else if (!send_all(fd, step->bytes, step->byte_count, until_ms)) failed(finding, "the frame was not sent", errno);
  else done = await_answer(fd, step, until_ms, finding);
  close(fd);
  return done;
}

// --- I2C -----------------------------------------------------------------------------------------

static bool smbus_write(int fd, const struct step *step) {
  union i2c_smbus_data data;
  struct i2c_smbus_ioctl_data call = {.read_write = I2C_SMBUS_WRITE, .command = step->bytes[0], .data = &data};
  size_t count = step->byte_count - 1;
  memset(&data, 0, sizeof data);
  if (count == 1) {
    call.size = I2C_SMBUS_BYTE_DATA;
    data.byte = step->bytes[1];
  } else if (count == 2) {
    call.size = I2C_SMBUS_WORD_DATA;
    data.word = (__u16)(step->bytes[1] | step->bytes[2] << 8);
  } else {
    call.size = I2C_SMBUS_I2C_BLOCK_DATA;
    data.block[0] = (__u8)count;
    memcpy(data.block + 1, step->bytes + 1, count);
  }
  return ioctl(fd, I2C_SMBUS, &call) == 0;
}

static bool adapter_write(const struct bus *bus, const struct step *step, char *finding) {
  unsigned long abilities = 0;
  int fd = open(bus->path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return failed(finding, "the adapter cannot be opened", errno);
  // In units of 10 ms; an adapter that does not know it keeps its own.
  (void)ioctl(fd, I2C_TIMEOUT, (unsigned long)(step->timeout_ms + 9) / 10);
  bool done = false;
  // I2C_SLAVE, not I2C_SLAVE_FORCE: a chip that a kernel driver has claimed is that driver's.
  if (ioctl(fd, I2C_SLAVE, (unsigned long)step->chip) < 0) failed(finding, "the chip is not to be had", errno);
  else if (ioctl(fd, I2C_FUNCS, &abilities) < 0) failed(finding, "the adapter does not answer", errno);
  else if (abilities & I2C_FUNC_I2C) done = write(fd, step->bytes, step->byte_count) == (ssize_t)step->byte_count;
  else done = smbus_write(fd, step);
  if (!done && finding[0] == '\0') failed(finding, "the chip did not take the write", errno);
  close(fd);
  return done;
}

// The messages of drivers/bus/i2c-wire.ts, which a simulated adapter speaks.
static bool socket_write(const struct bus *bus, const struct step *step, char *finding) {
  int64_t until_ms = now_ms() + step->timeout_ms;
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
  unsigned char request[6 + FRAME_BYTES_MAX] = {(unsigned char)(5 + step->byte_count), 0, 1, (unsigned char)step->chip};
  unsigned char answer[4];
  size_t got = 0;
  memcpy(request + 6, step->bytes, step->byte_count);
  bool sent = send_all(fd, request, 6 + step->byte_count, until_ms);
  while (sent && got < sizeof answer && wait_for(fd, POLLIN, until_ms)) {
    ssize_t count = read(fd, answer + got, sizeof answer - got);
    if (count > 0) got += (size_t)count;
    else if (count == 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  close(fd);
  if (got < sizeof answer) return failed(finding, "the adapter did not answer", ETIMEDOUT);
  return (answer[0] == 3 && answer[2] == 1 && answer[3] == 0) || failed(finding, "the chip did not acknowledge", ENXIO);
}

bool i2c_write(const struct bus *bus, const struct step *step, char *finding) {
  finding[0] = '\0';
  return bus->kind == BUS_I2C ? adapter_write(bus, step, finding) : socket_write(bus, step, finding);
}
