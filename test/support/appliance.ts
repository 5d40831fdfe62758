// The three bundled processes as on the appliance: each as its own user in its own groups, under its unit's umask and
// system call filter, without capabilities, in directories that systemd's own tools have made.

import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  constants,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { checkBoard } from '#config/board';
import { COMPILED_SUFFIX, writeCompiledBoard } from '#config/compiled-board';
import { type Layout, layoutOf } from '#config/layout';
import { TRACKS, type TrackName } from '#model/track-name';
import { bundle } from '../../scripts/bundle.ts';
import { nodeFlagsOf } from '../../scripts/node-flags.ts';
import { type DemoPerson, provisionDemo } from '../../src/bin/provision.ts';
import { REPOSITORY, type RestAnswer } from './agent.ts';
import { ApplianceRoot, type Ran } from './appliance-root.ts';
import { buildFilter } from './syscall-filter.ts';

type Program = TrackName | 'simulator';

const BOARD = join(REPOSITORY, 'drivers/profiles/boards/default.yaml');
/** What the bundles load at run time; scripts/bundle.ts leaves it outside. */
const PACKAGES = ['@grpc/grpc-js', '@grpc/reflection', 'serialport', 'i2c-bus'];
const READY_MS_MAX = 30_000;
/** The simulated hardware belongs to kernel's user: its files are the devices. */
const USER_OF: Readonly<Record<Program, TrackName>> = {
  kernel: 'kernel',
  security: 'security',
  interface: 'interface',
  simulator: 'kernel',
};

export class Appliance {
  readonly root: ApplianceRoot;
  readonly layout: Layout;
  /** The directory of the simulated devices. */
  readonly devices: string;
  readonly #children = new Map<Program, ChildProcess>();
  readonly #facts = new Map<Program, Readonly<Record<string, unknown>>>();
  #people: readonly DemoPerson[] = [];
  readonly #output = new Map<Program, string>();

  private constructor(root: ApplianceRoot) {
    this.root = root;
    this.layout = layoutOf(root.path('var/lib/dsmil'), root.path('run/dsmil'));
    this.devices = root.path('run/devices');
  }

