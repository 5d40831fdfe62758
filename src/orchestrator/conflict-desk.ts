// Where conflicts are opened, wait for people, are settled and carried out: each matter once, each answer on record.
// Invariants: one open conflict for a rule and a device; a deadline is counted on the monotonic clock and no clock jump
// prolongs it; an answer that is less safe than caution demands is carried out only once it is on record.

import type { Cancel, Clock } from '#foundation/clock';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { Origin, Principal } from '#model/principal';
import type { SafetyPolicy } from '#model/safety-policy';
import type { DisplayState } from '#model/snapshot';
import type { Conflict, ConflictAnswer, ConflictRule } from '#model/unified-state';
import type { Announcer } from './announcer.ts';
import { type ConflictActions, ConflictExecutor } from './conflict-actions.ts';
import { ConflictNews } from './conflict-news.ts';
import { type ConflictCase, type ConflictRecord, SETTLED_MAX } from './conflict-record.ts';
import { mayAnswer } from './conflict-rights.ts';
import { type Disagreement, displayOf, floorOf, RULES } from './conflicts.ts';
import type { DeviceHistory } from './device-history.ts';
import type { EventHub } from './event-hub.ts';
import {
  type Claim,
  conservativeAnswer,
  lessSafe,
  saferAnswer,
  settle,
  settlementPolicy,
} from './resolution.ts';

export interface ConflictDeskParts {
  readonly clock: Clock;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly record: ConflictRecord;
  readonly policy: Pick<SafetyPolicy, 'conflicts'>;
  readonly announcer: Announcer;
  readonly events: EventHub;
  readonly history: DeviceHistory;
  readonly actions: ConflictActions;
  readonly onError: (error: unknown, where: string) => void;
}

export interface ConflictReport {
  readonly device: LinearId;
  readonly disagreement: Disagreement;
  readonly claims: readonly Claim[];
  /** Of the device in kernel as it was found. */
  readonly changeCount: number;
}

/** Between two tries to carry out an answer while its conflict stands. */
const AGAIN_MS = 5_000;
/** Their answers change nothing when they are carried out a second time. */
const REPEATABLE: readonly ConflictAnswer[] = ['QUARANTINE', 'INHIBIT', 'SHOW_FAULT', 'SHOW_STALE'];
const DISPLAY_RULES = ['NORMAL_WHILE_FAULT', 'CURRENT_WHILE_STALE'] as const;

interface Matter {
  kept: ConflictCase;
  /** Monotonic milliseconds; Infinity where nobody is waited for. */
  untilMs: number;
  cancel: Cancel;
  /** Its answer is being put on record. */
  settling: boolean;
  /** Its answer was carried out, is being carried out, or was last tried at `triedMs` (monotonic). */
  done: boolean;
  trying: boolean;
  triedMs: number;
}

export class ConflictDesk {
  readonly #parts: ConflictDeskParts;
  readonly #executor: ConflictExecutor;
  readonly #news: ConflictNews;
  /** The latest matter of each rule and device whose facts still stand. */
  readonly #current = new Map<string, Matter>();
  readonly #open = new Map<number, Matter>();
  /** Oldest first. */
  readonly #settled: Matter[] = [];
  readonly #reviews = new Map<LinearId, Matter>();
  readonly #quietUntilMs = new Map<string, number>();
  readonly #detected = new Map<LinearId, number>();
  readonly #revisions = new Map<LinearId, number>();
  readonly #listeners = new Set<(conflict: Conflict) => void>();

  constructor(parts: ConflictDeskParts) {
    this.#parts = parts;
    this.#executor = new ConflictExecutor(parts.actions, parts.onError);
    this.#news = new ConflictNews(parts);
    for (const kept of parts.record.all()) this.#resume(kept);
  }

