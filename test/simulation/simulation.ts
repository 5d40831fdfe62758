// One seeded run of the whole agent on the bench composition: people, troubles, a monitor, and a verdict at the end.
// Invariants: the seed alone decides what happens; two runs of one seed give the same trace digest.

import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadBoard } from '#config/board';
import { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import { seededRandom } from '#drivers/bus/simulated/random';
import { settleUntilQuiet, VirtualClock } from '#foundation/clock';
import { describeError, describeFault } from '#foundation/fault';
import type { Board } from '#model/board';
import { DEFAULT_POLICY } from '#model/safety-policy';
import { TRACKS } from '#model/track-name';
import { Bench } from '../../src/bin/bench/agent.ts';
import { Chaos } from './chaos.ts';
import { Monitor } from './monitor.ts';
import { PERSONAS, People } from './people.ts';
import { Trace } from './trace.ts';
import { judge } from './verdict.ts';
import type { Violation } from './violation.ts';

const PROFILES = fileURLToPath(new URL('../../drivers/profiles', import.meta.url));
/** Everything is up before anybody acts. */
const WARM_UP_MS = 800;
/** From the end of all trouble until everything must be settled. */
const QUIESCENCE_MS_MAX = 12_000;
/** Whatever comes late still comes: retries, reports, the next look at every device. */
const QUIESCENCE_MS_MIN = 2_000;
const STEP_MS = 100;
const CHECKPOINT_KEY = generateKeyPairSync('ed25519').privateKey;

export interface RunOptions {
  readonly seed: number;
  /** Virtual time under trouble, milliseconds; warm-up and quiescence come on top. */
  readonly durationMs: number;
  readonly print?: (line: string) => void;
  /** People alone, and a sound world. */
  readonly chaos?: 'none';
  /** Called once when half of the trouble is over: to see that the monitor notices what it is there for. */
  readonly meddle?: (agent: Meddled) => void;
}

export interface Meddled {
  readonly bench: Bench;
  readonly clock: VirtualClock;
  readonly monitor: Monitor;
  readonly database: string;
}

export interface RunResult {
  readonly seed: number;
  readonly virtualMs: number;
  readonly violations: readonly Violation[];
  readonly counts: ReadonlyMap<string, number>;
  readonly digest: string;
  readonly lines: number;
  readonly lastLines: readonly string[];
}

let board: Board | null = null;

export function benchBoard(): Board {
  if (board !== null) return board;
  const loaded = loadBoard(join(PROFILES, 'boards/bench.yaml'), { profileDirectories: [PROFILES] });
  if (!loaded.ok) throw new Error(describeFault(loaded.fault));
  board = loaded.value;
  return board;
}

/** In memory where the machine has such a place: the disk is not what is tested here. */
function scratch(): string {
  return mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'dsmil-simulation-'));
}

/** Nothing is open, nobody is at work, and security is in charge. */
async function settled(bench: Bench): Promise<boolean> {
  const { security } = bench;
  if (security === null || !security.supervision.inCharge) return false;
  const status = await security.orchestrator.status();
  const idle = status.ok && status.value.activeOperations === 0;
  return idle && security.journal.open().length === 0;
}

export async function simulate(options: RunOptions): Promise<RunResult> {
  const { seed } = options;
  const directory = scratch();
  const database = join(directory, 'agent.db');
  const clock = new VirtualClock(undefined, settleUntilQuiet);
  const trace = new Trace(clock, options.print ?? (() => undefined));
  const hardware = new SimulatedHardware({ board: benchBoard(), clock, seed });
  const monitor = new Monitor(clock, hardware, trace);
  const random = (stream: number) => seededRandom(seed * 16 + stream);
  const surprise = (error: unknown) => monitor.violate('I8', `unhandled: ${describeError(error)}`);
  process.on('unhandledRejection', surprise);
  let latencyMs = (): number => 0.1;
  const bench = new Bench({
    board: benchBoard(),
    people: PERSONAS,
    policy: DEFAULT_POLICY,
    clock,
    hardware,
    database,
    checkpointKey: CHECKPOINT_KEY,
    linkLatencyMs: () => latencyMs(),
    watch: monitor,
  });
  monitor.bench = bench;
  const chaos = new Chaos({ bench, clock, hardware, monitor, random: random(1), trace, seed });
  latencyMs = () => chaos.latencyMs();
  const people = new People({
    board: benchBoard(),
    bench,
    clock,
    random: random(2),
    monitor,
    trace,
  });
  const pass = async (forMs: number) => {
    for (let passed = 0; passed < forMs && monitor.violations.length === 0; passed += STEP_MS)
      await clock.advance(STEP_MS);
  };
  try {
    hardware.start();
    for (const track of TRACKS) void bench.start(track);
    monitor.kernelStarted();
    await pass(WARM_UP_MS);
    people.start();
    if (options.chaos === undefined) {
      monitor.hooks = chaos;
      chaos.start();
    }
    await pass(options.durationMs / 2);
    options.meddle?.({ bench, clock, monitor, database });
    await pass(options.durationMs / 2);
    trace.add('simulation', 'all trouble ends');
    people.end();
    chaos.heal();
    await pass(QUIESCENCE_MS_MIN);
    for (let passed = QUIESCENCE_MS_MIN; passed < QUIESCENCE_MS_MAX; passed += STEP_MS) {
      if (await settled(bench)) break;
      await pass(STEP_MS);
    }
    if (monitor.violations.length === 0) {
      if (bench.security?.supervision.inCharge !== true)
        monitor.violate('I3', 'security has not taken charge of kernel');
      const holds = bench.kernel?.interlock.holds() ?? [];
      const open = bench.security?.journal.open().map(({ operationId }) => operationId) ?? [];
      const stopEngaged = bench.latch.engaged;
      const { acknowledged } = people;
      judge({ database, monitor, acknowledged, open, holds, stopEngaged });
    }
  } finally {
    hardware.stop();
    bench.close();
    await settleUntilQuiet();
    process.off('unhandledRejection', surprise);
    rmSync(directory, { recursive: true, force: true });
  }
  return {
    seed,
    virtualMs: clock.nowMs(),
    violations: monitor.violations,
    counts: monitor.counts,
    digest: trace.digest(),
    lines: trace.lines,
    lastLines: trace.last(120),
  };
}
