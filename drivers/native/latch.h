// The stop latch's words: one shared file for the latched word, one for each requester's.
#ifndef DSMIL_LATCH_H
#define DSMIL_LATCH_H

#include "native.h"

void dsmil_init_latch(napi_env env, napi_value exports);

#endif