  /** Conflicts that wait for a person. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Open ones first, then the last settled ones, newest first. */
  conflicts(): readonly Conflict[] {
    return [...[...this.#open.values()].reverse(), ...[...this.#settled].reverse()].map(
      (matter) => matter.kept.conflict,
    );
  }

  openOf(device: LinearId): readonly number[] {
    if (this.#open.size === 0) return [];
    return [...this.#open.values()]
      .filter((matter) => matter.kept.conflict.device === device)
      .map((matter) => matter.kept.conflict.id);
  }

  underReview(device: LinearId): boolean {
    return this.#reviews.has(device);
  }

  /** Conflicts found on this device since the start. */
  detectedOn(device: LinearId): number {
    return this.#detected.get(device) ?? 0;
  }

  /** Moves with everything this desk knows about the device. */
  revisionOf(device: LinearId): number {
    return this.#revisions.get(device) ?? 0;
  }

  /** What panels must show of the device; while people still decide, what caution demands. */
  displayFor(device: LinearId): DisplayState | undefined {
    let safest: ConflictAnswer = 'ACCEPT';
    for (const rule of DISPLAY_RULES) {
      const kept = this.#current.get(keyOf(rule, device))?.kept;
      if (kept !== undefined)
        safest = saferAnswer(safest, kept.conflict.answer ?? kept.conservative);
    }
    return displayOf(safest);
  }

  /** Calls back after every change of a conflict or of what was done about it. */
  onChange(listen: (conflict: Conflict) => void): () => void {
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }

  /** A disagreement that has outlived its grace: opened and settled as the policy says, unless it is known already. */
  consider(report: ConflictReport): void {
    const { device, disagreement } = report;
    const { rule, subject, facts } = disagreement;
    const key = keyOf(rule, device);
    const known = this.#current.get(key);
    if (known?.settling === true) return;
    if (known?.kept.conflict.answer === null) {
      if (known.kept.facts !== facts) this.#restate(known, report);
      return;
    }
    if (known !== undefined) {
      const { kept } = known;
      const accepted = kept.conflict.answer === 'ACCEPT';
      const same = accepted ? kept.facts === facts : kept.subject === subject;
      if (same) {
        this.#tryAgain(known, report);
        return;
      }
    }
    const review = this.#reviews.get(device)?.kept;
    if (review?.conflict.rule === rule && review.subject === subject) return;
    if (this.#parts.clock.nowMs() < (this.#quietUntilMs.get(key) ?? 0)) return;
    this.#begin(report, key);
  }

  /** Neither the disagreement nor its cause stands any more. */
  gone(rule: ConflictRule, device: LinearId): void {
    const key = keyOf(rule, device);
    const matter = this.#current.get(key);
    if (matter === undefined || matter.settling) return;
    if (matter.kept.conflict.answer !== null) {
      this.#current.delete(key);
      this.#moved(matter.kept.conflict);
    } else if (RULES[rule].whenGone === 'ends') {
      this.#current.delete(key);
      this.#close(matter, floorOf(rule), 'gone');
      this.#news.report(this.#news.recordSettled(matter.kept, 'its cause ended by itself', null));
    }
  }

  /** A person settles an open conflict, or ends a review. */
  async resolve(
    principal: Principal,
    conflictId: number,
    answer: ConflictAnswer,
    reason: string,
    origin: Origin | null,
  ): Promise<Outcome<Conflict>> {
    const matter = this.#answerable(conflictId);
    const device = this.#parts.devices.get(matter?.kept.conflict.device ?? -1);
    if (matter === undefined || device === undefined) {
      return unknown(conflictId, 'no conflict of this number waits for an answer');
    }
    const { conservative, conflict } = matter.kept;
    const { rule } = conflict;
    const allowed = mayAnswer({
      principal,
      device,
      conflictId,
      rule,
      conservative,
      answer,
      reason,
    });
    if (!allowed.ok) return allowed;
    if (matter.settling) return unknown(conflictId, 'somebody else is settling it just now');
    const settled = await this.#settle(matter, answer, principal.id, reason.trim(), origin);
    return settled.ok ? succeed(matter.kept.conflict) : settled;
  }

  #answerable(conflictId: number): Matter | undefined {
    const open = this.#open.get(conflictId);
    if (open !== undefined) return open;
    return [...this.#reviews.values()].find((matter) => matter.kept.conflict.id === conflictId);
  }

  #begin(report: ConflictReport, key: string): void {
    const { clock, policy, record } = this.#parts;
    const { device, disagreement, claims, changeCount } = report;
    const { rule, finding, positions, subject, facts } = disagreement;
    const floor = floorOf(rule);
    const chosen = settlementPolicy(policy, rule, device);
    const settlement = settle(claims, chosen, floor);
    const lengthMs = settlement.kind === 'mediated' ? chosen.deadlineSeconds * 1_000 : 0;
    const openedWallMs = clock.wallMs();
    const conflict: Conflict = {
      id: record.nextId(),
      rule,
      device,
      finding,
      positions,
      method: chosen.method,
      openedWallMs,
      deadlineWallMs: lengthMs === 0 ? 0 : openedWallMs + lengthMs,
      answer: null,
      resolvedBy: '',
      resolvedWallMs: 0,
    };
    const conservative = conservativeAnswer(claims, floor);
    const found = { subject, facts, changeCount, lengthMs };
    const matter = matterOf({ conflict, conservative, ...found, underReview: false });
    this.#current.set(key, matter);
    this.#detected.set(device, this.detectedOn(device) + 1);
    this.#news.opened(matter.kept);
    if (settlement.kind === 'answered') {
      void this.#settle(matter, settlement.answer, chosen.method, '', null);
      return;
    }
    this.#open.set(conflict.id, matter);
    this.#startDeadline(matter, lengthMs);
    this.#moved(conflict);
  }

  /** The facts of an open conflict moved on: people see and answer the present ones. */
  #restate(matter: Matter, report: ConflictReport): void {
    const { finding, positions, subject, facts } = report.disagreement;
    const conflict = { ...matter.kept.conflict, finding, positions };
    matter.kept = { ...matter.kept, conflict, subject, facts, changeCount: report.changeCount };
    this.#keep(matter.kept);
    this.#moved(conflict);
  }

  #startDeadline(matter: Matter, afterMs: number): void {
    matter.untilMs = this.#parts.clock.nowMs() + afterMs;
    matter.cancel = this.#parts.clock.after(afterMs, () => this.#due(matter));
  }

  #due(matter: Matter): void {
    // An answer that is being recorded came in time; if the record fails, it is due at once.
    if (matter.kept.conflict.answer !== null || matter.settling) return;
    const reason = 'nobody answered in time';
    void this.#settle(matter, matter.kept.conservative, 'deadline', reason, null);
  }

