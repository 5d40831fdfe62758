// The unified state of every device, put together from what each track publishes with its own version.
// Invariants: nothing is awaited between taking a device's parts and settling what does not fit; a part of an older
// version or of a life that ended is ignored; listeners hear of devices that changed, and of no others.

import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { DeviceHold, HoldKind } from '#model/hold';
import type { Origin, Principal } from '#model/principal';
import type { SafetyPolicy } from '#model/safety-policy';
import type { KernelSnapshot, SecurityDeviceState, TrackSnapshot } from '#model/snapshot';
import type { KernelTrack, Track } from '#model/track';
import type { TrackName } from '#model/track-name';
import {
  type Conflict,
  type ConflictAnswer,
  type HistoryEntry,
  SyncTrigger,
  type UnifiedDeviceState,
} from '#model/unified-state';
import type { ConflictDesk } from './conflict-desk.ts';
import { type ConflictContext, staleness } from './conflicts.ts';
import type { DeviceHistory } from './device-history.ts';
import { DeviceView } from './device-view.ts';
import { UnifiedBook } from './unified-book.ts';

export interface StateSynchronizerParts {
  readonly clock: Clock;
  /** Of the board, in order of linear id. */
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly policy: Pick<SafetyPolicy, 'sync'>;
  readonly kernel: Pick<KernelTrack, 'observe' | 'snapshot'>;
  readonly interface: Pick<Track, 'snapshot'>;
  /** The security track's part of these devices, now: it lives in this process. */
  readonly security: (devices: readonly LinearId[]) => readonly SecurityDeviceState[];
  readonly trackUp: (track: TrackName) => boolean;
  readonly holds: () => readonly DeviceHold[];
  /** The stop covers the whole system. */
  readonly stopped: () => boolean;
  /** Kernel has taken the holds. */
  readonly inCharge: () => boolean;
  readonly desk: ConflictDesk;
  readonly history: DeviceHistory;
  readonly onError: (error: unknown, where: string) => void;
}

const ASK_LIMIT_MS = 2_000;
/** Events of this time make one look together; and no two such looks are closer than the spacing. */
const COALESCE_MS = 20;
const SPACING_MS = 250;
const RETIRED_LIVES_MAX = 8;

interface Noted {
  readonly trigger: SyncTrigger;
  /** Null for every device. */
  readonly devices: ReadonlySet<LinearId> | null;
}

export class StateSynchronizer {
  readonly #parts: StateSynchronizerParts;
  readonly #views = new Map<LinearId, DeviceView>();
  readonly #book: UnifiedBook;
  readonly #listeners = new Set<(states: readonly UnifiedDeviceState[]) => void>();
  #life = '';
  readonly #retired: string[] = [];
  #kernelHeardMs = Number.NEGATIVE_INFINITY;
  #interfaceHeardMs = Number.NEGATIVE_INFINITY;
  #evaluating = false;
  #noted: Noted | null = null;
  #lastLookMs = Number.NEGATIVE_INFINITY;
  #retry: { readonly atMs: number; readonly cancel: Cancel } | null = null;
  readonly #suspects = new Set<LinearId>();

