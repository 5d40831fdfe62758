// The system calls that a unit allows, as a program that starts another one under exactly that filter.

import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SYSTEMD } from './appliance-root.ts';

/** Names in a group such as `@system-service`, groups in it included. */
function callsOf(group: string): ReadonlySet<string> {
  const { stdout } = spawnSync('systemd-analyze', ['syscall-filter', group, '--no-pager'], {
    encoding: 'utf8',
  });
  const names = new Set<string>();
  for (const line of stdout.split('\n').slice(1)) {
    const word = line.trim();
    if (word.startsWith('@')) for (const name of callsOf(word)) names.add(name);
    else if (/^[a-z0-9_]+$/.test(word)) names.add(word);
  }
  return names;
}

/** What `SystemCallFilter=` lines of a unit leave (systemd.exec(5)): the first allows, `~` takes away. */
export function allowedCalls(unit: string): ReadonlySet<string> {
  const allowed = new Set<string>();
  for (const line of readFileSync(join(SYSTEMD, unit), 'utf8').split('\n')) {
    const words = /^SystemCallFilter=(~?)(.*)$/.exec(line);
    for (const word of words?.[2]?.split(' ') ?? []) {
      const names = word.startsWith('@') ? callsOf(word) : [word];
      for (const name of names) {
        if (words?.[1] === '~') allowed.delete(name);
        else allowed.add(name);
      }
    }
  }
  // Always possible below a filter of systemd: it is how the program itself was started.
  for (const name of ['execve', 'exit', 'exit_group']) allowed.add(name);
  return allowed;
}

/** Compiles PROGRAM: `PROGRAM COMMAND ...` runs COMMAND, whose other calls fail with EPERM as under SystemCallErrorNumber=. */
export function buildFilter(unit: string, program: string): void {
  const rules = [...allowedCalls(unit)]
    .sort()
    .map((name) => `#ifdef SYS_${name}\n  ALLOW(SYS_${name}),\n#endif`)
    .join('\n');
  const source = `#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ALLOW(number) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
static struct sock_filter filter[] = {
  BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
${rules}
  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
};
int main(int count, char **arguments) {
  struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
  if (count < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
    perror("filter");
    return 1;
  }
  execv(arguments[1], arguments + 1);
  perror(arguments[1]);
  return 1;
}
`;
  writeFileSync(`${program}.c`, source);
  execFileSync('cc', ['-O1', '-o', program, `${program}.c`]);
}