  static async start(): Promise<Appliance> {
    const appliance = new Appliance(new ApplianceRoot());
    await appliance.#install();
    await appliance.#bringUp('simulator');
    // Interface last: what security makes in their link is its own then, and tried as such.
    await Promise.all([appliance.#bringUp('kernel'), appliance.#bringUp('security')]);
    await appliance.#bringUp('interface');
    return appliance;
  }

  /** Nobody starts a program again here that ended instead of answering. */
  async #bringUp(program: Program): Promise<void> {
    const code = await this.launch(program);
    if (code !== null) throw new Error(`${program} ended with ${code}\n${this.output(program)}`);
  }

  pid(program: Program): number {
    return this.#children.get(program)?.pid ?? 0;
  }

  /** What it printed so far; its log is on standard error. */
  output(program: Program): string {
    return this.#output.get(program) ?? '';
  }

  /** Runs a program as the user of a track and in its groups. */
  commandAs(track: TrackName, command: readonly string[]): readonly string[] {
    const { uid, gid, groups } = this.root.userOf(track);
    return [
      'setpriv',
      ...[`--reuid=${uid}`, `--regid=${gid}`, `--groups=${[gid, ...groups].join(',')}`],
      ...['--bounding-set=-all', '--inh-caps=-all', '--no-new-privs'],
      ...command,
    ];
  }

  /** Resolves when the process answers, or with its exit code when it ends before. */
  async launch(
    program: Program,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<number | null> {
    const home = this.root.path('usr/lib/dsmil');
    const own =
      program === 'simulator'
        ? ['--board', this.#board, '--directory', this.devices]
        : [
            ...['--state-dir', this.layout.stateDirectory, '--run-dir', this.layout.runDirectory],
            ...['--board', this.#board],
            ...(program === 'interface' ? ['--http', '127.0.0.1:0', '--grpc', '127.0.0.1:0'] : []),
          ];
    const node = [
      join(home, 'node'),
      ...nodeFlagsOf(program),
      join(home, `build/bin/${program}.js`),
      ...own,
    ];
    const filtered = program === 'simulator' ? node : [join(home, `filter-${program}`), ...node];
    const [file = '', ...rest] = this.commandAs(USER_OF[program], [
      'sh',
      '-c',
      'umask 077; exec "$@"',
      'sh',
      ...filtered,
    ]);
    const child = spawn(file, rest, {
      // A session of its own, as each unit has: in one session SIGCONT may go to any user (kill(2)).
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
      cwd: '/',
      env: {
        PATH: process.env.PATH,
        DSMIL_READY_FD: '3',
        DSMIL_SUPERVISED: 'stdin',
        MALLOC_ARENA_MAX: '1',
        ...environment,
      },
    });
    this.#children.set(program, child);
    this.#output.set(program, '');
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (part: Buffer) =>
        this.#output.set(program, `${this.output(program)}${part}`),
      );
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`${program} did not answer\n${this.output(program)}`)),
        READY_MS_MAX,
      );
      const settle = (code: number | null) => {
        clearTimeout(timer);
        resolve(code);
      };
      let line = '';
      child.stdio[3]?.on('data', (part: Buffer) => {
        line += part;
        if (!line.includes('\n')) return;
        this.#facts.set(program, JSON.parse(line) as Record<string, unknown>);
        settle(null);
      });
      child.once('exit', (code) => settle(code ?? -1));
    });
  }

  async end(program: Program, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#children.get(program);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  async stop(): Promise<void> {
    for (const program of ['interface', 'security', 'kernel', 'simulator'] as const)
      await this.end(program);
    this.root.remove();
  }

  /** One REST call of one of the two people. */
  rest(person: 0 | 1, method: string, path: string, body?: unknown): Promise<RestAnswer> {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string> = {
      authorization: `Bearer ${this.#people[person]?.token}`,
      connection: 'close',
      ...(text === undefined ? {} : { 'content-type': 'application/json' }),
    };
    const ca = readFileSync(this.layout.pki.authority);
    return new Promise((resolve, reject) => {
      const url = `${String(this.#facts.get('interface')?.http)}/api/v1/${path}`;
      const call = request(url, { method, headers, ca }, (response) => {
        let received = '';
        response.on('data', (part: Buffer) => {
          received += part;
        });
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            body: JSON.parse(received) as Record<string, unknown>,
            text: received,
          }),
        );
      });
      call.on('error', reject);
      call.end(text);
    });
  }

  get #board(): string {
    return this.root.path(`etc/dsmil/board${COMPILED_SUFFIX}`);
  }

  async #install(): Promise<void> {
    const { root } = this;
    const made = [root.makeUsers(), root.makeDirectories()];
    const failed = made.find(({ status }: Ran) => status !== 0);
    if (failed !== undefined) throw new Error(failed.output);
    await this.#copyProgram();
    for (const track of TRACKS)
      buildFilter(`dsmil-${track}.service`, root.path('usr/lib/dsmil', `filter-${track}`));
    const { uid, gid } = root.userOf('kernel');
    mkdirSync(this.devices, { mode: 0o700 });
    chownSync(this.devices, uid, gid);
    const { board, problems } = checkBoard(BOARD, {
      variables: { SIMULATOR: this.devices },
      profileDirectories: [join(REPOSITORY, 'drivers/profiles')],
    });
    if (board === undefined) throw new Error(JSON.stringify(problems));
    writeCompiledBoard(this.#board, board);
    chmodSync(this.#board, 0o644);
    this.#people = await provisionDemo(this.layout, 0);
    // As if security had made it: what is provisioned here is its own.
    const owner = root.userOf('security');
    for (const part of ['security', 'pki']) give(join(this.layout.stateDirectory, part), owner);
  }

  /** A tree that every user may read, wherever the repository itself lies. */
  async #copyProgram(): Promise<void> {
    await bundle();
    const home = this.root.path('usr/lib/dsmil');
    const modules = join(REPOSITORY, 'node_modules');
    copyFileSync(join(modules, '.bin/node'), join(home, 'node'), constants.COPYFILE_FICLONE);
    chmodSync(join(home, 'node'), 0o755);
    const parts = [
      'build/bin',
      'drivers/native/build',
      'drivers/profiles',
      'proto',
      'src/config/safety.yaml',
    ];
    for (const part of parts) cpSync(join(REPOSITORY, part), join(home, part), { recursive: true });
    for (const name of packagesWith(modules, PACKAGES))
      cpSync(join(modules, name), join(home, 'node_modules', name), { recursive: true });
    writeFileSync(join(home, 'package.json'), readFileSync(join(REPOSITORY, 'package.json')));
  }
}

function packagesWith(
  modules: string,
  names: readonly string[],
  known = new Set<string>(),
): ReadonlySet<string> {
  for (const name of names) {
    const file = join(modules, name, 'package.json');
    if (known.has(name) || !existsSync(file)) continue;
    known.add(name);
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      readFileSync(file, 'utf8'),
    ) as {
      dependencies?: Record<string, string>;
      optionalDependencies?: Record<string, string>;
    };
    packagesWith(modules, Object.keys({ ...dependencies, ...optionalDependencies }), known);
  }
  return known;
}

function give(path: string, owner: { readonly uid: number; readonly gid: number }): void {
  chownSync(path, owner.uid, owner.gid);
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  for (const entry of entries) chownSync(join(entry.parentPath, entry.name), owner.uid, owner.gid);
}