  constructor(parts: StateSynchronizerParts) {
    this.#parts = parts;
    let receipts = 0;
    const counter = { next: () => ++receipts };
    for (const [id, descriptor] of parts.devices) {
      this.#views.set(id, new DeviceView(descriptor, counter));
    }
    this.#book = new UnifiedBook(parts.clock, parts.desk, parts.history);
    parts.desk.onChange(({ device }) => {
      if (!this.#evaluating) this.#evaluate([device], SyncTrigger.CONFLICT_RETRY);
    });
  }

  /** Looks once at everything, and from then on again and again. */
  start(): void {
    void this.#look([], SyncTrigger.STARTUP);
    this.#repeat();
  }

  /** Conflicts that wait for a person. */
  get openConflicts(): number {
    return this.#parts.desk.openCount;
  }

  /** Kernel published what changed. */
  takeKernel(snapshot: KernelSnapshot): void {
    const before = this.#life;
    if (!this.#takeKernel(snapshot, this.#parts.clock.nowMs())) return;
    const named = snapshot.devices.map((state) => state.device);
    const devices = before === this.#life ? named : this.#known([]);
    this.#evaluate(devices, SyncTrigger.STATE_CHANGE_EVENT);
  }

  /** Something happened: the tracks are asked again soon, about these devices; none named means all. */
  note(trigger: SyncTrigger, devices: readonly LinearId[] = []): void {
    const before = this.#noted;
    const every = devices.length === 0 || before?.devices === null;
    this.#noted = {
      trigger: before === null ? trigger : weightier(before.trigger, trigger),
      devices: every ? null : new Set([...(before?.devices ?? []), ...devices]),
    };
    if (before !== null) return;
    const spacingMs = this.#lastLookMs + SPACING_MS - this.#parts.clock.nowMs();
    this.#parts.clock.after(Math.max(COALESCE_MS, spacingMs), () => this.#lookAtNoted());
  }

  /** A track went away or came back; what that says about the devices counts at once. */
  trackChanged(track: TrackName, state: 'up' | 'away'): void {
    if (state === 'up' && track === 'interface') {
      for (const view of this.#views.values()) view.forgetInterface();
      this.#publish(this.states());
    }
    this.#evaluate([...this.#views.keys()], SyncTrigger.STATE_CHANGE_EVENT);
    this.note(state === 'up' ? SyncTrigger.RECOVERY : SyncTrigger.STATE_CHANGE_EVENT);
  }

  /** Asks the tracks, kernel on the metal itself when a person wants it, and answers with what came of it. */
  async synchronize(
    devices: readonly LinearId[],
    trigger: SyncTrigger,
    deadline: Deadline,
  ): Promise<Outcome<readonly UnifiedDeviceState[]>> {
    const wanted = this.#known(devices);
    if (wanted.length > 0) await this.#collect(wanted, trigger, deadline);
    return succeed(wanted.flatMap((id) => this.#stateOf(id) ?? []));
  }

  /** Before somebody is told that these devices changed: whoever asks after that sees it, wherever they ask. */
  async show(devices: readonly LinearId[]): Promise<void> {
    await this.#look(devices, SyncTrigger.STATE_CHANGE_EVENT);
  }

  states(): readonly UnifiedDeviceState[] {
    return [...this.#views.keys()].flatMap((id) => this.#stateOf(id) ?? []);
  }

  conflicts(): readonly Conflict[] {
    return this.#parts.desk.conflicts();
  }

  resolve(
    principal: Principal,
    conflictId: number,
    answer: ConflictAnswer,
    reason: string,
    origin: Origin | null = null,
  ): Promise<Outcome<Conflict>> {
    return this.#parts.desk.resolve(principal, conflictId, answer, reason, origin);
  }

  /** Newest first. */
  history(device: LinearId, limit: number): readonly HistoryEntry[] {
    return this.#parts.history.of(device, limit);
  }

  onChange(listen: (states: readonly UnifiedDeviceState[]) => void): () => void {
    this.#listeners.add(listen);
    return () => this.#listeners.delete(listen);
  }

  // --- Asking ------------------------------------------------------------------------------------

  #repeat(): void {
    const { clock, policy } = this.#parts;
    clock.after(policy.sync.periodMs, () => {
      void this.#look([], SyncTrigger.PERIODIC).finally(() => this.#repeat());
    });
  }

  #lookAtNoted(): void {
    const noted = this.#noted;
    this.#noted = null;
    if (noted === null) return;
    void this.#look(noted.devices === null ? [] : [...noted.devices], noted.trigger);
  }

  async #look(devices: readonly LinearId[], trigger: SyncTrigger): Promise<void> {
    const { clock, onError } = this.#parts;
    this.#lastLookMs = clock.nowMs();
    try {
      await this.#collect(this.#known(devices), trigger, Deadline.after(clock, ASK_LIMIT_MS));
    } catch (error) {
      onError(error, 'state synchronization');
    }
  }

  async #collect(
    devices: readonly LinearId[],
    trigger: SyncTrigger,
    deadline: Deadline,
  ): Promise<void> {
    const { kernel, interface: panels, trackUp } = this.#parts;
    const askedMs = this.#parts.clock.nowMs();
    const every = devices.length === this.#views.size;
    const some = every ? undefined : devices;
    // After an operation kernel publishes by itself.
    const askKernel = trackUp('kernel') && trigger !== SyncTrigger.OPERATION_COMPLETED;
    const observes = trigger === SyncTrigger.MANUAL;
    const [fromKernel, fromPanels] = await Promise.all([
      !askKernel
        ? null
        : observes
          ? kernel.observe(every ? [] : devices, deadline)
          : kernel.snapshot(deadline.within(ASK_LIMIT_MS), some),
      trackUp('interface') ? panels.snapshot(deadline.within(ASK_LIMIT_MS), some) : null,
    ]);
    if (fromKernel?.ok === true && isKernel(fromKernel.value)) {
      this.#takeKernel(fromKernel.value, askedMs);
    }
    if (fromPanels?.ok === true && fromPanels.value.track === 'interface') {
      this.#interfaceHeardMs = Math.max(this.#interfaceHeardMs, askedMs);
      for (const state of fromPanels.value.devices) {
        this.#views.get(state.device)?.takeInterface(state, askedMs);
      }
    }
    this.#evaluate(devices, trigger);
  }

  // --- Merging and judging -----------------------------------------------------------------------

  /** False for the word of a kernel process that has ended. */
  #takeKernel(snapshot: KernelSnapshot, lookMs: number): boolean {
    const { life } = snapshot;
    if (this.#retired.includes(life)) return false;
    if (life !== this.#life) {
      if (this.#life !== '') this.#retired.push(this.#life);
      if (this.#retired.length > RETIRED_LIVES_MAX) this.#retired.shift();
      for (const view of this.#views.values()) view.forgetKernel();
      this.#life = life;
    }
    this.#kernelHeardMs = Math.max(this.#kernelHeardMs, lookMs);
    for (const state of snapshot.devices) this.#views.get(state.device)?.takeKernel(state, lookMs);
    return true;
  }

  #evaluate(devices: readonly LinearId[], trigger: SyncTrigger): void {
    this.#evaluating = true;
    try {
      for (const state of this.#parts.security(devices)) {
        this.#views.get(state.device)?.takeSecurity(state);
      }
      const surroundings = this.#surroundings();
      const changed: UnifiedDeviceState[] = [];
      for (const device of devices) {
        const view = this.#views.get(device);
        if (view === undefined) continue;
        const context = contextOf(view, surroundings);
        // What kernel never said anything about cannot contradict anybody.
        if (this.#life !== '') this.#judge(view, context);
        const staleTracks = this.#staleTracks(view, context);
        const state = this.#book.update(view, context.stopCovers, staleTracks, trigger);
        if (state !== undefined) changed.push(state);
      }
      this.#publish(changed);
    } finally {
      this.#evaluating = false;
    }
  }

  #judge(view: DeviceView, context: ConflictContext): void {
    const { desk } = this.#parts;
    const { id } = view.descriptor;
    const { ripe, gone, lookAgainMs } = view.judge(context);
    for (const rule of gone) desk.gone(rule, id);
    for (const disagreement of ripe) {
      const claims = disagreement.positions.map((position) => ({
        ...position,
        valid: !this.#staleTracks(view, context).includes(position.track),
        order: view.orderOf(position.track),
      }));
      desk.consider({ device: id, disagreement, claims, changeCount: view.kernel.changeCount });
    }
    if (lookAgainMs === Number.POSITIVE_INFINITY) return;
    this.#suspects.add(id);
    this.#retryAt(lookAgainMs);
  }

  #retryAt(atMs: number): void {
    if (this.#retry !== null && this.#retry.atMs <= atMs) return;
    this.#retry?.cancel();
    const cancel = this.#parts.clock.after(Math.max(0, atMs - this.#parts.clock.nowMs()), () => {
      this.#retry = null;
      const suspects = [...this.#suspects];
      this.#suspects.clear();
      if (suspects.length > 0) void this.#look(suspects, SyncTrigger.CONFLICT_RETRY);
    });
    this.#retry = { atMs, cancel };
  }

  #surroundings(): Surroundings {
    const { clock, policy, trackUp, holds, stopped, inCharge } = this.#parts;
    const held = new Map<LinearId, HoldKind[]>();
    for (const { device, kind } of holds()) {
      const kinds = held.get(device);
      if (kinds === undefined) held.set(device, [kind]);
      else kinds.push(kind);
    }
    return {
      nowMs: clock.nowMs(),
      held,
      stopped: stopped(),
      staleAfterMs: policy.sync.staleAfterMs,
      kernelUp: trackUp('kernel'),
      kernelHeardMs: this.#kernelHeardMs,
      inCharge: inCharge(),
      interfaceUp: trackUp('interface'),
    };
  }

  #staleTracks(view: DeviceView, context: ConflictContext): readonly TrackName[] {
    const stale: TrackName[] = [];
    if (staleness(view.kernel, context) !== undefined) stale.push('kernel');
    const silentMs = context.nowMs - this.#interfaceHeardMs;
    if (!context.interfaceUp || !view.interfaceSeen || silentMs > context.staleAfterMs) {
      stale.push('interface');
    }
    return stale;
  }

