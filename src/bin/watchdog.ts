// Keeps the service manager's watchdog quiet for as long as this process does its work: sd_notify(3) WATCHDOG=1 only when
// every critical loop came round and the stop path was tested of late. Whatever is stuck then ends by SIGABRT and a new start,
// and kernel's devices reach their safe values by dsmil-safe-drive.
// Invariants: nothing but work done counts as life; a loop is given its own time several times over before it is called
// stuck; without a manager that asks, nothing runs.

import { sdNotify } from '#drivers/native/host';
import type { Cancel, Clock } from '#foundation/clock';

/** A loop as the decision sees it. */
export interface LoopState {
  readonly name: string;
  /** Since the last kick. */
  readonly turned: boolean;
  /** When it last came round. */
  readonly turnedMs: number;
  /** Longest time between two rounds that is still life; 0 for one that has to come round between any two kicks. */
  readonly limitMs: number;
}

/** Tests of the stop path as the decision sees them; null in a process that has no part in them. */
export interface StopTestState {
  readonly last: { readonly ok: boolean; readonly atMs: number } | null;
  readonly periodMs: number;
  /** Since when tests could be made (no stop stands, the other side is up); null while they cannot. */
  readonly possibleSinceMs: number | null;
}

export interface Judgement {
  readonly alive: boolean;
  /** What keeps the kick back, a sentence; empty when nothing does. */
  readonly finding: string;
}

/** A stop test older than this many periods says nothing any more. */
export const STOP_TEST_PERIODS = 3;
/** Looks between two times at which the manager would lose patience. */
const LOOKS = 4;

/** Whether to kick now. Pure; all times are milliseconds of one monotonic clock. */
export function judge(
  nowMs: number,
  loops: readonly LoopState[],
  stopTest: StopTestState | null,
): Judgement {
  const findings = loops
    .filter(({ turned, turnedMs, limitMs }) => !turned && nowMs - turnedMs >= limitMs)
    .map(({ name, turnedMs }) => `${name} has not come round for ${seconds(nowMs - turnedMs)} s`);
  const tested = stopTest === null ? '' : stopTestFinding(nowMs, stopTest);
  if (tested !== '') findings.push(tested);
  return { alive: findings.length === 0, finding: findings.join('; ') };
}

function stopTestFinding(
  nowMs: number,
  { last, periodMs, possibleSinceMs }: StopTestState,
): string {
  // A standing stop is its own proof, and who has nobody to test with is not the one to be restarted.
  if (possibleSinceMs === null) return '';
  if (last !== null && !last.ok) return 'the last test of the stop path failed';
  const sinceMs = Math.max(possibleSinceMs, last?.atMs ?? Number.NEGATIVE_INFINITY);
  if (nowMs - sinceMs < STOP_TEST_PERIODS * periodMs) return '';
  return `the stop path was not tested for ${seconds(nowMs - sinceMs)} s`;
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(1);
}

/** Says that its loop came round. */
export type Report = () => void;

export interface WatchdogParts {
  readonly clock: Clock;
  readonly log: {
    error(detail: object, message: string): void;
    info(detail: object, message: string): void;
  };
  /** Asked at every look; null where the stop path is not tested. */
  readonly stopTest?: () => StopTestState;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** To the manager; false when it was not taken. */
  readonly notify?: (text: string) => boolean;
}

interface Loop {
  readonly name: string;
  readonly limitMs: number;
  turned: boolean;
  turnedMs: number;
}

export class Watchdog {
  readonly #parts: WatchdogParts;
  readonly #loops: Loop[] = [];
  readonly #probes: (() => void)[] = [];
  readonly #notify: (text: string) => boolean;
  /** Between two kicks at the latest; null when nobody asked for them. */
  readonly #intervalMs: number | null;
  #finding = '';
  #cancel: Cancel | null = null;

  constructor(parts: WatchdogParts) {
    this.#parts = parts;
    this.#notify =
      parts.notify ??
      ((text) => {
        const told = sdNotify(text);
        return told.ok && told.value;
      });
    this.#intervalMs = intervalOf(parts.environment ?? process.env);
    const turned = this.loop('the event loop');
    this.probe(() => setImmediate(turned));
  }

  /** Registers a loop that reports by itself each time it came round. */
  loop(name: string, limitMs = 0): Report {
    const { clock } = this.#parts;
    const loop: Loop = { name, limitMs, turned: false, turnedMs: clock.nowMs() };
    this.#loops.push(loop);
    return () => {
      loop.turned = true;
      loop.turnedMs = clock.nowMs();
    };
  }

  /** Called at every look, to begin what ends in a report; never waits for itself. */
  probe(begin: () => void): void {
    this.#probes.push(begin);
  }

  /** From now on; to be called when the process answers. */
  start(): void {
    if (this.#intervalMs === null || this.#cancel !== null) return;
    const nowMs = this.#parts.clock.nowMs();
    for (const loop of this.#loops) loop.turnedMs = nowMs;
    this.#ask();
    this.#wait(this.#intervalMs);
  }

  /** Tells the manager that the process ends by itself, and what it still does. */
  stopping(status: string): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#notify(`STOPPING=1\nSTATUS=${status}`);
  }

  #wait(intervalMs: number): void {
    this.#cancel = this.#parts.clock.after(intervalMs, () => {
      this.#look();
      this.#wait(intervalMs);
    });
  }

  #ask(): void {
    for (const begin of this.#probes) begin();
  }

  #look(): void {
    const { clock, log, stopTest } = this.#parts;
    const nowMs = clock.nowMs();
    const judged = judge(nowMs, this.#loops, stopTest?.() ?? null);
    if (judged.finding !== this.#finding) {
      this.#finding = judged.finding;
      this.#notify(`STATUS=${judged.alive ? 'every loop comes round' : judged.finding}`);
      if (!judged.alive) log.error({ finding: judged.finding }, 'the watchdog is not kicked');
      else log.info({}, 'the watchdog is kicked again');
    }
    if (judged.alive) {
      for (const loop of this.#loops) loop.turned = false;
      this.#notify('WATCHDOG=1');
    }
    this.#ask();
  }
}

/** A quarter of what the manager waits (sd_watchdog_enabled(3)); null when it does not, or waits for another process. */
function intervalOf(environment: Readonly<Record<string, string | undefined>>): number | null {
  const { NOTIFY_SOCKET: socket, WATCHDOG_USEC: waits, WATCHDOG_PID: pid } = environment;
  if (socket === undefined || socket === '' || waits === undefined) return null;
  if (pid !== undefined && Number(pid) !== process.pid) return null;
  const intervalMs = Number(waits) / 1_000 / LOOKS;
  return Number.isFinite(intervalMs) && intervalMs > 0 ? intervalMs : null;
}
