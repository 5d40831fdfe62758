// A file descriptor watched by the event loop's own epoll, calling JavaScript when it becomes readable.
#ifndef DSMIL_SIGNAL_WATCH_H
#define DSMIL_SIGNAL_WATCH_H

#include "native.h"
#include <stdbool.h>

struct dsmil_watch;

// Asked after each call into JavaScript; true when there is more to do at once. NULL for none.
typedef bool (*dsmil_watch_more)(void *context);

enum dsmil_watch_kind { DSMIL_WATCH_DOORBELL, DSMIL_WATCH_PROCESS };

// Takes over nothing: the caller closes a doorbell's `fd` after closing the watch. NULL with an error thrown.
struct dsmil_watch *dsmil_watch_open(napi_env env, int fd, enum dsmil_watch_kind kind, napi_value callback,
                                     dsmil_watch_more more, void *context);
// A function that closes the watch, any number of times.
napi_value dsmil_watch_closer(napi_env env, struct dsmil_watch *watch);
// Writes one byte, waking whoever watches the other end; never blocks.
void dsmil_doorbell_ring(int fd);

#endif
