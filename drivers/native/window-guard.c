// The bus-error guard of the register windows: SIGBUS and SIGSEGV inside a window end one access, not the process.
// Invariants: installed once; a fault outside the windows goes to the handler that was there before.

#include "window-access.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

_Thread_local struct guard *volatile dsmil_window_guard;

static struct sigaction previous_bus;
static struct sigaction previous_segment;
static pthread_once_t guard_once = PTHREAD_ONCE_INIT;
static int guard_error;

static bool inside_windows(const struct table *table, const void *address) {
  uintptr_t at = (uintptr_t)address;
  for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
    const struct window *window = &table->windows[slot];
    uintptr_t start = (uintptr_t)window->mapping;
    if (window->base != NULL && at >= start && at - start < window->mapping_length) return true;
  }
  return false;
}

static void chain(const struct sigaction *previous, int signal_number, siginfo_t *information,
                  void *context) {
  if (previous->sa_flags & SA_SIGINFO) {
    previous->sa_sigaction(signal_number, information, context);
  } else if (previous->sa_handler == SIG_DFL || previous->sa_handler == SIG_IGN) {
    // An ignored fault would repeat for ever, so it ends the process as the kernel itself does.
    signal(signal_number, SIG_DFL);
    raise(signal_number);
  } else {
    previous->sa_handler(signal_number);
  }
}

static void on_fault(int signal_number, siginfo_t *information, void *context) {
  struct guard *guard = dsmil_window_guard;
  // Arm reports an external abort without a valid fault address as address 0 (ESR_ELx.FnV).
  bool without_address = signal_number == SIGBUS && information->si_addr == NULL;
  if (guard != NULL && information->si_code > 0 &&
      (without_address || inside_windows(guard->table, information->si_addr))) {
    dsmil_window_guard = NULL;
    siglongjmp(guard->jump, 1);
  }
  int saved_errno = errno;
  chain(signal_number == SIGBUS ? &previous_bus : &previous_segment, signal_number, information, context);
  errno = saved_errno;
}

static void install_guard(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_fault;
  // SA_NODEFER leaves the signal mask alone, so the jump need not restore it (a system call per access).
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  if (sigaction(SIGBUS, &action, &previous_bus) != 0 ||
      sigaction(SIGSEGV, &action, &previous_segment) != 0) {
    guard_error = errno;
  }
}

int dsmil_install_window_guard(void) {
  pthread_once(&guard_once, install_guard);
  return guard_error;
}
