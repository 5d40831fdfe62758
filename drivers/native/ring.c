// Two single-producer single-consumer rings in one shared file, one for each direction of a link.
// Invariants: push copies in, then publishes; pop copies out, then frees; nothing read from the file is
// believed before it was copied to private memory and checked; each side keeps its own position privately.
// Faults: a full ring (-1 from push), a frame that fails its check (-2 from pop), a truncated file (-3).

#define _GNU_SOURCE
#include "crc32c.h"
#include "latch.h"
#include "shared-file.h"
#include "signal-watch.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

enum {
  PAYLOAD_MAX = 4096,
  PAGE = 4096,
  SLOTS_MAX = 4096,
  EPOCH_BITS = 20,
  // Longer than a wake-up on another processor (20 to 45 us on a virtual machine), so that the first spin after
  // brisk traffic begins can catch a peer that had to be woken.
  SPIN_NS_MAX = 50000,
  SPIN_NS_MIN = 3000,
  // Sleeps shorter than this might have been saved by spinning.
  SHORT_SLEEP_NS = 150000,
  SHORT_SLEEPS_NEEDED_MAX = 1024,
};
static const uint64_t MAGIC = 0x314B4E4C4D534400ull;  // "\0DSMLNK1" in memory order
static const uint64_t COUNT_MASK = (1ull << (64 - EPOCH_BITS)) - 1;

enum { PUSH_FULL = -1, POP_EMPTY = -1, POP_CORRUPT = -2, LINK_BROKEN = -3 };

// SPEC-INTEGRATION-001, "Shared Memory IPC": header, payload, checksum. The sequence number holds the sender's
// epoch in its upper 20 bits, so a frame of an earlier incarnation is known; time is CLOCK_MONOTONIC.
struct frame_header {
  uint32_t message_type;
  uint32_t message_size;
  uint64_t sequence_number;
  int64_t timestamp_sec;
  int64_t timestamp_nsec;
  uint32_t source_track;
  uint32_t destination_track;
};

struct slot {
  struct frame_header header;
  unsigned char payload[PAYLOAD_MAX];
  uint32_t checksum;
  unsigned char padding[20];
};
_Static_assert(sizeof(struct frame_header) == 40, "frame header is 40 bytes");
_Static_assert(sizeof(struct slot) % 64 == 0, "slots start on cache lines");

struct side_words {
  uint32_t pid;
  uint32_t epoch;
  uint32_t heartbeat;
  unsigned char padding0[52];
  uint32_t sleeping;
  unsigned char padding1[60];
};

struct ring_words {
  uint32_t head;
  unsigned char padding0[60];
  uint32_t tail;
  unsigned char padding1[60];
};

// First page of the file. Side 0 is the earlier track in kernel, security, interface; ring n is written by side n.
struct link_page {
  uint64_t magic;
  uint32_t slot_count;
  uint32_t slot_size;
  unsigned char padding[48];
  struct side_words sides[2];
  struct ring_words rings[2];
};
_Static_assert(sizeof(struct link_page) <= PAGE, "the link's words fit the first page");

// Words that JavaScript reads after a call, in this order.
enum {
  STATE_TYPE,
  STATE_FRAME_EPOCH,
  STATE_PEER_PID,
  STATE_PEER_EPOCH,
  STATE_PEER_HEARTBEAT,
  STATE_OWN_EPOCH,
  STATE_BELL_WRITES,
  STATE_SPIN_HITS,
  STATE_WORDS
};

