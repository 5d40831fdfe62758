// The host: peer credentials of a unix socket, sd_notify, pseudo-terminals.
// Faults: every failure throws an Error whose `code` is the errno name.

#define _GNU_SOURCE
#include "native.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define TEXT_BYTES_MAX 4096

static void set_number(napi_env env, napi_value object, const char *name, double number) {
  napi_value value;
  if (napi_create_double(env, number, &value) == napi_ok) napi_set_named_property(env, object, name, value);
}

// peerCredentials(fd): { pid, uid, gid } of the process that connected (unix(7) SO_PEERCRED).
static napi_value peer_credentials(napi_env env, napi_callback_info info) {
  napi_value argument;
  size_t count = 1;
  int32_t descriptor;
  if (napi_get_cb_info(env, info, &count, &argument, NULL, NULL) != napi_ok) return NULL;
  if (napi_get_value_int32(env, argument, &descriptor) != napi_ok) {
    dsmil_throw_errno(env, EINVAL, "peerCredentials");
    return NULL;
  }
  // Linux fills in zeros for an internet socket, which would read as root: only AF_UNIX is believed.
  int domain = 0;
  socklen_t domain_length = sizeof domain;
  struct ucred credentials;
  socklen_t length = sizeof credentials;
  if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &domain_length) != 0) {
    dsmil_throw_errno(env, errno, "getsockopt SO_DOMAIN");
    return NULL;
  }
  if (domain != AF_UNIX) {
    dsmil_throw_errno(env, EAFNOSUPPORT, "peerCredentials");
    return NULL;
  }
  if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    dsmil_throw_errno(env, errno, "getsockopt SO_PEERCRED");
    return NULL;
  }
  // pid 0: the peer has no credentials (not connected, or in a pid namespace that is not visible here).
  if (length != sizeof credentials || credentials.uid == (uid_t)-1) {
    dsmil_throw_errno(env, ENOTCONN, "getsockopt SO_PEERCRED");
    return NULL;
  }
  napi_value result = NULL;
  if (napi_create_object(env, &result) != napi_ok) return NULL;
  set_number(env, result, "pid", credentials.pid);
  set_number(env, result, "uid", credentials.uid);
  set_number(env, result, "gid", credentials.gid);
  return result;
}

// sendNotification(address, text): one datagram to the service manager's socket (sd_notify(3)).
static napi_value send_notification(napi_env env, napi_callback_info info) {
  napi_value arguments[2];
  size_t count = 2;
  char text[TEXT_BYTES_MAX];
  size_t text_length;
  struct sockaddr_un address;
  size_t path_length;
  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok) return NULL;
  if (napi_get_value_string_utf8(env, arguments[0], NULL, 0, &path_length) != napi_ok ||
      napi_get_value_string_utf8(env, arguments[1], NULL, 0, &text_length) != napi_ok || path_length < 2) {
    dsmil_throw_errno(env, EINVAL, "sendNotification");
    return NULL;
  }
  if (path_length >= sizeof address.sun_path || text_length >= sizeof text) {
    dsmil_throw_errno(env, E2BIG, "sendNotification");
    return NULL;
  }
  napi_get_value_string_utf8(env, arguments[0], address.sun_path, sizeof address.sun_path, &path_length);
  napi_get_value_string_utf8(env, arguments[1], text, sizeof text, &text_length);
  socklen_t address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_length);
  if (address.sun_path[0] == '@') {
    address.sun_path[0] = '\0';
  } else if (address.sun_path[0] == '/') {
    address_length += 1;
  } else {
    dsmil_throw_errno(env, EAFNOSUPPORT, "sendNotification");
    return NULL;
  }
  int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) {
    dsmil_throw_errno(env, errno, "socket");
    return NULL;
  }
  ssize_t sent = sendto(descriptor, text, text_length, MSG_NOSIGNAL | MSG_DONTWAIT,
                        (struct sockaddr *)&address, address_length);
  int error = errno;
  close(descriptor);
  if (sent != (ssize_t)text_length) dsmil_throw_errno(env, sent < 0 ? error : EIO, "sendto");
  return NULL;
}

// openPseudoTerminal(): { fd, peerFd, path }, in raw mode, both descriptors close-on-exec (pty(7)).
static napi_value open_pseudo_terminal(napi_env env, napi_callback_info info) {
  (void)info;
  char path[128];
  int peer = -1;
  struct termios settings;
  const char *what = "posix_openpt";
  int descriptor = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0) goto failed;
  what = "unlockpt";
  if (grantpt(descriptor) != 0 || unlockpt(descriptor) != 0) goto failed;
  what = "ptsname_r";
  if ((errno = ptsname_r(descriptor, path, sizeof path)) != 0) goto failed;
  what = "open the terminal's other end";
  peer = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer < 0) goto failed;
  what = "tcsetattr";
  if (tcgetattr(peer, &settings) != 0) goto failed;
  cfmakeraw(&settings);
  settings.c_cflag |= CLOCAL | CREAD;
  if (tcsetattr(peer, TCSANOW, &settings) != 0) goto failed;
  napi_value result = NULL;
  napi_value path_value;
  if (napi_create_object(env, &result) != napi_ok ||
      napi_create_string_utf8(env, path, NAPI_AUTO_LENGTH, &path_value) != napi_ok) {
    errno = ENOMEM;
    goto failed;
  }
  set_number(env, result, "fd", descriptor);
  set_number(env, result, "peerFd", peer);
  napi_set_named_property(env, result, "path", path_value);
  return result;
failed:;
  int error = errno;
  if (peer >= 0) close(peer);
  if (descriptor >= 0) close(descriptor);
  dsmil_throw_errno(env, error, what);
  return NULL;
}

void dsmil_init_host(napi_env env, napi_value exports) {
  dsmil_export(env, exports, "peerCredentials", peer_credentials);
  dsmil_export(env, exports, "sendNotification", send_notification);
  dsmil_export(env, exports, "openPseudoTerminal", open_pseudo_terminal);
}
