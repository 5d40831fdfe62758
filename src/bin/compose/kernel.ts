// Builds the kernel track around a given link, latch, clock and buses: queues, polling, trips, supervision.
// The kernel process and the simulation build the same thing here; only what they hand in differs.
// Invariants: writes only what security signed, and nothing before security has taken charge; silence means stop.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { type Link, MessageType, type PeerState } from '#link/link';
import { serveKernelTrack } from '#link/track-server';
import type { Board, BusDescription } from '#model/board';
import type { RegisterBus } from '#model/bus';
import { type DeviceDescriptor, permanentlyQuarantined } from '#model/device';
import type { Driver } from '#model/driver';
import { EmergencyPriority, type StopCause, type StopLatch, type StopReceipt } from '#model/stop';
import { BusQueue } from '#tracks/kernel/bus-queue';
import { DeviceAccess } from '#tracks/kernel/device-access';
import { Interlock, type QuarantineMemory } from '#tracks/kernel/interlock';
import { StopInputs } from '#tracks/kernel/stop-inputs';
import { KernelDeviceTrack } from '#tracks/kernel/track';
import { KernelConsole } from '../console/kernel-console.ts';

const QUEUE_LIMITS = { waitingMax: 256, failuresMax: 3, coolDownMs: 2_000 } as const;
/** Within what security waits for the receipt of a stop. */
const SAFE_STATE_BUDGET_MS = 4_500;
/** Security may restart within this time without a stop; until it is back nothing is written. */
const SECURITY_SILENCE_MS_MAX = 2_000;
const OBSERVE_PERIOD_MS = 1_000;
const OBSERVE_LIMIT_MS = 800;
const REOPEN_PERIOD_MS = 1_000;
/** Between two calls for security to take charge. */
const CALL_PERIOD_MS = 500;
const UNREPORTED_MAX = 32;
/** Until security has accesses at the console on record. */
const RECORD_LIMIT_MS = 5_000;

export interface KernelLog {
  info(detail: object, message: string): void;
  warn(detail: object, message: string): void;
  error(detail: object, message: string): void;
}

export interface KernelParts {
  readonly board: Board;
  readonly clock: Clock;
  readonly latch: StopLatch;
  readonly link: Link;
  readonly openBus: (
    description: BusDescription,
    devices: readonly DeviceDescriptor[],
  ) => RegisterBus;
  readonly createDriver: (device: DeviceDescriptor) => Driver;
  readonly quarantine: QuarantineMemory;
  /** Security took charge for the first time in this life, or buses were opened: what can be touched, or where, is new. */
  readonly onReach?: (change: 'supervised' | 'buses') => void;
  /** A loop of this object came round. */
  readonly onTurn?: (loop: 'open' | 'observe') => void;
  readonly onStopTested?: (ok: boolean, periodMs: number | undefined) => void;
  /** Of this process, random. */
  readonly life: string;
  readonly log: KernelLog;
}

export class ComposedKernel {
  readonly track: KernelDeviceTrack;
  readonly interlock: Interlock;
  readonly queues: ReadonlyMap<string, BusQueue>;
  readonly access: DeviceAccess;
  readonly devices: readonly DeviceDescriptor[];
  /** For whoever is at kernel's own door; the kernel process opens it. */
  readonly console: KernelConsole;
  readonly #parts: KernelParts;
  readonly #stopInputs: StopInputs;
  /** Stops that security has not been told of: it may be the reason for them. */
  readonly #unreported: { readonly cause: StopCause | null; readonly receipt: StopReceipt }[] = [];
  #tripping = false;
  #reportingAccesses = false;
  #published = false;
  #silence: Cancel | null = null;
  #sawSecurity = false;
  #ended = false;