struct link {
  struct dsmil_shared_file file;
  struct link_page *page;
  struct slot *out;
  struct slot *in;
  uint32_t side;
  uint32_t mask;
  uint32_t head;
  uint32_t tail;
  uint32_t own_track;
  uint32_t peer_track;
  uint64_t sequence;
  uint64_t expected;
  bool expecting;
  bool open;
  int peer_bell;
  unsigned char *send;
  unsigned char *receive;
  uint32_t *state;
  napi_ref buffers[3];
  uint32_t spin_ns;
  uint32_t short_sleeps;
  uint32_t short_sleeps_needed;
  uint64_t slept_at_ns;
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static struct side_words *own_side(struct link *link) { return &link->page->sides[link->side]; }
static struct side_words *peer_side(struct link *link) { return &link->page->sides[1 - link->side]; }
static struct ring_words *out_ring(struct link *link) { return &link->page->rings[link->side]; }
static struct ring_words *in_ring(struct link *link) { return &link->page->rings[1 - link->side]; }

static uint32_t frame_checksum(const struct slot *slot) {
  uint32_t crc = dsmil_crc32c(0, &slot->header, sizeof slot->header);
  return dsmil_crc32c(crc, slot->payload, slot->header.message_size);
}

// How many slots the producer may fill; a tail that cannot be true counts as a full ring.
static uint32_t free_slots(struct link *link) {
  uint32_t used = link->head - __atomic_load_n(&out_ring(link)->tail, __ATOMIC_ACQUIRE);
  return used > link->mask + 1 ? 0 : link->mask + 1 - used;
}

static bool readable(struct link *link) {
  return __atomic_load_n(&in_ring(link)->head, __ATOMIC_ACQUIRE) != link->tail;
}

// Rings the peer when it sleeps; one byte per sleep, because the flag is taken with the ring.
static void wake_peer(struct link *link) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (__atomic_load_n(&peer_side(link)->sleeping, __ATOMIC_RELAXED) == 0) return;
  if (__atomic_exchange_n(&peer_side(link)->sleeping, 0, __ATOMIC_SEQ_CST) == 0) return;
  link->state[STATE_BELL_WRITES]++;
  dsmil_doorbell_ring(link->peer_bell);
}

static int32_t push_frame(struct link *link, uint32_t type, uint32_t size) {
  if (link->file.broken) return LINK_BROKEN;
  if (free_slots(link) == 0) return PUSH_FULL;
  struct slot *slot = &link->out[link->head & link->mask];
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  // Built in private memory: the peer may write the slot too, and the check must cover what we meant.
  struct frame_header header = {
      .message_type = type,
      .message_size = size,
      .sequence_number = ((uint64_t)link->state[STATE_OWN_EPOCH] << (64 - EPOCH_BITS)) |
                         (link->sequence++ & COUNT_MASK),
      .timestamp_sec = now.tv_sec,
      .timestamp_nsec = now.tv_nsec,
      .source_track = link->own_track,
      .destination_track = link->peer_track,
  };
  uint32_t crc = dsmil_crc32c(0, &header, sizeof header);
  crc = dsmil_crc32c(crc, link->send, size);
  slot->header = header;
  memcpy(slot->payload, link->send, size);
  slot->checksum = crc;
  link->head++;
  __atomic_store_n(&out_ring(link)->head, link->head, __ATOMIC_RELEASE);
  wake_peer(link);
  return link->file.broken ? LINK_BROKEN : 0;
}

static void free_slot(struct link *link) {
  link->tail++;
  __atomic_store_n(&in_ring(link)->tail, link->tail, __ATOMIC_RELEASE);
}

static bool expected_sequence(struct link *link, uint64_t sequence) {
  bool known = link->expecting;
  bool same_epoch = sequence >> (64 - EPOCH_BITS) == link->expected >> (64 - EPOCH_BITS);
  bool next = !known || !same_epoch || sequence == link->expected;
  link->expecting = true;
  link->expected = sequence + 1;
  return next;
}

static int32_t pop_frame(struct link *link) {
  if (link->file.broken) return LINK_BROKEN;
  uint32_t head = __atomic_load_n(&in_ring(link)->head, __ATOMIC_ACQUIRE);
  uint32_t used = head - link->tail;
  if (used == 0) return POP_EMPTY;
  if (used > link->mask + 1) {
    // The head was altered. Until the producer publishes its own again, the ring counts as empty.
    __atomic_store_n(&in_ring(link)->head, link->tail, __ATOMIC_RELEASE);
    return POP_CORRUPT;
  }
  const struct slot *slot = &link->in[link->tail & link->mask];
  struct slot copy;
  copy.header = slot->header;
  uint32_t size = copy.header.message_size;
  bool sound = size <= PAYLOAD_MAX;
  if (sound) {
    memcpy(copy.payload, slot->payload, size);
    sound = slot->checksum == frame_checksum(&copy);
  }
  free_slot(link);
  if (link->file.broken) return LINK_BROKEN;
  if (!sound) {
    link->expected++;
    return POP_CORRUPT;
  }
  sound = copy.header.source_track == link->peer_track && copy.header.destination_track == link->own_track;
  if (!expected_sequence(link, copy.header.sequence_number) || !sound) return POP_CORRUPT;
  memcpy(link->receive, copy.payload, size);
  link->state[STATE_TYPE] = copy.header.message_type;
  link->state[STATE_FRAME_EPOCH] = (uint32_t)(copy.header.sequence_number >> (64 - EPOCH_BITS));
  return (int32_t)size;
}

