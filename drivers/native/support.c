// What every source file of the add-on needs: throwing errno as an Error, exporting a function.

#include "native.h"
#include <stdio.h>
#include <string.h>

void dsmil_throw_errno(napi_env env, int error, const char *what) {
  char message[256];
  snprintf(message, sizeof message, "%s: %s", what, strerror(error));
  const char *name = strerrorname_np(error);
  napi_throw_error(env, name == NULL ? "EUNKNOWN" : name, message);
}

void dsmil_export(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, NULL, &function);
  napi_set_named_property(env, exports, name, function);
}
