// The plainest C link: two processes pass 256 bytes to and fro through shared memory, each asleep in a futex between.
// Usage: futex-pair COUNT [apart]; `apart` keeps the two on processors of their own. Prints "p50 p95 p99 n" of the round trip in nanoseconds.

#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 256 };

struct mailbox {
  uint32_t word;
  unsigned char padding[60];
  unsigned char bytes[BYTES];
};

static void post(struct mailbox *box, const unsigned char *bytes, uint32_t word) {
  memcpy(box->bytes, bytes, BYTES);
  __atomic_store_n(&box->word, word, __ATOMIC_RELEASE);
  syscall(SYS_futex, &box->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void take(struct mailbox *box, unsigned char *bytes, uint32_t word) {
  for (;;) {
    uint32_t seen = __atomic_load_n(&box->word, __ATOMIC_ACQUIRE);
    if (seen == word) break;
    syscall(SYS_futex, &box->word, FUTEX_WAIT, seen, NULL, NULL, 0);
  }
  memcpy(bytes, box->bytes, BYTES);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static int ascending(const void *left, const void *right) {
  uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
  return a < b ? -1 : a > b;
}

static void stay_on(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  sched_setaffinity(0, sizeof set, &set);
}

int main(int count, char **arguments) {
  uint32_t rounds = count > 1 ? (uint32_t)strtoul(arguments[1], NULL, 10) : 20000;
  int apart = count > 2 && strcmp(arguments[2], "apart") == 0;
  uint32_t warmup = rounds / 10;
  struct mailbox *boxes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t *taken = calloc(rounds, sizeof *taken);
  if (rounds == 0 || boxes == MAP_FAILED || taken == NULL) return 1;
  unsigned char bytes[BYTES] = {1};
  pid_t child = fork();
  if (child < 0) return 1;
  if (apart) stay_on(child == 0 ? 1 : 0);
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint32_t round = 1; round <= rounds + warmup; round++) {
      take(&boxes[0], bytes, round);
      post(&boxes[1], bytes, round);
    }
    _exit(0);
  }
  for (uint32_t round = 1; round <= rounds + warmup; round++) {
    uint64_t start = now_ns();
    post(&boxes[0], bytes, round);
    take(&boxes[1], bytes, round);
    if (round > warmup) taken[round - warmup - 1] = now_ns() - start;
  }
  waitpid(child, NULL, 0);
  qsort(taken, rounds, sizeof *taken, ascending);
  printf("%lu %lu %lu %u\n", (unsigned long)taken[rounds / 2], (unsigned long)taken[rounds * 95ull / 100],
         (unsigned long)taken[rounds * 99ull / 100], rounds);
  return 0;
}
