// The add-on's one entry point: each source file registers its own functions on the exports object.

#include "native.h"

static napi_value init(napi_env env, napi_value exports) {
  dsmil_init_register_window(env, exports);
  dsmil_init_host(env, exports);
  if (dsmil_init_ring != NULL) dsmil_init_ring(env, exports);
  if (dsmil_init_signal != NULL) dsmil_init_signal(env, exports);
  return exports;
}

NAPI_MODULE(dsmil, init)
