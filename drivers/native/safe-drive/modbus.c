// Modbus RTU on a serial line: functions 5, 6 and 16 until the unit repeated them, functions 1 and 3 to read them back.
// Sources: Modbus Application Protocol 1.1b3 section 6, Modbus over Serial Line 1.02 sections 2.5.1.1 and 6.2.2.
// Invariants: the line is quiet before each request; an answer counts only whole and with its CRC; a request to read waits
// until no late answer can be taken for its own, neither to an earlier one from here nor to the last one of the dead kernel.

#define _GNU_SOURCE
#include "step.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

// At least t3.5 of silence before a frame (section 2.5.1.1), and what an FTDI still holds back.
enum { QUIET_MS = 20 };
enum { READ_COILS = 1, READ_HOLDING = 3, WRITE_COIL = 5, WRITE_REGISTER = 6, WRITE_REGISTERS = 16, EXCEPTION = 0x80 };
enum { REQUEST_MAX = 17, ANSWER_MAX = 13, RECEIVED_MAX = 512, UNITS = 248 };

struct frame {
  unsigned char bytes[REQUEST_MAX];
  size_t length;
};

// The line of this process, open as long as it works.
static int line = -1;
// Until then a late answer of the unit may come.
static int64_t owed_until_ms[UNITS];
static bool owed_by_the_dead = true;

// --- The line ------------------------------------------------------------------------------------

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

static bool set_line(const struct bus *bus) {
  struct termios settings;
  speed_t speed;
  if (!speed_of(bus->baud, &speed) || tcgetattr(line, &settings) < 0) return false;
  cfmakeraw(&settings);
  settings.c_cflag &= ~(tcflag_t)(CSIZE | PARENB | PARODD | CSTOPB | CRTSCTS);
  settings.c_cflag |= CLOCAL | CREAD | (bus->data_bits == 7 ? CS7 : CS8) | (bus->stop_bits == 2 ? CSTOPB : 0);
  if (bus->parity != 'n') settings.c_cflag |= PARENB | (bus->parity == 'o' ? PARODD : 0);
  return cfsetspeed(&settings, speed) == 0 && tcsetattr(line, TCSANOW, &settings) == 0;
}

static void close_line(void) {
  if (line >= 0) close(line);
  line = -1;
}

static bool open_line(const struct bus *bus, const struct step *step, char *finding) {
  if (owed_by_the_dead) {
    owed_by_the_dead = false;
    for (size_t unit = 0; unit < UNITS; unit++) owed_until_ms[unit] = now_ms() + step->timeout_ms;
  }
  if (line >= 0) return true;
  line = open(bus->path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (line < 0) return failed(finding, "the serial line cannot be opened", errno);
  if (set_line(bus)) return true;
  failed(finding, "the serial line cannot be set", errno);
  close_line();
  return false;
}

// Throws away what comes until `from_ms` is over and nothing came for a while after it.
static bool quieten(int64_t from_ms, int64_t until_ms) {
  unsigned char bytes[64];
  tcflush(line, TCIOFLUSH);
  for (;;) {
    int64_t now = now_ms(), quiet_ms = (from_ms > now ? from_ms : now) + QUIET_MS;
    if (quiet_ms > until_ms) return false;
    if (!wait_for(line, POLLIN, quiet_ms)) return true;
    ssize_t count = read(line, bytes, sizeof bytes);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) return false;
  }
}

// --- Frames --------------------------------------------------------------------------------------

static uint16_t crc16(const unsigned char *bytes, size_t length) {
  uint16_t crc = 0xFFFF;
  for (size_t at = 0; at < length; at++) {
    crc ^= bytes[at];
    for (int bit = 0; bit < 8; bit++) crc = (uint16_t)(crc & 1 ? (crc >> 1) ^ 0xA001 : crc >> 1);
  }
  return crc;
}

static void put_byte(struct frame *frame, unsigned byte) { frame->bytes[frame->length++] = (unsigned char)byte; }

static void put_word(struct frame *frame, unsigned word) {
  put_byte(frame, word >> 8 & 0xFF);
  put_byte(frame, word & 0xFF);
}

static void put_crc(struct frame *frame) {
  uint16_t crc = crc16(frame->bytes, frame->length);
  put_byte(frame, crc & 0xFF);
  put_byte(frame, crc >> 8);
}

static unsigned registers_of(const struct step *step) {
  return step->table == MODBUS_COIL || step->width_bits == 8 ? 1 : step->width_bits / 16;
}

static struct frame begin(const struct step *step, unsigned function) {
  struct frame frame = {.length = 0};
  put_byte(&frame, step->unit);
  put_byte(&frame, function);
  put_word(&frame, step->address);
  return frame;
}

// Several registers go most significant first, as in drivers/bus/modbus-cell.ts.
static struct frame write_request(const struct step *step) {
  unsigned count = registers_of(step);
  struct frame frame;
  if (step->table == MODBUS_COIL) {
    frame = begin(step, WRITE_COIL);
    put_word(&frame, step->value == 1 ? 0xFF00 : 0);
  } else if (count == 1) {
    frame = begin(step, WRITE_REGISTER);
    put_word(&frame, (unsigned)step->value);
  } else {
    frame = begin(step, WRITE_REGISTERS);
    put_word(&frame, count);
    put_byte(&frame, 2 * count);
    for (unsigned at = count; at-- > 0;) put_word(&frame, (unsigned)(step->value >> (16 * at) & 0xFFFF));
  }
  put_crc(&frame);
  return frame;
}