// Looks for a frame for as long as recent traffic makes one likely. A hit sets the length to a few times the gap
// it bridged, a miss halves it; at nothing it takes several short sleeps in a row to begin again.
static bool spin(struct link *link) {
  if (link->spin_ns == 0) return false;
  uint64_t start = now_ns(), spun = 0;
  while (spun < link->spin_ns) {
    for (int turn = 0; turn < 16; turn++) {
      if (readable(link)) {
        uint64_t longer = 8 * spun + 2 * SPIN_NS_MIN;
        link->spin_ns = longer < SPIN_NS_MAX ? (uint32_t)longer : SPIN_NS_MAX;
        if (link->short_sleeps_needed > 2) link->short_sleeps_needed -= (link->short_sleeps_needed + 7) / 8;
        link->state[STATE_SPIN_HITS]++;
        return true;
      }
      RELAX();
    }
    spun = now_ns() - start;
  }
  link->spin_ns /= 2;
  if (link->spin_ns < SPIN_NS_MIN) {
    link->spin_ns = 0;
    if (link->short_sleeps_needed < SHORT_SLEEPS_NEEDED_MAX) link->short_sleeps_needed *= 4;
  }
  return false;
}

// After JavaScript has taken what there was: looks again for a moment while traffic is brisk, then sleeps.
static bool more_to_read(void *context) {
  struct link *link = context;
  if (!link->open || link->file.broken) return false;
  if (readable(link) || spin(link)) return true;
  link->slept_at_ns = now_ns();
  __atomic_store_n(&own_side(link)->sleeping, 1, __ATOMIC_SEQ_CST);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (!readable(link)) return false;
  __atomic_store_n(&own_side(link)->sleeping, 0, __ATOMIC_SEQ_CST);
  return true;
}

static void note_wake(struct link *link) {
  if (link->slept_at_ns == 0) return;
  uint64_t slept_ns = now_ns() - link->slept_at_ns;
  link->slept_at_ns = 0;
  link->short_sleeps = slept_ns < SHORT_SLEEP_NS ? link->short_sleeps + 1 : 0;
  if (link->short_sleeps < link->short_sleeps_needed) return;
  link->short_sleeps = 0;
  link->spin_ns = SPIN_NS_MAX;
}

static void read_peer(struct link *link) {
  struct side_words *peer = peer_side(link);
  link->state[STATE_PEER_EPOCH] = __atomic_load_n(&peer->epoch, __ATOMIC_ACQUIRE) & ((1u << EPOCH_BITS) - 1);
  link->state[STATE_PEER_PID] = __atomic_load_n(&peer->pid, __ATOMIC_ACQUIRE);
  link->state[STATE_PEER_HEARTBEAT] = __atomic_load_n(&peer->heartbeat, __ATOMIC_ACQUIRE);
}

static struct link *link_of(napi_env env, napi_callback_info info) {
  void *data;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  struct link *link = data;
  if (link->open) return link;
  dsmil_throw_errno(env, EBADF, "link is closed");
  return NULL;
}

static napi_value number(napi_env env, int32_t value) {
  napi_value result;
  napi_create_int32(env, value, &result);
  return result;
}

// push(type, size): sends the first `size` bytes of the send buffer as one frame.
static napi_value link_push(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  void *data;
  uint32_t type, size;
  napi_get_cb_info(env, info, &count, arguments, NULL, &data);
  struct link *link = data;
  if (!link->open) return number(env, LINK_BROKEN);
  if (count != 2 || napi_get_value_uint32(env, arguments[0], &type) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &size) != napi_ok || size > PAYLOAD_MAX) {
    dsmil_throw_errno(env, EINVAL, "push");
    return NULL;
  }
  return number(env, push_frame(link, type, size));
}

// pop(): size of the frame now in the receive buffer, its type and epoch in the state words.
static napi_value link_pop(napi_env env, napi_callback_info info) {
  void *data;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  struct link *link = data;
  return number(env, link->open ? pop_frame(link) : LINK_BROKEN);
}

// free(): how many frames may be pushed now.
static napi_value link_free(napi_env env, napi_callback_info info) {
  struct link *link = link_of(env, info);
  return link == NULL ? NULL : number(env, (int32_t)free_slots(link));
}

