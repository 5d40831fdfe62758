// Shared declarations of the native add-on (Node-API version 9, C11, 64-bit Linux only).
#ifndef DSMIL_NATIVE_H
#define DSMIL_NATIVE_H

#define NAPI_VERSION 9
#include <node_api.h>
#include <stddef.h>
#include <stdint.h>

// Mapped register windows: exact-width volatile access under a SIGBUS guard, batches (register-window.c).
void dsmil_init_register_window(napi_env env, napi_value exports);
// The host: peer credentials, sd_notify, pseudo-terminals (host.c).
void dsmil_init_host(napi_env env, napi_value exports);
// Shared-memory rings, stop latch words (ring.c). Weak, so that each part also links without the other.
void dsmil_init_ring(napi_env env, napi_value exports) __attribute__((weak));
// Wake-ups in the event loop: FIFO doorbell and process watch by pidfd (signal.c). Weak for the same reason.
void dsmil_init_signal(napi_env env, napi_value exports) __attribute__((weak));

// Throws a JavaScript Error with `code` (an errno name) and a message.
void dsmil_throw_errno(napi_env env, int error, const char *what);
// Registers one function on the exports object.
void dsmil_export(napi_env env, napi_value exports, const char *name, napi_callback callback);
// The same with a pointer that the callback gets back from napi_get_cb_info.
void dsmil_export_with(napi_env env, napi_value exports, const char *name, napi_callback callback,
                       void *data);

#endif
