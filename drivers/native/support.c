// What every source file of the add-on needs: throwing errno as an Error, exporting a function.

#define _GNU_SOURCE
#include "native.h"
#include <stdio.h>
#include <string.h>

void dsmil_throw_errno(napi_env env, int error, const char *what) {
  char message[256];
  char text[128];
  snprintf(message, sizeof message, "%s: %s", what, strerror_r(error, text, sizeof text));
  const char *name = strerrorname_np(error);
  napi_throw_error(env, name == NULL ? "EUNKNOWN" : name, message);
}

void dsmil_export_with(napi_env env, napi_value exports, const char *name, napi_callback callback,
                       void *data) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, data, &function) != napi_ok) return;
  napi_set_named_property(env, exports, name, function);
}

void dsmil_export(napi_env env, napi_value exports, const char *name, napi_callback callback) {
  dsmil_export_with(env, exports, name, callback, NULL);
}
