// The host: peer credentials, sd_notify, pseudo-terminals.

#include "native.h"

void dsmil_init_host(napi_env env, napi_value exports) {
  (void)env;
  (void)exports;
}