// beat(): bumps the own heartbeat, publishes the own positions again (so an altered word heals), and fills the
// peer's words into the state; -3 when the file was truncated.
static napi_value link_beat(napi_env env, napi_callback_info info) {
  struct link *link = link_of(env, info);
  if (link == NULL) return NULL;
  __atomic_fetch_add(&own_side(link)->heartbeat, 1, __ATOMIC_RELEASE);
  __atomic_store_n(&out_ring(link)->head, link->head, __ATOMIC_RELEASE);
  __atomic_store_n(&in_ring(link)->tail, link->tail, __ATOMIC_RELEASE);
  read_peer(link);
  return number(env, link->file.broken ? LINK_BROKEN : 0);
}

// look(): fills the peer's words into the state.
static napi_value link_look(napi_env env, napi_callback_info info) {
  struct link *link = link_of(env, info);
  if (link == NULL) return NULL;
  note_wake(link);
  read_peer(link);
  return number(env, link->file.broken ? LINK_BROKEN : 0);
}

// listen(descriptor, callback) -> closing function; calls back when frames or the peer's words may have changed.
static napi_value link_listen(napi_env env, napi_callback_info info) {
  size_t count = 2;
  napi_value arguments[2];
  void *data;
  int32_t fd;
  napi_get_cb_info(env, info, &count, arguments, NULL, &data);
  struct link *link = data;
  if (!link->open || count != 2 || napi_get_value_int32(env, arguments[0], &fd) != napi_ok) {
    dsmil_throw_errno(env, EINVAL, "listen");
    return NULL;
  }
  struct dsmil_watch *watch = dsmil_watch_open(env, fd, DSMIL_WATCH_DOORBELL, arguments[1], more_to_read, link);
  if (watch == NULL) return NULL;
  dsmil_doorbell_ring(fd);
  return dsmil_watch_closer(env, watch);
}

static napi_value link_close(napi_env env, napi_callback_info info) {
  void *data;
  napi_get_cb_info(env, info, NULL, NULL, NULL, &data);
  struct link *link = data;
  if (!link->open) return NULL;
  link->open = false;
  __atomic_store_n(&own_side(link)->sleeping, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&own_side(link)->pid, 0, __ATOMIC_SEQ_CST);
  dsmil_doorbell_ring(link->peer_bell);
  dsmil_shared_close(&link->file);
  for (int i = 0; i < 3; i++) napi_delete_reference(env, link->buffers[i]);
  return NULL;
}

static void fill_link(unsigned char *address, const void *context) {
  struct link_page *page = (struct link_page *)address;
  page->slot_count = *(const uint32_t *)context;
  page->slot_size = sizeof(struct slot);
  page->magic = MAGIC;
}

// One process per side: an open-file-description lock on the side's byte, gone with the process.
static int take_side(struct link *link) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = link->side, .l_len = 1};
  return fcntl(link->file.fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static void attach(struct link *link) {
  struct side_words *own = own_side(link);
  link->head = __atomic_load_n(&out_ring(link)->head, __ATOMIC_ACQUIRE);
  link->tail = __atomic_load_n(&in_ring(link)->head, __ATOMIC_ACQUIRE);
  __atomic_store_n(&in_ring(link)->tail, link->tail, __ATOMIC_RELEASE);
  __atomic_store_n(&own->sleeping, 0, __ATOMIC_SEQ_CST);
  uint32_t epoch = (own->epoch + 1) & ((1u << EPOCH_BITS) - 1);
  link->state[STATE_OWN_EPOCH] = epoch == 0 ? 1 : epoch;
  __atomic_store_n(&own->pid, (uint32_t)getpid(), __ATOMIC_SEQ_CST);
  __atomic_store_n(&own->epoch, link->state[STATE_OWN_EPOCH], __ATOMIC_SEQ_CST);
  read_peer(link);
  dsmil_doorbell_ring(link->peer_bell);
}

static bool take_buffer(napi_env env, napi_value value, size_t needed, void **address, napi_ref *reference) {
  size_t length = 0;
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env, value, &type, &length, address, NULL, NULL) != napi_ok) return false;
  size_t bytes = type == napi_uint32_array ? length * 4 : length;
  return bytes >= needed && napi_create_reference(env, value, 1, reference) == napi_ok;
}

static void method(napi_env env, napi_value object, const char *name, napi_callback callback, struct link *link) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, link, &function);
  napi_set_named_property(env, object, name, function);
}

