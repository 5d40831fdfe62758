// What the machine itself costs, in plain C: volatile loads and stores over a mapped file, and pread.
// Prints one figure a line: nanoseconds per access (loads, stores: mean of a round; pread: each call).
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: limits load|store|pread FILE ROUNDS PER_ROUND\n");
    return 2;
  }
  int rounds = atoi(argv[3]), per_round = atoi(argv[4]);
  int fd = open(argv[2], O_RDWR);
  if (fd < 0) return perror(argv[2]), 1;
  if (strcmp(argv[1], "pread") == 0) {
    char text[64];
    for (int i = 0; i < rounds; i++) {
      double start = now_ns();
      if (pread(fd, text, sizeof text, 0) < 0) return perror("pread"), 1;
      printf("%.0f\n", now_ns() - start);
    }
    return 0;
  }
  volatile uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (words == MAP_FAILED) return perror("mmap"), 1;
  uint32_t sum = 0;
  for (int i = 0; i < rounds; i++) {
    double start = now_ns();
    if (argv[1][0] == 'l')
      for (int j = 0; j < per_round; j++) sum += words[j & 1023];
    else
      for (int j = 0; j < per_round; j++) words[j & 1023] = (uint32_t)j;
    printf("%.3f\n", (now_ns() - start) / per_round);
  }
  fprintf(stderr, "%u\n", sum);
  return 0;
}
