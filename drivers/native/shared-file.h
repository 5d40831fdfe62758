// Shared memory files between the processes: made once at an exact size, mapped, and survivable when truncated.
#ifndef DSMIL_SHARED_FILE_H
#define DSMIL_SHARED_FILE_H

#include <stdbool.h>
#include <stddef.h>

struct dsmil_shared_file {
  unsigned char *address;
  size_t size;
  int fd;
  // Set by the SIGBUS handler when the file was cut short: the range then reads as private zeros.
  volatile int broken;
};

typedef void (*dsmil_shared_fill)(unsigned char *address, const void *context);

enum dsmil_shared_access { DSMIL_SHARED_READ, DSMIL_SHARED_WRITE };

// Opens or atomically makes `path`; 0, or a negative errno. EMEDIUMTYPE: not a file of this size.
int dsmil_shared_open(struct dsmil_shared_file *file, const char *path, size_t size, unsigned mode,
                      enum dsmil_shared_access access, dsmil_shared_fill fill, const void *context);
void dsmil_shared_close(struct dsmil_shared_file *file);

#endif