  /** Refused only when the answer had to be on record first and could not be. */
  async #settle(
    matter: Matter,
    answer: ConflictAnswer,
    by: string,
    reason: string,
    origin: Origin | null,
  ): Promise<Outcome<void>> {
    const news = this.#news;
    if (!lessSafe(answer, matter.kept.conservative)) {
      this.#close(matter, answer, by);
      news.report(news.recordSettled(matter.kept, reason, origin));
      this.#carryOut(matter);
      return succeed(undefined);
    }
    matter.settling = true;
    const entry = await news.recordSettled(this.#answered(matter, answer, by), reason, origin);
    matter.settling = false;
    if (entry.ok) {
      this.#close(matter, answer, by);
      this.#carryOut(matter);
      return succeed(undefined);
    }
    const { method } = matter.kept.conflict;
    if (by === method || this.#parts.clock.nowMs() >= matter.untilMs) {
      const why = 'a less safe answer could not be put on record';
      void this.#settle(matter, matter.kept.conservative, 'CONSERVATIVE', why, null);
    }
    return by === method ? succeed(undefined) : entry;
  }

  #answered(matter: Matter, answer: ConflictAnswer, resolvedBy: string): ConflictCase {
    const resolvedWallMs = this.#parts.clock.wallMs();
    const conflict = { ...matter.kept.conflict, answer, resolvedBy, resolvedWallMs };
    return { ...matter.kept, conflict, underReview: answer === 'REVIEW' };
  }

  #close(matter: Matter, answer: ConflictAnswer, by: string): void {
    const { id, rule, device } = matter.kept.conflict;
    matter.cancel();
    matter.kept = this.#answered(matter, answer, by);
    this.#open.delete(id);
    this.#review(matter);
    if (!this.#settled.includes(matter)) this.#settled.push(matter);
    if (this.#settled.length > SETTLED_MAX) this.#settled.shift();
    const { quietMs } = RULES[rule];
    if (quietMs > 0) {
      this.#quietUntilMs.set(keyOf(rule, device), this.#parts.clock.nowMs() + quietMs);
    }
    this.#news.settled(matter.kept.conflict);
    this.#moved(matter.kept.conflict);
  }

  /** One review for a device: a later one takes its place, and another answer to the same rule ends it. */
  #review(matter: Matter): void {
    const { rule, device } = matter.kept.conflict;
    const standing = this.#reviews.get(device);
    if (matter.kept.underReview) this.#reviews.set(device, matter);
    else if (standing?.kept.conflict.rule === rule) this.#reviews.delete(device);
    if (standing === undefined || standing === matter || this.#reviews.get(device) === standing)
      return;
    standing.kept = { ...standing.kept, underReview: false };
    this.#keep(standing.kept);
  }

  #tryAgain(matter: Matter, report: ConflictReport): void {
    const { answer } = matter.kept.conflict;
    const useful = !matter.done || (answer !== null && REPEATABLE.includes(answer));
    const waited = this.#parts.clock.nowMs() - matter.triedMs >= AGAIN_MS;
    if (!useful || matter.trying || !waited) return;
    // The same change, while operations went on: an ACCEPT has to name the present count.
    matter.kept = { ...matter.kept, changeCount: report.changeCount };
    this.#carryOut(matter);
  }

  #carryOut(matter: Matter): void {
    const { conflict, changeCount } = matter.kept;
    matter.trying = true;
    matter.triedMs = this.#parts.clock.nowMs();
    void this.#executor.carryOut(conflict, changeCount).then((done) => {
      matter.trying = false;
      matter.done = done;
      this.#moved(matter.kept.conflict);
    });
  }

  #resume(kept: ConflictCase): void {
    const { id, rule, device, answer, deadlineWallMs } = kept.conflict;
    // What was to be done may not have been done: it is tried again as soon as the same facts are found.
    const matter = matterOf(kept);
    this.#current.set(keyOf(rule, device), matter);
    if (kept.underReview) this.#reviews.set(device, matter);
    if (answer !== null) {
      this.#settled.push(matter);
      return;
    }
    this.#open.set(id, matter);
    // The wall clock is all that outlives a restart; set back, it gives no more than the whole time again.
    const leftMs = Math.max(deadlineWallMs - this.#parts.clock.wallMs(), 0);
    this.#startDeadline(matter, Math.min(leftMs, kept.lengthMs));
  }

  #keep(kept: ConflictCase): void {
    this.#parts.record.keep(kept).catch((error: unknown) => {
      this.#parts.onError(new Error(describeError(error)), 'conflict record');
    });
  }

  #moved(conflict: Conflict): void {
    this.#revisions.set(conflict.device, this.revisionOf(conflict.device) + 1);
    for (const listen of this.#listeners) listen(conflict);
  }
}

function matterOf(kept: ConflictCase): Matter {
  const untilMs = Number.POSITIVE_INFINITY;
  const untried = { done: false, trying: false, triedMs: Number.NEGATIVE_INFINITY };
  return { kept, untilMs, cancel: () => undefined, settling: false, ...untried };
}

function unknown(conflictId: number, finding: string): Outcome<never> {
  return refuse(fault('CONFLICT_UNKNOWN', { place: `conflict ${conflictId}`, finding }));
}

function keyOf(rule: ConflictRule, device: LinearId): string {
  return `${rule} ${device}`;
}