static struct frame read_request(const struct step *step) {
  struct frame frame = begin(step, step->table == MODBUS_COIL ? READ_COILS : READ_HOLDING);
  put_word(&frame, registers_of(step));
  put_crc(&frame);
  return frame;
}

// --- One exchange --------------------------------------------------------------------------------

// How an answer to a request begins, and how long it is.
struct answer {
  unsigned char head[6];
  size_t head_length, length;
};

enum { ECHO_BYTES = 8, REFUSAL_BYTES = 5 };

// Where in what came such a frame stands whole, with its CRC; or null.
static const unsigned char *find_frame(const unsigned char *bytes, size_t count, const struct answer *wanted) {
  for (size_t at = 0; at + wanted->length <= count; at++) {
    const unsigned char *frame = bytes + at, *crc = frame + wanted->length - 2;
    if (memcmp(frame, wanted->head, wanted->head_length) != 0) continue;
    if (crc16(frame, wanted->length - 2) == (crc[0] | crc[1] << 8)) return frame;
  }
  return NULL;
}

static bool await_answer(const struct step *step, const struct answer *wanted, int64_t until_ms, unsigned char *answer, char *finding) {
  const struct answer refusal = {{wanted->head[0], wanted->head[1] | EXCEPTION}, 2, REFUSAL_BYTES};
  unsigned char bytes[RECEIVED_MAX];
  size_t count = 0;
  while (wait_for(line, POLLIN, until_ms)) {
    ssize_t part = read(line, bytes + count, sizeof bytes - count);
    if (part < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (part <= 0) {
      failed(finding, "the serial line went away", part < 0 ? errno : EIO);
      close_line();
      return false;
    }
    count += (size_t)part;
    const unsigned char *found = find_frame(bytes, count, wanted);
    if (found != NULL) {
      memcpy(answer, found, wanted->length);
      return true;
    }
    found = find_frame(bytes, count, &refusal);
    if (found != NULL) {
      snprintf(finding, FINDING_BYTES, "the unit refused with exception %u", found[2]);
      return false;
    }
    // A line that babbles is quiet again before the next request, or it is not sent.
    if (count == sizeof bytes) return failed(finding, "the line babbles", EPROTO);
  }
  owed_until_ms[step->unit] = now_ms() + step->timeout_ms;
  return failed(finding, count > 0 ? "only noise for an answer" : "no answer", ETIMEDOUT);
}

// Sends once the line has been quiet, which it must be after `from_ms`.
static bool exchange(const struct step *step, const struct frame *request, int64_t from_ms, int64_t until_ms,
                     const struct answer *wanted, unsigned char *answer, char *finding) {
  if (!quieten(from_ms, until_ms)) {
    close_line();
    return failed(finding, "the serial line was not quiet", ETIMEDOUT);
  }
  if (!send_all(line, request->bytes, request->length, until_ms)) {
    int error = errno;
    close_line();
    return failed(finding, "the frame was not sent", error);
  }
  int64_t access_ms = now_ms() + step->timeout_ms;
  return await_answer(step, wanted, access_ms < until_ms ? access_ms : until_ms, answer, finding);
}

bool modbus_write(const struct bus *bus, const struct step *step, int64_t until_ms, char *finding) {
  unsigned char answer[ANSWER_MAX];
  struct frame request = write_request(step);
  struct answer wanted = {.head_length = sizeof wanted.head, .length = ECHO_BYTES};
  // Sections 6.5, 6.6, 6.12: function, address and value or count repeated. No late answer to another request does that.
  memcpy(wanted.head, request.bytes, sizeof wanted.head);
  return open_line(bus, step, finding) && exchange(step, &request, 0, until_ms, &wanted, answer, finding);
}

bool modbus_read(const struct bus *bus, const struct step *step, int64_t until_ms, uint64_t *word, char *finding) {
  unsigned char answer[ANSWER_MAX];
  struct frame request = read_request(step);
  unsigned data_bytes = step->table == MODBUS_COIL ? 1 : 2 * registers_of(step);
  const struct answer wanted = {{request.bytes[0], request.bytes[1], (unsigned char)data_bytes}, 3, 5 + data_bytes};
  if (!open_line(bus, step, finding)) return false;
  if (!exchange(step, &request, owed_until_ms[step->unit], until_ms, &wanted, answer, finding)) return false;
  *word = 0;
  for (unsigned at = 0; at < data_bytes; at++) *word = *word << 8 | answer[3 + at];
  // A coil is the lowest bit of its byte; an 8-bit register is the low half of one whose high half is 0.
  if (step->table == MODBUS_COIL) *word &= 1;
  if (step->width_bits == 8 && *word > 0xFF) {
    snprintf(finding, FINDING_BYTES, "read %llu, which does not fit 8 bits", (unsigned long long)*word);
    return false;
  }
  return true;
}
