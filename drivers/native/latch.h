// The stop latch's words in two shared files.
#ifndef DSMIL_LATCH_H
#define DSMIL_LATCH_H

#include "native.h"

void dsmil_init_latch(napi_env env, napi_value exports);

#endif
