// Watches the audit chain: every durable entry passes here, adds to the windows of those it is about, and may open an incident.
// Invariants: what is counted is in the chain and nowhere else, so that a restart counts it again from there; memory is bounded;
// what a person has closed, or unlocked, is not held against anybody a second time.
// Faults: none to whoever appends; an incident that the disk does not take counts all the same and is recorded later.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import type { AuditEntry } from '#model/audit-entry';
import type { LinearId } from '#model/device';
import type { Incident, ThreatLevel, ThreatReport, ThreatSubject } from '#model/incident';
import type { ThreatPolicy } from '#model/safety-policy';
import type { AuditSink } from '../ports.ts';
import { BaselineBook } from './baseline-book.ts';
import { type KeptIncident, rankOf } from './incident-book.ts';
import { type IncidentResponses, LOCKED_BY_INCIDENT } from './incident-responses.ts';
import { type IncidentChange, Incidents } from './incidents.ts';
import { judge, learn, usualOperations } from './threat-baseline.ts';
import { indicatorsOf, scoreOf, type ThreatQuestion } from './threat-score.ts';
import { inGroups, observationsOf, type SignContext } from './threat-signs.ts';
import { BUCKETS, type Sign, type SignSeen, type ThreatWindow } from './threat-window.ts';
import { ThreatWindows } from './threat-windows.ts';

export interface WatchedChain extends AuditSink {
  readonly lastSequence: number;
  read(fromSequence: number, limit: number): readonly AuditEntry[];
}

export interface ThreatMonitorParts {
  readonly clock: Clock;
  /** Of this machine's life: entries of the same one carry the same monotonic time. */
  readonly bootId: string;
  readonly policy: ThreatPolicy;
  readonly store: DurableStore;
  readonly audit: WatchedChain;
  readonly responses: IncidentResponses;
  readonly isAccount: (name: string) => boolean;
  /** Quarantined for good, by the board or by nature. */
  readonly forbidden: (device: LinearId) => boolean;
  /** Told at once, before anything is on disk. */
  readonly onIncident: (incident: Incident, change: IncidentChange) => void;
  readonly onError: (error: unknown, where: string) => void;
}

const SWEEP_EVERY_MS = 60_000;
const REPLAY_PAGE = 500;
/** Entries looked at again after a start: more than ten minutes of hard work. */
const REPLAY_MAX = 100_000;
const FINDING_LENGTH_MAX = 480;
/** What changes nothing. */
const READ = 'READ';

export class ThreatMonitor {
  readonly incidents: Incidents;
  readonly #parts: ThreatMonitorParts;
  readonly #windows = new ThreatWindows();
  readonly #baselines: BaselineBook;
  readonly #context: SignContext;
  readonly #windowMs: number;
  readonly #bucketMs: number;
  /** The first entry that passed here in this life of the process; what came before is for the replay. */
  #observedFrom: number | null = null;

  constructor(parts: ThreatMonitorParts) {
    this.#parts = parts;
    this.#baselines = new BaselineBook(parts.store);
    const { clock, store, audit, responses, policy, onIncident, onError } = parts;
    this.incidents = new Incidents({
      clock,
      store,
      audit,
      responses,
      quietMs: policy.quietMinutes * 60_000,
      onIncident,
      onSettled: (subject) => this.#windows.forget(subject),
      onError,
    });
    const criticalGroups = new Set(parts.policy.criticalGroups);
    const { isAccount, forbidden } = parts;
    this.#context = { isAccount, criticalGroups, forbidden };
    this.#windowMs = parts.policy.windowSeconds * 1_000;
    this.#bucketMs = this.#windowMs / BUCKETS;
  }

  // --- What others ask --------------------------------------------------------------------------

  /** The score of anybody or anything now, and what it is made of. */
  report(subject: ThreatSubject): ThreatReport {
    const bucket = this.#bucketNow();
    const window = this.#windows.find(subject);
    const nothing = { subject, score: 0, level: 'NONE' as const, windowMs: this.#windowMs };
    if (window === undefined) return { ...nothing, indicators: [] };
    window.expire(bucket);
    const question = this.#question(subject, window);
    const indicators = indicatorsOf(question).map(({ signs, ...indicator }) => ({
      ...indicator,
      entries: window.entries(signs, bucket),
    }));
    return { ...nothing, ...scoreOf(question), indicators };
  }

  /** For tests and measurements: subjects in memory. */
  size(kind: ThreatSubject['kind']): number {
    return this.#windows.size(kind);
  }

  // --- The feed -----------------------------------------------------------------------------------

  /** Counts what the chain holds of the last window, then begins to look after what is open. */
  async start(): Promise<void> {
    this.#sweepLater();
    await this.#replay();
  }

  /** Every entry of the chain, once it is on disk. */
  observe(entry: AuditEntry): void {
    this.#observedFrom ??= entry.sequence;
    try {
      this.#observe(entry);
    } catch (error) {
      // The entry is durable, and whoever appended it has to hear so.
      this.#parts.onError(error, 'threat detection');
    }
  }

  #observe(entry: AuditEntry): void {
    const unlocked = entry.event === 'ACCOUNT_UNLOCKED' ? unlockedBy(entry) : undefined;
    if (unlocked === undefined) {
      this.#take(entry, this.#evaluate);
      return;
    }
    // It begins anew, and can be locked again.
    this.#windows.forget(unlocked);
    this.incidents.unlocked(unlocked, entry.actor);
  }

