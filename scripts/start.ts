// Brings up the whole agent on the simulated board, or on a board file, under one supervisor; ends it on Ctrl-C.
// The appliance itself is supervised by systemd; this is for development, demonstration and tests.

import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { PROFILE_DIRECTORIES } from '../src/bin/command-line.ts';
import { type DemoPerson, provisionDemo } from '../src/bin/provision.ts';
import { SupervisedProcess } from '../src/bin/supervised-process.ts';
import { checkBoard } from '../src/config/board.ts';
import { COMPILED_SUFFIX, writeCompiledBoard } from '../src/config/compiled-board.ts';
import { layoutOf } from '../src/config/layout.ts';
import { formatProblem } from '../src/config/problem.ts';
import { bundle, bundlePath, type Program } from './bundle.ts';
import { nodeFlagsOf } from './node-flags.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const DEFAULT_BOARD = join(root, 'drivers/profiles/boards/default.yaml');
/** sun_path of unix(7) holds 108 bytes; the longest socket name below needs 27 of them. */
const DIRECTORY_LENGTH_MAX = 78;
/** The first start makes certificates, which on an emulated machine alone takes most of a minute. */
const READY_LIMIT_MS = 120_000;
/** A board file that names it lives in the simulator's directory. */
const SIMULATOR_VARIABLE = `$\{SIMULATOR}`;
const FAILPOINT_BACKOFF_MS = 100;
/** Between two looks at the health of the whole, and for one of them. */
const HEALTH_EVERY_MS = 20;
const HEALTH_LIMIT_MS = 2_000;
const ORDER = ['kernel', 'security', 'interface'] as const;
const { values } = parseArgs({
  options: {
    'state-dir': { type: 'string' },
    board: { type: 'string', default: DEFAULT_BOARD },
    safety: { type: 'string' },
    http: { type: 'string', default: '127.0.0.1:8443' },
    grpc: { type: 'string', default: '127.0.0.1:8444' },
    'ready-file': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

function usage(): never {
  process.stdout.write(`npm start -- [options]
  --state-dir DIR     keep state in DIR (default: a temporary directory, removed at the end)
  --board FILE        board file (default: the simulated board of 84 devices)
  --safety FILE       safety policy (default: the built-in one, described in src/config/safety.yaml)
  --http HOST:PORT    REST, WebSocket and panel (default 127.0.0.1:8443; port 0 picks a free one)
  --grpc HOST:PORT    gRPC (default 127.0.0.1:8444; port 0 picks a free one)
  --ready-file FILE   JSON written once everything answers and operations are taken
`);
  process.exit(0);
}
if (values.help) usage();

const temporary = values['state-dir'] === undefined;
const stateDirectory = resolve(values['state-dir'] ?? mkdtempSync(join(tmpdir(), 'dsmil-')));
if (stateDirectory.length > DIRECTORY_LENGTH_MAX) {
  process.stderr.write(
    `--state-dir ${stateDirectory}: longer than ${DIRECTORY_LENGTH_MAX} characters, unix sockets would not fit\n`,
  );
  process.exit(2);
}
const layout = layoutOf(stateDirectory, join(stateDirectory, 'run'));
const simulatorDirectory = join(stateDirectory, 'simulator');
const logDirectory = join(stateDirectory, 'log');
for (const directory of [layout.runDirectory, simulatorDirectory, logDirectory]) {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
}

const facts = new Map<string, Readonly<Record<string, unknown>>>();
const waiting = new Map<string, () => void>();
const processes = new Map<string, SupervisedProcess>();
let people: readonly DemoPerson[] = [];
let announced = false;

function make(name: Program, processArguments: readonly string[]): SupervisedProcess {
  const child = new SupervisedProcess({
    name,
    script: bundlePath(name),
    arguments: processArguments,
    nodeFlags: nodeFlagsOf(name),
    environment: {
      ...process.env,
      NODE_COMPILE_CACHE: join(root, 'node_modules/.cache/compile'),
      MALLOC_ARENA_MAX: '1',
      // The 19 MiB that a password's hash works in go back to the system at once (mallopt(3)).
      MALLOC_MMAP_THRESHOLD_: '1048576',
    },
    logFile: join(logDirectory, `${name}.log`),
    // A test that ends processes on purpose is no process that cannot start.
    ...(process.env.DSMIL_FAILPOINTS === 'on' ? { backoffLastMs: FAILPOINT_BACKOFF_MS } : {}),
    onDied: (who, how) => {
      process.stderr.write(
        `${who} ended (${how}), starting it again; its log: ${join(logDirectory, `${who}.log`)}\n`,
      );
    },
    onReady: (who, what) => {
      facts.set(who, what);
      waiting.get(who)?.();
      if (announced) writeReadyFile();
    },
  });
  processes.set(name, child);
  return child;
}

function answers(name: string): Promise<void> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => {
      let log = '';
      try {
        log = readFileSync(join(logDirectory, `${name}.log`), 'utf8').slice(-2_000);
      } catch {
        log = '(no log)';
      }
      fail(new Error(`${name} did not answer within ${READY_LIMIT_MS / 1000} s\n${log}`));
    }, READY_LIMIT_MS);
    const settle = () => {
      clearTimeout(timer);
      done();
    };
    if (facts.has(name)) settle();
    else waiting.set(name, settle);
  });
}

interface Health {
  readonly state?: string;
  readonly tracks?: Readonly<Record<string, boolean>>;
}

