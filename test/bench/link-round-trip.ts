// Round trips of 256 bytes between two processes: ring frames and link requests beside a unix socket and a C futex pair.
// Run alone it prints one line each; the bench runner calls the four functions. All figures in nanoseconds.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { POP_EMPTY, Rings } from '#drivers/native/rings';
import { Doorbell } from '#drivers/native/signal';
import { systemClock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { MessageType } from '#link/link';
import { SharedLink } from '#link/shared-link';

export interface RoundTripOptions {
  readonly count: number;
}

export interface RoundTrips {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly n: number;
}

const BYTES = 256;
const here = dirname(fileURLToPath(import.meta.url));

function summarize(takenNs: Float64Array): RoundTrips {
  const sorted = takenNs.toSorted();
  const at = (share: number) => sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), n: sorted.length };
}

/** Runs with an echo process and a directory in memory, both gone afterwards. */
async function withEcho(
  how: 'ring' | 'socket' | 'link',
  measure: (directory: string) => Promise<RoundTrips>,
): Promise<RoundTrips> {
  const directory = mkdtempSync(
    join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'dsmil-bench-'),
  );
  const where = how === 'socket' ? join(directory, 'echo.sock') : directory;
  const echo = spawn(process.execPath, [join(here, 'link-echo.ts'), how, where], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await ready(echo);
    return await measure(directory);
  } finally {
    const ended = new Promise((resolve) => echo.once('exit', resolve));
    echo.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true });
  }
}

function ready(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the echo process ended with ${code}`)));
    child.stdout?.once('data', () => resolve());
  });
}

/** One frame each way over the rings, woken by the doorbells: the link without requests and JSON. */
export function measureLinkRoundTrip(options: RoundTripOptions): Promise<RoundTrips> {
  return withEcho('ring', (directory) => {
    const own = new Doorbell(join(directory, 'zero.bell'));
    const peer = new Doorbell(join(directory, 'one.bell'));
    const rings = new Rings({
      path: join(directory, 'bench.link'),
      slots: 64,
      side: 0,
      ownTrack: 1,
      peerTrack: 2,
      peerBell: peer.descriptor,
    });
    const warmup = Math.ceil(options.count / 10);
    const takenNs = new Float64Array(options.count);
    rings.send.fill(1, 0, BYTES);
    return new Promise((resolve) => {
      let done = -warmup;
      let startNs = process.hrtime.bigint();
      rings.push(MessageType.RAW, BYTES);
      const stop = rings.listen(own.descriptor, () => {
        rings.look();
        while (rings.pop() !== POP_EMPTY) {
          const endNs = process.hrtime.bigint();
          if (done >= 0) takenNs[done] = Number(endNs - startNs);
          done += 1;
          if (done === options.count) {
            stop();
            rings.close();
            own.close();
            peer.close();
            resolve(summarize(takenNs));
            return;
          }
          startNs = process.hrtime.bigint();
          rings.push(MessageType.RAW, BYTES);
        }
      });
    });
  });
}

/** One request with a body of 256 bytes and its answer over a whole link. */
export function measureLinkRequest(options: RoundTripOptions): Promise<RoundTrips> {
  return withEcho('link', async (directory) => {
    const link = new SharedLink({
      directory,
      self: 'kernel',
      peer: 'security',
      clock: systemClock,
      onError: (error) => {
        throw error;
      },
    });
    await new Promise<void>((resolve) => {
      link.onPeer((state) => state === 'up' && resolve());
    });
    const body = 'x'.repeat(BYTES);
    const request = async () => {
      const startNs = process.hrtime.bigint();
      const deadline = Deadline.after(systemClock, 5_000);
      await link.request(MessageType.OPERATION_REQUEST, 'echo', body, deadline);
      return Number(process.hrtime.bigint() - startNs);
    };
    try {
      return await repeat(options.count, request);
    } finally {
      link.close();
    }
  });
}

/** The same bytes over a unix stream socket between two Node processes. */
export function measureSocketRoundTrip(options: RoundTripOptions): Promise<RoundTrips> {
  return withEcho('socket', async (directory) => {
    const socket = connect(join(directory, 'echo.sock'));
    await new Promise((resolve) => socket.once('connect', resolve));
    const bytes = Buffer.alloc(BYTES, 1);
    let received = 0;
    let wake = () => {};
    socket.on('data', (chunk) => {
      received += chunk.length;
      if (received < BYTES) return;
      received = 0;
      wake();
    });
    const exchange = () =>
      new Promise<number>((resolve) => {
        const startNs = process.hrtime.bigint();
        wake = () => resolve(Number(process.hrtime.bigint() - startNs));
        socket.write(bytes);
      });
    try {
      return await repeat(options.count, exchange);
    } finally {
      socket.destroy();
    }
  });
}

async function repeat(count: number, once: () => Promise<number>): Promise<RoundTrips> {
  for (let round = 0; round < count / 10; round++) await once();
  const takenNs = new Float64Array(count);
  for (let round = 0; round < count; round++) takenNs[round] = await once();
  return summarize(takenNs);
}

export interface FutexPairOptions extends RoundTripOptions {
  /** `any`: where the scheduler puts them, often both on one processor. `apart`: on processors 0 and 1. */
  readonly placement?: 'any' | 'apart';
}

/** Two C processes that sleep in futexes: what the machine's wake-up itself costs. */
export async function measureFutexPair(options: FutexPairOptions): Promise<RoundTrips> {
  const source = join(here, 'futex-pair.c');
  const program = join(here, '../../.cache/bench/futex-pair');
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(dirname(program), { recursive: true });
    execFileSync(process.env.CC ?? 'cc', ['-O2', '-o', program, source], { stdio: 'inherit' });
  }
  const output = await new Promise<string>((resolve, reject) => {
    const child = spawn(program, [String(options.count), options.placement ?? 'any'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(text) : reject(new Error(`futex-pair ended with ${code}`)),
    );
  });
  const [p50 = Number.NaN, p95 = Number.NaN, p99 = Number.NaN, n = 0] = output
    .trim()
    .split(' ')
    .map(Number);
  return { p50, p95, p99, n };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const count = Number(process.argv[2] ?? 20_000);
  const measures = {
    ring: measureLinkRoundTrip,
    request: measureLinkRequest,
    socket: measureSocketRoundTrip,
    futex: measureFutexPair,
    'futex apart': (options: RoundTripOptions) =>
      measureFutexPair({ ...options, placement: 'apart' }),
  };
  for (const [name, measure] of Object.entries(measures)) {
    const { p50, p95, p99, n } = await measure({ count });
    process.stdout.write(`${name.padEnd(12)} p50 ${p50} p95 ${p95} p99 ${p99} n ${n}\n`);
  }
}