  /** An attempt on a quarantined device whose entry the disk did not take: it counts all the same. */
  probed(device: LinearId, actor: string): void {
    const { audit, isAccount } = this.#parts;
    const subject: ThreatSubject = isAccount(actor)
      ? { kind: 'person', id: actor }
      : { kind: 'device', id: String(device) };
    const window = this.#windows.of(subject);
    const seen = { bucket: this.#bucketNow(), sequence: audit.lastSequence, devices: [device] };
    window.add('probe', seen);
    this.#evaluate(subject, window, actor);
  }

  #take(
    entry: AuditEntry,
    then: (subject: ThreatSubject, window: ThreatWindow, actor: string) => void,
  ): void {
    const bucket = this.#bucketOf(entry);
    if (bucket <= this.#bucketNow() - BUCKETS) return;
    const { event, sequence, devices, actor } = entry;
    const seen: SignSeen = { bucket, sequence, devices };
    if (event === 'OPERATION_COMPLETED' || event === 'OPERATION_FAILED') {
      if (!this.#context.isAccount(actor)) return;
      const subject: ThreatSubject = { kind: 'person', id: actor };
      const window = this.#windows.of(subject);
      for (const sign of this.#operation(entry)) window.add(sign, seen);
      then(subject, window, actor);
      return;
    }
    for (const { kind, id, signs, person } of observationsOf(entry, this.#context)) {
      const subject: ThreatSubject = { kind, id };
      const window = this.#windows.of(subject);
      for (const sign of signs) window.add(sign, seen);
      if (person !== undefined) window.addPerson(person, bucket);
      then(subject, window, actor);
    }
  }

  /** What an operation within one's rights says, and teaches where it succeeded; one that failed may have reached the metal. */
  #operation(entry: AuditEntry): readonly Sign[] {
    const { actor, devices, sequence, wallMs, clockQuality, risk } = entry;
    const changed = entry.operation !== READ;
    const signs: Sign[] = changed ? ['done', 'changed'] : ['done'];
    const block = Math.floor(this.#atMs(entry) / this.#windowMs);
    const seen = { sequence, wallMs, changed, devices, clockQuality, block };
    const before = this.#baselines.of(actor);
    const unusual = judge(before, seen, this.#parts.policy);
    if (unusual.device) signs.push('unusualDevice');
    if (unusual.hour) signs.push('unusualHour');
    if (changed && (risk === 'HIGH' || risk === 'CRITICAL')) {
      const { criticalGroups } = this.#context;
      if (devices.some((device) => inGroups(device, criticalGroups))) signs.push('criticalDone');
    }
    const after = entry.event === 'OPERATION_COMPLETED' ? learn(before, seen) : before;
    if (after !== before) this.#baselines.put(actor, after);
    return signs;
  }

  #question(subject: ThreatSubject, tally: ThreatWindow): ThreatQuestion {
    const { policy, clock } = this.#parts;
    const { kind, id } = subject;
    // Asked of the disk only where the answer can matter.
    const busy = kind === 'person' && tally.count('done') > policy.baseline.rateMin;
    const usual = busy ? usualOperations(this.#baselines.of(id), clock.wallMs(), policy) : null;
    return { kind, tally, usualOperations: usual, policy };
  }

  // --- Incidents ----------------------------------------------------------------------------------

  readonly #evaluate = (subject: ThreatSubject, window: ThreatWindow, actor: string): void => {
    const bucket = this.#bucketNow();
    window.expire(bucket);
    const question = this.#question(subject, window);
    const { score, level } = scoreOf(question);
    if (level === 'NONE') return;
    const { incidents } = this;
    const standing = incidents.openOf(subject);
    if (standing !== undefined) incidents.seen(standing.id);
    const grave = rankOf(level) >= rankOf('HIGH');
    const unlocked = subject.kind === 'person' && grave && standing?.locked === false;
    const worse = standing === undefined || rankOf(level) > rankOf(standing.level) || unlocked;
    if (!worse && score <= standing.score) return;
    const incident = this.#judged(subject, window, question, { score, level }, actor, standing);
    if (worse) incidents.raise(incident, standing);
    else incidents.update(incident);
  };

  /** The incident as it stands now, with nothing done about it yet. */
  #judged(
    subject: ThreatSubject,
    window: ThreatWindow,
    question: ThreatQuestion,
    found: { readonly score: number; readonly level: ThreatLevel },
    actor: string,
    standing: KeptIncident | undefined,
  ): KeptIncident {
    const bucket = this.#bucketNow();
    const wallMs = this.#parts.clock.wallMs();
    const counting = indicatorsOf(question);
    const named = new Set<LinearId>(standing?.devices ?? []);
    for (const { signs } of counting) {
      for (const sign of signs) for (const id of window.devices(sign, bucket)) named.add(id);
    }
    const reached = new Set<LinearId>(standing?.reached ?? []);
    if (subject.kind === 'device') {
      named.add(Number(subject.id));
      reached.add(Number(subject.id));
    }
    for (const id of window.devices('changed', bucket)) if (named.has(id)) reached.add(id);
    const finding = counting.map((indicator) => indicator.finding).join('; ');
    return {
      id: standing?.id ?? this.incidents.nextId(),
      subject,
      devices: inOrder(named),
      reached: inOrder(reached),
      actor: subject.kind === 'person' ? subject.id : actor,
      level:
        standing !== undefined && rankOf(standing.level) > rankOf(found.level)
          ? standing.level
          : found.level,
      score: Math.max(found.score, standing?.score ?? 0),
      finding: finding.slice(0, FINDING_LENGTH_MAX),
      indicators: counting.map(({ signs, ...indicator }) => ({
        ...indicator,
        entries: window.entries(signs, bucket),
      })),
      responses: standing?.responses ?? [],
      locked: standing?.locked ?? false,
      openedWallMs: standing?.openedWallMs ?? wallMs,
      changedWallMs: wallMs,
      closedWallMs: 0,
      closedBy: '',
      closedBecause: '',
    };
  }

  // --- Now and then -------------------------------------------------------------------------------

  #sweepLater(): void {
    const { clock, onError } = this.#parts;
    clock.after(SWEEP_EVERY_MS, () => {
      this.#sweep()
        .catch((error: unknown) => onError(error, 'threat detection'))
        .finally(() => this.#sweepLater());
    });
  }

  async #sweep(): Promise<void> {
    this.#windows.sweep(this.#bucketNow());
    await this.incidents.sweep();
    await this.#baselines.save();
  }

  // --- After a start ------------------------------------------------------------------------------

  async #replay(): Promise<void> {
    const { audit } = this.#parts;
    // Each entry counts once: what was appended before this began has passed already.
    const last = this.#observedFrom === null ? audit.lastSequence : this.#observedFrom - 1;
    const touched = new Map<string, ThreatSubject>();
    const touch = (subject: ThreatSubject) => touched.set(`${subject.kind} ${subject.id}`, subject);
    for (let next = await this.#firstOfWindow(last); next <= last; ) {
      const page = audit.read(next, REPLAY_PAGE);
      for (const entry of page) {
        if (entry.sequence > last) break;
        const settled = settledBy(entry);
        if (settled === undefined) this.#take(entry, touch);
        else this.#windows.forget(settled);
      }
      const newest = page.at(-1);
      if (newest === undefined) break;
      next = newest.sequence + 1;
      await nextTurn();
    }
    for (const subject of touched.values()) {
      const window = this.#windows.find(subject);
      if (window !== undefined) this.#evaluate(subject, window, 'unknown');
    }
  }

  /** Some entry before the window, and no more than needed: every entry from there on is looked at by its own time. */
  async #firstOfWindow(last: number): Promise<number> {
    const oldest = this.#bucketNow() - BUCKETS;
    const least = Math.max(1, last - REPLAY_MAX + 1);
    let first = last + 1;
    while (first > least) {
      first = Math.max(least, first - REPLAY_PAGE);
      const [entry] = this.#parts.audit.read(first, 1);
      if (entry !== undefined && this.#bucketOf(entry) <= oldest) break;
      await nextTurn();
    }
    return first;
  }

  // --- Time ---------------------------------------------------------------------------------------

  #bucketNow(): number {
    return Math.floor(this.#parts.clock.nowMs() / this.#bucketMs);
  }

  #bucketOf(entry: AuditEntry): number {
    return Math.floor(this.#atMs(entry) / this.#bucketMs);
  }

  /** When it was on this machine's present monotonic clock; an entry of another boot by its age on the wall clock. */
  #atMs(entry: AuditEntry): number {
    const { clock, bootId } = this.#parts;
    const nowMs = clock.nowMs();
    if (entry.bootId === bootId) return Math.min(entry.monotonicMs, nowMs);
    // A wall clock that was set back makes no entry older, nor one of the future.
    return nowMs - Math.max(0, clock.wallMs() - entry.wallMs);
  }
}

function inOrder(devices: ReadonlySet<LinearId>): readonly LinearId[] {
  return [...devices].sort((left, right) => left - right);
}

/** Whose past is settled with this entry. */
function settledBy(entry: AuditEntry): ThreatSubject | undefined {
  if (entry.event === 'ACCOUNT_UNLOCKED') return unlockedBy(entry);
  if (entry.event !== 'INCIDENT_CLOSED') return undefined;
  const { subject } = entry.details;
  if (typeof subject !== 'object' || subject === null || !('kind' in subject)) return undefined;
  return subject as unknown as ThreatSubject;
}

function unlockedBy(entry: AuditEntry): ThreatSubject | undefined {
  const { account, lockedBecause } = entry.details;
  if (typeof account !== 'string' || typeof lockedBecause !== 'string') return undefined;
  // One who unlocks what is not locked by an incident wipes nothing out.
  if (!lockedBecause.startsWith(LOCKED_BY_INCIDENT)) return undefined;
  return { kind: 'person', id: account };
}
