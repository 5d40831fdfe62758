// Mapped register windows: exact-width volatile access under a SIGBUS guard, batches.

#include "native.h"

void dsmil_init_register_window(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
