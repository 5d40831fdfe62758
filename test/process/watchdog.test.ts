// The watchdog as a service manager hears it: kicks on a real notification socket while everything turns, silence when the
// process stands still, and when the path of the stop is broken.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Agent } from '../support/agent.ts';
import { pause, worksAgain } from './watch.ts';

const PATIENCE_MS = 2_000;
/** Node offers no datagrams on unix sockets; each is printed with the sender's pid. */
const MANAGER = `
import socket, struct, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind(sys.argv[1])
print('listening', flush=True)
while True:
    data, control, _, _ = s.recvmsg(4096, 1024)
    pid = struct.unpack('3i', control[0][2])[0]
    for line in data.decode().split('\\n'):
        print(pid, line, flush=True)
`;

const MARKER = `
import socket, sys
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), sys.argv[1])
`;

class Manager {
  readonly directory = mkdtempSync(join(tmpdir(), 'notify-'));
  readonly #child: ChildProcess;
  readonly heard: { readonly pid: number; readonly text: string; readonly atMs: number }[] = [];
  #rest = '';
  #marks = 0;

  constructor() {
    this.#child = spawn('/usr/bin/python3', ['-c', MANAGER, this.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child.stdout?.on('data', (part: Buffer) => {
      const lines = (this.#rest + part).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) {
        const at = line.indexOf(' ');
        this.heard.push({
          pid: Number(line.slice(0, at)),
          text: line.slice(at + 1),
          atMs: performance.now(),
        });
      }
    });
  }

  get path(): string {
    return join(this.directory, 'notify');
  }

  environment(): Readonly<Record<string, string>> {
    return { NOTIFY_SOCKET: this.path, WATCHDOG_USEC: String(PATIENCE_MS * 1_000) };
  }

  kicks(pid: number, sinceMs = 0): number {
    return this.heard.filter(
      (one) => one.pid === pid && one.text === 'WATCHDOG=1' && one.atMs >= sinceMs,
    ).length;
  }

  said(pid: number, text: RegExp): boolean {
    return this.heard.some((one) => one.pid === pid && text.test(one.text));
  }

  /** Resolves once everything that was sent before this call was heard: the socket keeps the order (unix(7)). */
  async caughtUp(): Promise<void> {
    this.#marks += 1;
    const text = `MARK=${this.#marks}`;
    execFileSync('/usr/bin/python3', ['-c', MARKER, this.path, text]);
    while (!this.heard.some((one) => one.text === text)) await pause(10);
  }

  close(): void {
    this.#child.kill();
    rmSync(this.directory, { recursive: true });
  }
}

let manager: Manager;
let agent: Agent | undefined;

async function start(extra: readonly string[] = []): Promise<Agent> {
  manager = new Manager();
  while (!existsSync(manager.path)) await pause(10);
  agent = await Agent.start(extra, { environment: manager.environment() });
  return agent;
}

afterEach(async () => {
  await agent?.stop();
  agent = undefined;
  manager.close();
});

describe('the watchdog', () => {
  it('is kicked by all three from when they answer, often enough, and told when they end', async () => {
    const { ready } = await start();
    const { kernel, security, interface: door } = ready.pids;
    for (const pid of [kernel, security, door]) expect(manager.said(pid, /^READY=1$/)).toBe(true);
    const sinceMs = performance.now();
    await agent?.waitUntil('kicks of all three', () =>
      [kernel, security, door].every((pid) => manager.kicks(pid, sinceMs) >= 6),
    );
    await agent?.stop();
    for (const pid of [kernel, security, door])
      expect(manager.said(pid, /^STOPPING=1$/)).toBe(true);
  });

  it('hears nothing more of a process that stands still, and of the others still', async () => {
    const { pids } = (await start()).ready;
    process.kill(pids.security, 'SIGSTOP');
    try {
      // What it said before it stood still may still be on its way.
      await manager.caughtUp();
      const sinceMs = performance.now();
      await agent?.waitUntil('kicks of kernel', () => manager.kicks(pids.kernel, sinceMs) >= 8);
      expect(manager.kicks(pids.security, sinceMs)).toBe(0);
      expect(manager.kicks(pids.interface, sinceMs)).toBeGreaterThan(2);
    } finally {
      process.kill(pids.security, 'SIGCONT');
    }
    await agent?.waitUntil(
      'kicks of security',
      () => manager.kicks(pids.security, performance.now() - 500) > 0,
    );
  });

  it('hears nothing more of kernel and security once a test of the stop path failed', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'safety-'));
    const safety = join(scratch, 'safety.yaml');
    writeFileSync(safety, 'stop:\n  selfTestPeriodMs: 1000\n');
    const started = await start(['--safety', safety]);
    await worksAgain(started);
    const { pids, runDirectory } = started.ready;
    // Who starts from now on rings another bell than the one that kernel listens to.
    const bell = join(runDirectory, 'stop/kernel/bell');
    renameSync(bell, `${bell}.old`);
    execFileSync('mkfifo', ['-m', '620', bell]);
    const deaf = openSync(bell, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      process.kill(pids.security, 'SIGKILL');
      await started.waitUntil(
        'security again',
        () => started.ready.pids.security !== pids.security,
      );
      const security = started.ready.pids.security;
      const failed = /^STATUS=.*the last test of the stop path failed/;
      await started.waitUntil(
        'the failed test',
        () => manager.said(security, failed) && manager.said(pids.kernel, failed),
      );
      const sinceMs = performance.now();
      await started.waitUntil(
        'kicks of interface',
        () => manager.kicks(pids.interface, sinceMs) >= 4,
      );
      expect([manager.kicks(security, sinceMs), manager.kicks(pids.kernel, sinceMs)]).toEqual([
        0, 0,
      ]);
    } finally {
      closeSync(deaf);
      rmSync(scratch, { recursive: true });
    }
  });
});
