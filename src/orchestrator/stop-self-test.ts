// Tests the stop path again and again without stopping anything: the real bell, kernel's real ear, the real words.
// Invariants: not while a stop stands, nor while kernel is away, which says enough by itself; a failure makes the system
// DEGRADED until a test succeeds; only what changes is put on record.

import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError, type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse } from '#foundation/outcome';
import { Severity } from '#model/event';
import type { StopLatch, StopTest } from '#model/stop';
import type { KernelTrack } from '#model/track';
import type { Announcer } from './announcer.ts';

export interface StopSelfTestParts {
  readonly clock: Clock;
  readonly latch: StopLatch;
  readonly kernel: Pick<KernelTrack, 'testStop'>;
  readonly periodMs: number;
  readonly kernelUp: () => boolean;
  readonly announcer: Announcer;
  /** The latch was found engaged, at two looks in a row; whoever keeps the causes may not have been told. */
  readonly onEngaged: () => void;
}

/** Kernel has to answer within this time, milliseconds. */
const ANSWER_LIMIT_MS = 1_000;

export class StopSelfTest {
  readonly #parts: StopSelfTestParts;
  #last: StopTest | null = null;
  #lastMs = 0;
  #engagedLooks = 0;
  #cancel: Cancel | null = null;

  constructor(parts: StopSelfTestParts) {
    this.#parts = parts;
  }

  /** The last test's finding; null before the first. */
  get last(): StopTest | null {
    return this.#last;
  }

  /** When the last test ended, by the monotonic clock, and how; null before the first. */
  get tested(): { readonly ok: boolean; readonly atMs: number } | null {
    return this.#last === null ? null : { ok: this.#last.ok, atMs: this.#lastMs };
  }

  get periodMs(): number {
    return this.#parts.periodMs;
  }

  /** Tests in the period from now on. */
  start(): void {
    this.halt();
    const { clock, periodMs } = this.#parts;
    this.#cancel = clock.after(periodMs, () => {
      this.start();
      void this.run();
    });
  }

  halt(): void {
    this.#cancel?.();
    this.#cancel = null;
  }

  /** One test now, or none when a stop stands or kernel is away. */
  async run(): Promise<void> {
    const { clock, latch, kernelUp, onEngaged } = this.#parts;
    if (!kernelUp()) return;
    const startMs = clock.nowMs();
    const unsound = latch.finding();
    if (unsound !== '') return this.#take('failed', `seen by security, ${unsound}`, startMs);
    this.#engagedLooks = latch.engaged() ? this.#engagedLooks + 1 : 0;
    if (this.#engagedLooks > 1) onEngaged();
    if (this.#engagedLooks > 0) return;
    const answer = await this.#ask(Deadline.after(clock, ANSWER_LIMIT_MS));
    // What happened meanwhile explains a missing answer, and shows for itself.
    if (!kernelUp() || latch.engaged()) return;
    if (answer.ok) {
      return this.#take('passed', answer.value === '' ? 'kernel answered' : answer.value, startMs);
    }
    if (answer.fault.code === 'EMERGENCY_STOPPED') return;
    this.#take('failed', findingOf(answer.fault), startMs);
  }

  async #ask(deadline: Deadline): Promise<Outcome<string>> {
    const { kernel, latch, periodMs } = this.#parts;
    try {
      const answer = kernel.testStop(deadline, periodMs);
      latch.test();
      return await answer;
    } catch (error) {
      const finding = 'the test itself failed';
      const internal = describeError(error);
      return refuse(fault('STOP_TEST_FAILED', { place: 'emergency stop', finding, internal }));
    }
  }

  #take(verdict: 'passed' | 'failed', finding: string, startMs: number): void {
    const { clock, announcer } = this.#parts;
    const before = this.#last;
    this.#lastMs = clock.nowMs();
    const durationMs = this.#lastMs - startMs;
    const ok = verdict === 'passed';
    this.#last = { ok, finding, wallMs: clock.wallMs(), durationMs };
    const failedBefore = before?.ok === false;
    if (ok && !failedBefore) return;
    if (!ok && failedBefore && before.finding === finding) return;
    const told = ok
      ? `the stop path works again: ${finding}`
      : `the stop path failed its test: ${finding}`;
    void announcer.record('STOP_TESTED', 'security', null, [], told);
    announcer.systemChanged(told, ok ? Severity.WARNING : Severity.CRITICAL);
  }
}

function findingOf({ code, finding }: Fault): string {
  return code === 'DEADLINE_EXCEEDED'
    ? `kernel did not answer within ${ANSWER_LIMIT_MS} ms`
    : finding;
}