  constructor(parts: KernelParts) {
    const { board, clock, latch, link } = parts;
    this.#parts = parts;
    this.interlock = new Interlock(latch, parts.quarantine);
    this.interlock.hold('security has not taken charge yet');
    this.devices = board.devices.filter(
      (device) => !device.quarantined && !permanentlyQuarantined(device.id),
    );
    const known = new Set(this.devices.map((device) => device.id));
    this.queues = new Map(
      board.buses.map((description) => {
        const onBus = this.devices.filter((device) => device.busId === description.id);
        const queue = new BusQueue({
          bus: parts.openBus(description, onBus),
          clock,
          limits: { ...QUEUE_LIMITS, accessTimeoutMs: description.accessTimeoutMs },
          isQuarantined: (id) =>
            permanentlyQuarantined(id) || !known.has(id) || this.interlock.has(id, 'quarantined'),
          isStopped: (id) => this.interlock.withheld(id),
        });
        return [description.id, queue];
      }),
    );
    const access = new DeviceAccess(board.devices, this.queues);
    this.access = access;
    this.#stopInputs = new StopInputs({
      inputs: board.stopInputs ?? [],
      access,
      clock,
      trip: (reason) => this.trip(reason),
      stopEngaged: () => latch.engaged(),
    });
    this.track = new KernelDeviceTrack({
      access,
      stopInputs: this.#stopInputs,
      drivers: new Map(this.devices.map((device) => [device.id, parts.createDriver(device)])),
      latch,
      interlock: this.interlock,
      clock,
      life: parts.life,
      safeStateBudgetMs: SAFE_STATE_BUDGET_MS,
      // Panels need not wait for the next round of looks.
      onSupervised: () => {
        parts.onReach?.('supervised');
        setImmediate(() => void this.#observe());
      },
      ...(parts.onStopTested === undefined ? {} : { onStopTested: parts.onStopTested }),
      onStopped: (cause, receipt) => {
        parts.log.warn({ cause, receipt }, 'devices driven to their safe values');
        this.#unreported.push({ cause, receipt });
        this.#reportStops();
        this.publish();
      },
    });
    this.console = new KernelConsole({
      clock,
      track: this.track,
      access,
      interlock: this.interlock,
      life: parts.life,
      supervised: () => link.peerState === 'up',
    });
    serveKernelTrack(link, this.track);
    link.onPeer((state) => this.#onSecurity(state));
    if (link.peerState === 'up') this.#onSecurity('up');
    this.#call();
  }

  /** Opens the buses, looks at every device once, and goes on doing both. */
  async start(): Promise<void> {
    await this.#openBuses();
    if (!this.#ended) this.#stopInputs.start();
    void this.#repeat('open', REOPEN_PERIOD_MS, () => this.#openBuses());
    void this.#repeat('observe', OBSERVE_PERIOD_MS, () => this.#observe());
  }

  observeNow(): Promise<void> {
    return this.#observe();
  }

  /** Devices to their safe values, buses closed; nothing is written after it. */
  async end(): Promise<void> {
    this.interlock.hold('kernel is ending');
    const { safe, unsafe, durationMs } = await this.track.endSafely();
    this.halt();
    this.#parts.log.info(
      { safe: safe.length, unsafe, durationMs },
      'devices driven to their safe values, ending',
    );
    for (const queue of this.queues.values()) await queue.bus.close();
  }

  /** No loop of this object does anything any more. */
  halt(): void {
    this.#ended = true;
    this.#silence?.();
    this.#stopInputs.halt();
  }

  /** Stops by itself; a peer that sends nothing but garbage is one reason to stop, not one for each frame. */
  trip(reason: string): void {
    if (this.#tripping || this.#ended) return;
    this.#tripping = true;
    const cause: StopCause = {
      id: 0,
      devices: [],
      source: 'kernel',
      reason,
      priority: EmergencyPriority.IMMEDIATE,
      triggeredBy: 'kernel',
      wallMs: this.#parts.clock.wallMs(),
    };
    this.#parts.log.error({ reason }, 'stopping by itself');
    void this.track.stop({ cause }).finally(() => {
      this.#tripping = false;
    });
  }

  /** Also without a change: its arrival tells panels that their picture is fresh. */
  publish(): void {
    const { memory } = this.track;
    const snapshot = this.#published ? memory.changes() : memory.whole();
    // What could not be sent counts as changed: the next picture is a whole one.
    this.#published = this.#parts.link.notify(MessageType.STATE_SYNC, 'snapshot', snapshot).ok;
  }

  #reportStops(): void {
    const { link } = this.#parts;
    for (let next = this.#unreported[0]; next !== undefined; next = this.#unreported[0]) {
      if (!link.notify(MessageType.EMERGENCY_STOP, 'stopped', next).ok) break;
      this.#unreported.shift();
    }
    // The first says why, the last what became of the devices.
    const over = this.#unreported.length - UNREPORTED_MAX;
    if (over > 0) this.#unreported.splice(1, over);
  }

  /** Until each is on record: what was done without supervision is told as often as it takes. */
  async #reportAccesses(): Promise<void> {
    const { clock, link } = this.#parts;
    const report = this.console.report();
    if (report === null || this.#reportingAccesses || link.peerState !== 'up') return;
    this.#reportingAccesses = true;
    const deadline = Deadline.after(clock, RECORD_LIMIT_MS);
    const kept = await link.request(MessageType.EVENT, 'unsupervised', report, deadline);
    this.#reportingAccesses = false;
    if (kept.ok) this.console.reported(report);
  }

  #onSecurity(state: PeerState): void {
    const { clock, log } = this.#parts;
    if (this.#ended) return;
    if (state === 'up') {
      this.#silence?.();
      this.#silence = null;
      this.#sawSecurity = true;
      // Also where nobody saw it go, or a late order of its last life let writes go on: it has to take charge anew.
      this.interlock.hold('security has not taken charge since it came up');
      log.info({}, 'security answers');
      this.#reportStops();
      void this.#reportAccesses();
      this.#published = false;
      this.publish();
      this.#callOnce();
      return;
    }
    this.interlock.hold(`security is ${state}`);
    log.warn({ security: state }, 'writes are on hold');
    // Before the first contact there is nothing running that silence could endanger.
    if (!this.#sawSecurity || this.#silence !== null) return;
    this.#silence = clock.after(SECURITY_SILENCE_MS_MAX, () =>
      this.trip(`security was ${state} for ${SECURITY_SILENCE_MS_MAX} ms`),
    );
  }

  /** Writes stay on hold until security has settled what was open and handed over the holds. */
  #callOnce(): void {
    if (this.interlock.holdReason === null || this.#parts.link.peerState !== 'up') return;
    this.#parts.link.notify(MessageType.HEALTH, 'waiting', {});
  }

  #call(): void {
    this.#parts.clock.after(CALL_PERIOD_MS, () => {
      if (this.#ended) return;
      this.#callOnce();
      void this.#reportAccesses();
      this.#call();
    });
  }

  async #openBuses(): Promise<void> {
    const { clock, log } = this.#parts;
    const limit = Deadline.after(clock, OBSERVE_LIMIT_MS);
    const opened: string[] = [];
    await Promise.all(
      [...this.queues.values()].map(async (queue) => {
        if (queue.state().open) return;
        const tried = await queue.open(limit);
        if (tried.ok) opened.push(queue.bus.id);
        else log.warn({ bus: queue.bus.id, fault: tried.fault }, 'bus not open');
      }),
    );
    // The stop may be older than this process, or have come while the bus was away.
    if (opened.length === 0) return;
    await this.track.busesOpened(opened);
    this.#parts.onReach?.('buses');
  }

  async #observe(): Promise<void> {
    const { clock } = this.#parts;
    // After a reboot nobody but security knows which devices must not even be looked at.
    if (!this.track.supervised) return;
    // Devices of one bus in turn, buses side by side: a slow line delays only itself.
    await Promise.all(
      [...this.queues.keys()].map(async (busId) => {
        for (const device of this.devices) {
          if (device.busId !== busId || this.#ended) continue;
          await this.track.memory.observe(device.id, Deadline.after(clock, OBSERVE_LIMIT_MS));
          // Mapped memory answers without leaving this turn of the loop: sixty devices in a row would hold up the stop.
          await nextTurn();
        }
      }),
    );
    if (!this.#ended) this.publish();
  }

  async #repeat(
    loop: 'open' | 'observe',
    periodMs: number,
    action: () => Promise<void>,
  ): Promise<void> {
    for (;;) {
      await this.#parts.clock.sleep(periodMs);
      if (this.#ended) return;
      await action();
      this.#parts.onTurn?.(loop);
    }
  }
}