  #stateOf(device: LinearId): UnifiedDeviceState | undefined {
    const view = this.#views.get(device);
    return view === undefined ? undefined : this.#book.stateOf(view);
  }

  #known(devices: readonly LinearId[]): readonly LinearId[] {
    if (devices.length === 0) return [...this.#views.keys()];
    return devices.filter((device) => this.#views.has(device));
  }

  #publish(states: readonly UnifiedDeviceState[]): void {
    if (states.length === 0) return;
    for (const listen of this.#listeners) {
      try {
        listen(states);
      } catch (error) {
        this.#parts.onError(error, 'unified state listener');
      }
    }
  }
}

interface Surroundings extends Omit<ConflictContext, 'stopCovers' | 'expectedHolds' | 'canRest'> {
  readonly held: ReadonlyMap<LinearId, readonly HoldKind[]>;
  readonly stopped: boolean;
}

const NO_HOLDS: readonly HoldKind[] = [];

function contextOf(view: DeviceView, surroundings: Surroundings): ConflictContext {
  const { held, stopped, ...common } = surroundings;
  const expectedHolds = held.get(view.descriptor.id) ?? NO_HOLDS;
  const stopCovers = stopped || expectedHolds.includes('stopped');
  return { ...common, expectedHolds, stopCovers, canRest: view.canRest };
}

function isKernel(snapshot: TrackSnapshot): snapshot is KernelSnapshot {
  return snapshot.track === 'kernel';
}

const WEIGHT: readonly SyncTrigger[] = [
  SyncTrigger.EMERGENCY,
  SyncTrigger.RECOVERY,
  SyncTrigger.MANUAL,
  SyncTrigger.STARTUP,
  SyncTrigger.STATE_CHANGE_EVENT,
  SyncTrigger.CONFLICT_RETRY,
  SyncTrigger.PERIODIC,
  SyncTrigger.OPERATION_COMPLETED,
];

/** The reason for a look that stands for several; only the last of the list leaves kernel unasked. */
function weightier(left: SyncTrigger, right: SyncTrigger): SyncTrigger {
  return WEIGHT.indexOf(left) <= WEIGHT.indexOf(right) ? left : right;
}
