// Boots the rig's guest in QEMU, gives it one job and collects the job's result lines while it runs.
// Invariants: the machine ends by itself, by its time limit or with this process; it never outlives them.
// Faults: a run that did not power off by itself carries the console's text in its report.

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Rig } from './prepare.ts';
import { QmpClient, type QmpEvent } from './qmp.ts';

export const SHARED_MEMORY_BYTES = 1024 * 1024;
const POLL_MS = 20;
const QEMU = 'qemu-system-x86_64';

/** What the guest runs: absolute paths are the host's own. */
export interface RigJob {
  readonly program: string;
  readonly parameters: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** `init`: the job is the guest's first process and powers the machine off itself; else init.sh waits for its end. */
  readonly role: 'child' | 'init';
}

export interface BootOptions {
  readonly rig: Rig;
  readonly job: RigJob;
  /** The machine is killed after this time. */
  readonly timeoutMs: number;
  /** Added to the kernel's command line, such as `iomem=relaxed`. */
  readonly kernelArguments: readonly string[];
  /** What QEMU does when the i6300esb watchdog bites. */
  readonly watchdogAction: 'reset' | 'poweroff' | 'none';
}

/** One line that the guest wrote: a finished test, or a mark for the time line. */
export type GuestLine =
  | {
      readonly kind: 'result';
      readonly name: string;
      readonly ok: boolean;
      readonly detail: string;
      readonly durationMs: number;
    }
  | { readonly kind: 'mark'; readonly name: string; readonly detail: string };

export type GuestResult = Extract<GuestLine, { kind: 'result' }>;

export interface BootReport {
  readonly end: 'powered-off' | 'timed-out' | 'stopped';
  readonly lines: readonly (GuestLine & { readonly atMs: number })[];
  readonly results: ReadonlyMap<string, GuestResult>;
  readonly events: readonly QmpEvent[];
  readonly console: string;
  readonly qemuErrors: string;
  readonly wallMs: number;
  /** What the guest and the host share through ivshmem, as it was at the end. */
  readonly sharedMemory: Buffer;
}

export class RigMachine {
  /** Other end of the guest's /dev/ttyS1: a unix socket that accepts one connection. */
  readonly serialSocket: string;
  /** Writable by the guest as /run/rig. */
  readonly share: string;
  readonly finished: Promise<BootReport>;
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #startedMs = Date.now();
  readonly #lines: (GuestLine & { readonly atMs: number })[] = [];
  readonly #events: QmpEvent[] = [];
  readonly #listeners: ((line: GuestLine) => void)[] = [];
  #end: BootReport['end'] = 'powered-off';
  #readBytes = 0;
  #rest = '';
  #qemuErrors = '';