/** What anybody may ask at the local socket; nothing when nobody answers. */
function health(): Promise<Health> {
  return new Promise((answered) => {
    const options = { socketPath: layout.localSocket, path: '/api/v1/health', agent: false };
    const call = get({ ...options, timeout: HEALTH_LIMIT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => answered(healthOf(text)));
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => undefined);
    // Also after half an answer.
    call.on('close', () => answered({}));
  });
}

function healthOf(text: string): Health {
  try {
    return JSON.parse(text) as Health;
  } catch {
    return {};
  }
}

/** Three processes that run are no agent yet: they have to see each other, and security to have taken charge of kernel. */
async function together(): Promise<void> {
  const untilMs = performance.now() + READY_LIMIT_MS;
  for (;;) {
    const { state = 'no answer', tracks = {} } = await health();
    const apart = ORDER.filter((track) => tracks[track] !== true);
    if (apart.length === 0 && state !== 'RECOVERING') return;
    if (performance.now() > untilMs) {
      const who = apart.length === 0 ? '' : `; ${apart.join(', ')} not seen`;
      throw new Error(`no operations were taken within ${READY_LIMIT_MS / 1000} s: ${state}${who}`);
    }
    await sleep(HEALTH_EVERY_MS);
  }
}

function readyFacts() {
  const pids = Object.fromEntries([...processes].map(([name, child]) => [name, child.pid]));
  return {
    http: String(facts.get('interface')?.http ?? ''),
    websocket: `${String(facts.get('interface')?.http ?? '').replace(/^https/, 'wss')}/api/v1/ws`,
    grpc: String(facts.get('interface')?.grpc ?? ''),
    socket: layout.localSocket,
    ca: layout.pki.authority,
    people,
    pids: { supervisor: process.pid, ...pids },
    simulator: processes.has('simulator')
      ? { control: join(simulatorDirectory, 'control.sock'), directory: simulatorDirectory }
      : null,
    stateDirectory,
    runDirectory: layout.runDirectory,
    board: resolve(values.board),
  };
}

function writeReadyFile(): void {
  const path = values['ready-file'];
  if (path === undefined) return;
  // Renamed into place, so that whoever waits for the file never reads half of it; it holds tokens.
  writeFileSync(`${path}.new`, `${JSON.stringify(readyFacts(), null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

async function bringUp(): Promise<void> {
  const bundled = bundle();
  const provisioned = provisionDemo(layout, process.getuid?.() ?? 0);
  const boardFile = resolve(values.board);
  const variables = { SIMULATOR: simulatorDirectory };
  const { board, problems } = checkBoard(boardFile, {
    variables,
    profileDirectories: [dirname(boardFile), ...PROFILE_DIRECTORIES],
  });
  if (board === undefined) throw new Error(problems.map(formatProblem).join('\n'));
  const compiled = join(stateDirectory, `board${COMPILED_SUFFIX}`);
  writeCompiledBoard(compiled, board);
  const simulated = readFileSync(boardFile, 'utf8').includes(SIMULATOR_VARIABLE);
  await bundled;
  if (simulated)
    make('simulator', ['--board', compiled, '--directory', simulatorDirectory]).start();
  people = await provisioned;
  const common = [
    '--state-dir',
    stateDirectory,
    '--run-dir',
    layout.runDirectory,
    '--board',
    compiled,
  ];
  const kernel = make('kernel', common);
  const safety = values.safety === undefined ? [] : ['--safety', resolve(values.safety)];
  make('security', [...common, ...safety]).start();
  make('interface', [...common, '--http', values.http, '--grpc', values.grpc]).start();
  // Only kernel needs the simulated hardware to be there; the others start beside it.
  if (simulated) await answers('simulator');
  kernel.start();
  await Promise.all(ORDER.map(answers));
  await together();
}

let ending = false;
async function end(code: number): Promise<void> {
  if (ending) return;
  ending = true;
  // Nobody asks any more, then the devices go to their safe values, then the hardware goes; 4.5 s at most.
  await Promise.all(['interface', 'security'].map((name) => processes.get(name)?.stop(1_500)));
  await processes.get('kernel')?.stop(2_500);
  await processes.get('simulator')?.stop(500);
  if (temporary) rmSync(stateDirectory, { recursive: true, force: true });
  const readyFile = values['ready-file'];
  if (readyFile !== undefined) rmSync(readyFile, { force: true });
  process.exit(code);
}

function explain(): void {
  const ready = readyFacts();
  const [first] = people;
  const command = `dsmil=${join(root, 'node_modules/.bin/node')} ${bundlePath('dsmil')}`;
  process.stdout.write(`
The agent answers.
  REST and panel   ${ready.http}
  WebSocket        ${ready.websocket}
  gRPC             ${ready.grpc}
  certificate authority  ${ready.ca}
  state            ${stateDirectory}${temporary ? ' (removed at the end)' : ''}

Sign in as one of
${people.map((person) => `  ${person.id.padEnd(16)} ${person.clearance}  token ${person.token}`).join('\n')}

A first operation, from another terminal:
  curl --cacert ${ready.ca} -H 'Authorization: Bearer ${first?.token}' ${ready.http}/api/v1/devices/0x8059/registers
or at the local console:
  alias ${command.replace('=', "='")}'; export DSMIL_SOCKET=${ready.socket}
  dsmil device read fan-controller
  dsmil device write fan-controller duty=200 --reason "first operation"

Ctrl-C stops everything.
`);
}

// `on`: npm passes Ctrl-C on a second time, which must not end this process before its children.
process.on('SIGINT', () => void end(0));
process.on('SIGTERM', () => void end(0));
try {
  await bringUp();
  announced = true;
  writeReadyFile();
  explain();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  await end(1);
}