// linkOpen(path, slots, side, ownTrack, peerTrack, peerBell, send, receive, state) -> methods of the link.
static napi_value link_open(napi_env env, napi_callback_info info) {
  size_t count = 9, length = 0;
  napi_value arguments[9], result;
  char path[4096];
  uint32_t slots = 0;
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  // Never freed: the methods point at it, and a process opens a handful of links in its life.
  struct link *link = calloc(1, sizeof *link);
  if (link == NULL || count != 9 ||
      napi_get_value_string_utf8(env, arguments[0], path, sizeof path, &length) != napi_ok ||
      napi_get_value_uint32(env, arguments[1], &slots) != napi_ok || slots < 2 || slots > SLOTS_MAX ||
      (slots & (slots - 1)) != 0 || napi_get_value_uint32(env, arguments[2], &link->side) != napi_ok ||
      link->side > 1 || napi_get_value_uint32(env, arguments[3], &link->own_track) != napi_ok ||
      napi_get_value_uint32(env, arguments[4], &link->peer_track) != napi_ok ||
      napi_get_value_int32(env, arguments[5], &link->peer_bell) != napi_ok ||
      !take_buffer(env, arguments[6], PAYLOAD_MAX, (void **)&link->send, &link->buffers[0]) ||
      !take_buffer(env, arguments[7], PAYLOAD_MAX, (void **)&link->receive, &link->buffers[1]) ||
      !take_buffer(env, arguments[8], STATE_WORDS * 4, (void **)&link->state, &link->buffers[2])) {
    free(link);
    dsmil_throw_errno(env, EINVAL, "linkOpen");
    return NULL;
  }
  size_t ring_bytes = (size_t)slots * sizeof(struct slot);
  int opened = dsmil_shared_open(&link->file, path, PAGE + 2 * ring_bytes, 0660, DSMIL_SHARED_WRITE, fill_link, &slots);
  if (opened == 0) {
    link->page = (struct link_page *)link->file.address;
    bool ours = link->page->magic == MAGIC && link->page->slot_count == slots && link->page->slot_size == sizeof(struct slot);
    opened = ours ? take_side(link) : -EMEDIUMTYPE;
    if (opened < 0) dsmil_shared_close(&link->file);
  }
  if (opened < 0) {
    free(link);
    dsmil_throw_errno(env, -opened, "linkOpen");
    return NULL;
  }
  unsigned char *rings = link->file.address + PAGE;
  link->out = (struct slot *)(rings + link->side * ring_bytes);
  link->in = (struct slot *)(rings + (1 - link->side) * ring_bytes);
  link->mask = slots - 1;
  link->short_sleeps_needed = 2;
  link->open = true;
  attach(link);
  napi_create_object(env, &result);
  method(env, result, "push", link_push, link);
  method(env, result, "pop", link_pop, link);
  method(env, result, "free", link_free, link);
  method(env, result, "beat", link_beat, link);
  method(env, result, "look", link_look, link);
  method(env, result, "listen", link_listen, link);
  method(env, result, "close", link_close, link);
  return result;
}

// crc32c(bytes, how) -> number; `how` is "chosen" or "table".
static napi_value crc32c(napi_env env, napi_callback_info info) {
  size_t count = 2, length = 0;
  napi_value arguments[2], result;
  void *bytes;
  char how[8] = "";
  napi_get_cb_info(env, info, &count, arguments, NULL, NULL);
  if (count != 2 || napi_get_typedarray_info(env, arguments[0], NULL, &length, &bytes, NULL, NULL) != napi_ok ||
      napi_get_value_string_utf8(env, arguments[1], how, sizeof how, NULL) != napi_ok) {
    dsmil_throw_errno(env, EINVAL, "crc32c");
    return NULL;
  }
  bool table = strcmp(how, "table") == 0;
  napi_create_uint32(env, table ? dsmil_crc32c_table(0, bytes, length) : dsmil_crc32c(0, bytes, length), &result);
  return result;
}

void dsmil_init_ring(napi_env env, napi_value exports) {
  napi_value name;
  dsmil_crc32c_choose();
  dsmil_export(env, exports, "linkOpen", link_open);
  dsmil_export(env, exports, "crc32c", crc32c);
  napi_create_string_utf8(env, dsmil_crc32c_name(), NAPI_AUTO_LENGTH, &name);
  napi_set_named_property(env, exports, "crc32cName", name);
  dsmil_init_latch(env, exports);
}