  constructor(options: BootOptions) {
    this.#directory = mkdtempSync(join(tmpdir(), 'dsmil-rig-'));
    this.share = mkdtempSync(join(this.#directory, 'share-'));
    this.serialSocket = join(this.#directory, 'serial');
    writeFileSync(join(this.share, 'job.sh'), jobScript(options));
    writeFileSync(join(this.share, 'results.jsonl'), '');
    writeFileSync(join(this.#directory, 'shared-memory'), Buffer.alloc(SHARED_MEMORY_BYTES));
    this.#child = spawn(QEMU, this.#parameters(options), { stdio: ['ignore', 'ignore', 'pipe'] });
    this.#child.stderr?.on('data', (chunk: Buffer) => {
      this.#qemuErrors += chunk.toString();
    });
    this.finished = this.#run(options.timeoutMs);
  }

  /** Calls back for every line from now on. */
  onLine(listen: (line: GuestLine) => void): void {
    this.#listeners.push(listen);
  }

  async stop(): Promise<BootReport> {
    this.#kill('stopped');
    return this.finished;
  }

  async #run(timeoutMs: number): Promise<BootReport> {
    const exited = new Promise<void>((resolve) => {
      this.#child.once('exit', () => resolve());
      this.#child.once('error', (error) => {
        this.#qemuErrors += String(error);
        this.#end = 'stopped';
        resolve();
      });
    });
    const killWithParent = (): void => void this.#child.kill('SIGKILL');
    process.once('exit', killWithParent);
    const limit = setTimeout(() => this.#kill('timed-out'), timeoutMs);
    const poll = setInterval(() => this.#readLines(), POLL_MS);
    const connecting = QmpClient.connect(join(this.#directory, 'qmp'), (event) =>
      this.#events.push(event),
    );
    await exited;
    clearTimeout(limit);
    clearInterval(poll);
    process.removeListener('exit', killWithParent);
    (await connecting)?.close();
    this.#readLines();
    const report = this.#report();
    rmSync(this.#directory, { recursive: true, force: true });
    return report;
  }

  #kill(end: 'timed-out' | 'stopped'): void {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#end = end;
    this.#child.kill('SIGKILL');
  }

  #report(): BootReport {
    const results = this.#lines.filter((line) => line.kind === 'result');
    const consoleFile = join(this.#directory, 'console');
    return {
      end: this.#end,
      lines: this.#lines,
      results: new Map(results.map((line) => [line.name, line])),
      events: this.#events,
      console: existsSync(consoleFile) ? readFileSync(consoleFile, 'utf8') : '',
      qemuErrors: this.#qemuErrors,
      wallMs: Date.now() - this.#startedMs,
      sharedMemory: readFileSync(join(this.#directory, 'shared-memory')),
    };
  }

  #readLines(): void {
    const file = openSync(join(this.share, 'results.jsonl'), 'r');
    const chunk = Buffer.alloc(64 * 1024);
    for (;;) {
      const length = readSync(file, chunk, 0, chunk.length, this.#readBytes);
      if (length === 0) break;
      this.#readBytes += length;
      this.#rest += chunk.toString('utf8', 0, length);
    }
    closeSync(file);
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const text of lines) {
      const line = { ...(JSON.parse(text) as GuestLine), atMs: Date.now() - this.#startedMs };
      this.#lines.push(line);
      for (const listen of this.#listeners) listen(line);
    }
  }

  #parameters(options: BootOptions): readonly string[] {
    const at = (name: string): string => join(this.#directory, name);
    const share = (tag: string, path: string, rights: string): readonly string[] => [
      '-virtfs',
      `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap${rights}`,
    ];
    const role = options.job.role === 'init' ? ['rig.job=init'] : [];
    const kernelArguments = [
      ...['console=ttyS0', 'panic=-1', 'quiet', ...role],
      ...options.kernelArguments,
    ];
    return [
      ...[
        '-accel',
        'tcg,thread=multi',
        '-machine',
        'q35',
        '-cpu',
        'max',
        '-smp',
        '2',
        '-m',
        '1024',
      ],
      ...['-display', 'none', '-nodefaults', '-no-reboot'],
      ...['-kernel', options.rig.kernel, '-initrd', options.rig.initramfs],
      ...['-append', kernelArguments.join(' ')],
      ...['-serial', `file:${at('console')}`],
      ...['-chardev', `socket,id=line,path=${this.serialSocket},server=on,wait=off`],
      ...['-serial', 'chardev:line'],
      ...['-qmp', `unix:${at('qmp')},server=on,wait=off`],
      ...share('hostroot', '/', ',readonly=on'),
      ...share('rig', this.share, ''),
      ...['-device', 'edu'],
      ...['-device', 'i6300esb', '-action', `watchdog=${options.watchdogAction}`],
      ...[
        '-object',
        `memory-backend-file,id=shared,mem-path=${at('shared-memory')},size=${SHARED_MEMORY_BYTES},share=on`,
      ],
      ...['-device', 'ivshmem-plain,memdev=shared,master=on'],
    ];
  }
}

/** The shell script that init.sh runs; every value is quoted for sh(1). */
function jobScript(options: BootOptions): string {
  const environment = {
    HOME: '/root',
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    RIG_MODULES: options.rig.modules,
    RIG_RESULTS: '/run/rig/results.jsonl',
    ...options.job.environment,
  };
  const exports = Object.entries(environment).map(
    ([name, value]) => `export ${name}=${quote(value)}`,
  );
  const command = [options.job.program, ...options.job.parameters].map(quote).join(' ');
  return `${exports.join('\n')}\nexec ${command}\n`;
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
