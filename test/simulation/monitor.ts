// Watches a simulated run and says what must not have happened: judges by the devices' own write log, not by the agent.
// Invariants: a disturbance made by the simulation itself (a value changed behind the agent's back, a stuck bit) is never
// held against the agent.

import type { SimulatedHardware } from '#drivers/bus/simulated/hardware';
import type { SeenWrite } from '#drivers/bus/simulated/write-log';
import type { VirtualClock } from '#foundation/clock';
import { describeError } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import type { Message } from '#link/message';
import type { Authorization } from '#model/authorization';
import type { Cell } from '#model/bus';
import type { DeviceDescriptor, LinearId } from '#model/device';
import type { DeviceHold } from '#model/hold';
import type { RegisterPlan } from '#model/plan';
import { formatWord, type Word } from '#model/register';
import type { StopOrder, StopReceipt } from '#model/stop';
import type {
  CommitReceipt,
  CommitRequest,
  LiftRequest,
  PrepareRequest,
  PrepareVote,
} from '#model/track';
import type { TrackName } from '#model/track-name';
import type { RecoveryRequest } from '#model/transaction';
import type { Bench, BenchWatch, KernelCall } from '../../src/bin/bench/agent.ts';
import type { FlushMoment } from '../../src/bin/bench/life.ts';
import { type Handed, Ledger, type OperationTrack } from './ledger.ts';
import type { Trace } from './trace.ts';
import type { Invariant, Violation } from './violation.ts';

/** From the stop to the safe values of every device that can be reached, virtual milliseconds. */
export const SAFE_WITHIN_MS = 500;
/** A fault of a bus counts for so long after its end: circuits cool down, buses are opened again. */
const FAULT_AFTERMATH_MS = 4_500;
const VIOLATIONS_MAX = 5;

/** Findings that a track may report of itself while others are dead or parted. */
const EXPECTED_ERRORS: readonly RegExp[] = [
  /is (lost|absent|silent)/,
  /(died|closed the link|restarted) while/,
  /its time was over/,
  /no answer (came )?(within|before)/,
  /deadline/i,
  /disk is full|could not be made durable/,
];

export interface MonitorHooks {
  /** May kill a track at exactly this moment. */
  onSent(from: TrackName, message: Message): void;
  onReceived(to: TrackName, message: Message): void;
  onFlush(moment: FlushMoment): void;
  onMetalWrite(moment: 'before' | 'after'): void;
}

export class Monitor implements BenchWatch {
  readonly ledger: Ledger;
  readonly violations: Violation[] = [];
  readonly counts = new Map<string, number>();
  readonly latch: BenchWatch['latch'];
  hooks: MonitorHooks | null = null;
  bench: Bench | null = null;
  /** Devices under a stop of their own, as kernel has taken it. */
  readonly stopped = new Set<LinearId>();
  /** Of those, the ones that a person was told of. */
  readonly acknowledgedStops = new Set<LinearId>();
  readonly acknowledgedQuarantine = new Set<LinearId>();
  readonly #clock: VirtualClock;
  readonly #hardware: SimulatedHardware;
  readonly #trace: Trace;
  readonly #handed = new Map<string, Handed>();
  readonly #quarantined = new Set<LinearId>();
  /** By `device.register`. */
  readonly #disturbedMs = new Map<string, number>();
  readonly #stuckUntilMs = new Map<string, number>();
  readonly #busFaultUntilMs = new Map<string, number>();
  #kernelSinceMs = Number.POSITIVE_INFINITY;
  #engagedSinceMs: number | null = null;
  #releasing = 0;

  constructor(clock: VirtualClock, hardware: SimulatedHardware, trace: Trace) {
    this.#clock = clock;
    this.#hardware = hardware;
    this.#trace = trace;
    this.ledger = new Ledger(hardware);
    this.latch = {
      engaged: (by) => {
        this.count('latch engaged');
        this.#trace.add('latch', `engaged by ${by}`);
        if (this.#engagedSinceMs === null) this.#stopBegins();
      },
      latched: () => this.#trace.add('latch', 'latched'),
      released: () => {
        this.count('stop released');
        this.#trace.add('latch', 'released');
        this.#engagedSinceMs = null;
        if (this.#releasing === 0) this.violate('I1', 'the latch was released without an order');
      },
    };
    hardware.log.listen((write) => this.#onMetal(write));
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  violate(invariant: Invariant, finding: string): void {
    this.#trace.add('VIOLATION', `${invariant} ${finding}`);
    if (this.violations.length >= VIOLATIONS_MAX) return;
    this.violations.push({ invariant, atMs: this.#clock.nowMs(), finding });
  }

  // --- What the simulation does to the world -------------------------------------------------------

  kernelStarted(): void {
    this.#kernelSinceMs = this.#clock.nowMs();
    if (this.bench?.latch.engaged === true) this.#expectSafe('the start of kernel');
  }

  kernelDied(): void {
    this.#kernelSinceMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.nowMs();
    for (const operation of this.ledger.openOperations()) {
      this.ledger.closes(operation, this.#covered(operation), nowMs);
    }
    this.#quarantined.clear();
    // What nobody was told of may be forgotten with kernel; what was acknowledged may not.
    for (const device of this.stopped) {
      if (!this.acknowledgedStops.has(device)) this.stopped.delete(device);
    }
  }

  stopAcknowledged(devices: readonly LinearId[]): void {
    for (const device of devices) if (this.stopped.has(device)) this.acknowledgedStops.add(device);
  }

  /** The content of a register was changed behind the agent's back. */
  disturbed(device: LinearId, register: string): void {
    this.#disturbedMs.set(`${device}.${register}`, this.#clock.nowMs());
  }

  /** A person was told that the device is quarantined. */
  quarantineAcknowledged(device: LinearId): void {
    this.acknowledgedQuarantine.add(device);
  }

  disturbedSince(device: LinearId, register: string, sinceMs: number): boolean {
    return (this.#disturbedMs.get(`${device}.${register}`) ?? -1) >= sinceMs;
  }

  /** A register of the device is stuck: what it shows is not what was written. */
  stuck(device: LinearId, register: string, durationMs: number): void {
    const key = `${device}.${register}`;
    const untilMs = this.#clock.nowMs() + durationMs;
    this.#stuckUntilMs.set(key, Math.max(untilMs, this.#stuckUntilMs.get(key) ?? 0));
  }

  busFault(busId: string, durationMs: number): void {
    const untilMs = this.#clock.nowMs() + durationMs + FAULT_AFTERMATH_MS;
    this.#busFaultUntilMs.set(busId, Math.max(untilMs, this.#busFaultUntilMs.get(busId) ?? 0));
  }

  // --- Buses ---------------------------------------------------------------------------------------

  reading(_bus: string, cell: Cell): void {
    this.#checkQuarantine(cell, 'read');
  }

  hasRead(_bus: string, cell: Cell, word: Word): void {
    const register = registerOfCell(cell);
    this.ledger.hasRead(cell.device, register, word);
  }

  writing(bus: string, cell: Cell, word: Word): { readonly ended: () => void } {
    this.#checkQuarantine(cell, 'written');
    const register = registerOfCell(cell);
    const model = this.#hardware.models.get(cell.device);
    const handed: Handed = {
      device: cell.device,
      register,
      word,
      before: model?.peek(register) ?? 0n,
      atMs: this.#clock.nowMs(),
      stopped: this.bench?.latch.engaged === true || this.stopped.has(cell.device),
      operation: this.ledger.on(cell.device),
    };
    this.#handed.set(bus, handed);
    this.hooks?.onMetalWrite('before');
    return {
      ended: () => {
        if (this.#handed.get(bus) === handed) this.#handed.delete(bus);
        this.hooks?.onMetalWrite('after');
      },
    };
  }

  #onMetal(write: SeenWrite): void {
    const model = this.#hardware.find(write.device);
    if (model === undefined) return;
    const { device } = model;
    const handed = this.#handed.get(device.busId);
    const width = device.registers.find((one) => one.spec.name === write.register)?.spec.widthBits;
    const shown = `${write.device}.${write.register} ${formatWord(write.value, width ?? 64)}`;
    if (
      handed === undefined ||
      handed.device !== device.id ||
      handed.register !== write.register ||
      handed.word !== write.value
    ) {
      this.violate('I2', `${shown} was written and no bus was asked for it`);
      return;
    }
    const kind = this.ledger.explain(handed);
    const whose = handed.operation === null ? '' : ` (${handed.operation.operationId})`;
    this.count(`write ${kind ?? 'unexplained'}`);
    this.#trace.add('metal', `${shown} ${kind ?? 'UNEXPLAINED'}${whose}`);
    if (kind !== null) return;
    if (handed.stopped) this.violate('I1', `${shown} was written to a stopped device${whose}`);
    else this.violate('I2', `${shown} is no step, no rollback and no safe value${whose}`);
  }

  #checkQuarantine(cell: Cell, what: string): void {
    const model = this.#hardware.models.get(cell.device);
    // A kernel that starts has to be told of it first: its holds lie with security.
    if (this.acknowledgedQuarantine.has(cell.device) && !this.#quarantined.has(cell.device))
      this.count('quarantined device touched by a kernel that was not told yet');
    if (model?.device.quarantined !== true && !this.#quarantined.has(cell.device)) return;
    this.violate('I6', `${cell.place} was ${what} although the device is quarantined`);
  }

  // --- Kernel's requests ---------------------------------------------------------------------------

  granted(authorization: Authorization): void {
    this.ledger.granted(authorization);
  }

  kernelAsked(call: KernelCall): void {
    const nowMs = this.#clock.nowMs();
    switch (call.method) {
      case 'track.prepare': {
        const { operationId, planDigest } = call.body as PrepareRequest;
        this.ledger.preparing(operationId, planDigest, nowMs);
        break;
      }
      case 'track.commit': {
        const { operationId, planDigest, authorization } = call.body as CommitRequest;
        this.#begin(operationId, planDigest, 'commit', authorization);
        break;
      }
      case 'track.recover': {
        const request = call.body as RecoveryRequest;
        const wrong = this.ledger.planned(request.plan);
        if (wrong !== null) this.violate('I2', wrong);
        const operation = this.#begin(
          request.operationId,
          request.plan.digest,
          'recover',
          request.authorization,
        );
        operation?.recoveryPriors.push(...request.priors);
        break;
      }
      case 'track.stop': {
        const { devices } = (call.body as StopOrder).cause;
        for (const device of devices) this.stopped.add(device);
        break;
      }
      case 'track.release-stop':
        this.#releasing += 1;
        break;
    }
  }

  kernelAnswered(call: KernelCall, outcome: Outcome<unknown>): void {
    switch (call.method) {
      case 'track.plan':
        if (outcome.ok) {
          const wrong = this.ledger.planned(outcome.value as RegisterPlan);
          if (wrong !== null) this.violate('I2', wrong);
        }
        break;
      case 'track.prepare':
        this.#prepared(call.body as PrepareRequest, outcome as Outcome<PrepareVote>);
        break;
      case 'track.commit':
      case 'track.recover':
        this.#ended(call, outcome as Outcome<CommitReceipt>);
        break;
      case 'track.stop':
        if (outcome.ok) this.#checkReceipt(outcome.value as StopReceipt);
        break;
      case 'track.supervise':
        if (outcome.ok) this.#supervised(outcome.value as readonly DeviceHold[]);
        break;
      case 'track.lift':
        if (outcome.ok && (call.body as LiftRequest).kind === 'quarantined') {
          this.#quarantined.delete((call.body as LiftRequest).device);
          this.acknowledgedQuarantine.delete((call.body as LiftRequest).device);
        }
        break;
      case 'track.release-stop':
        this.#releasing -= 1;
        if (!outcome.ok) break;
        this.#trace.add('kernel', 'released the stop');
        this.stopped.clear();
        this.acknowledgedStops.clear();
        break;
    }
  }

  #begin(
    operationId: string,
    digest: string,
    window: 'commit' | 'recover',
    authorization: Authorization,
  ): OperationTrack | null {
    const nowMs = this.#clock.nowMs();
    const operation = this.ledger.preparing(operationId, digest, nowMs);
    this.#trace.add('kernel', `${window} ${operationId}`);
    if (operation === null) return null;
    // Kernel has to refuse it; what it writes nevertheless is explained by nothing.
    const wrong = this.ledger.opens(operation, window, authorization, nowMs);
    if (wrong !== null) this.#trace.add('kernel', `${operationId}: ${wrong}`);
    return operation;
  }

  #prepared(request: PrepareRequest, outcome: Outcome<PrepareVote>): void {
    const operation = this.ledger.operations.get(request.operationId);
    if (!outcome.ok || operation === undefined) return;
    for (const { device, register, value } of outcome.value.priors) {
      if (value === undefined) continue;
      const words = operation.reads.get(`${device}.${register}`) ?? new Set();
      operation.reads.set(`${device}.${register}`, words.add(value));
    }
  }

  #ended(call: KernelCall, outcome: Outcome<CommitReceipt>): void {
    const { operationId } = call.body as CommitRequest;
    const operation = this.ledger.operations.get(operationId);
    const effect = outcome.ok ? outcome.value.effect : `refused ${outcome.fault.code}`;
    this.#trace.add('kernel', `${call.method} ${operationId}: ${effect}`);
    if (call.method === 'track.recover') this.count(`recovered ${effect}`);
    if (operation === undefined) return;
    this.ledger.closes(operation, this.#covered(operation), this.#clock.nowMs());
  }

  #supervised(holds: readonly DeviceHold[]): void {
    this.#quarantined.clear();
    for (const hold of holds) if (hold.kind === 'quarantined') this.#quarantined.add(hold.device);
  }

  /** Devices of the operation that a stop or a hold of kernel covers now. */
  #covered(operation: OperationTrack): ReadonlySet<LinearId> {
    const devices = operation.plan.steps.map((step) => step.device);
    const whole = this.bench?.latch.engaged === true;
    const interlock = this.bench?.kernel?.interlock;
    return new Set(
      devices.filter(
        (device) =>
          whole || this.stopped.has(device) || interlock?.has(device, 'in-doubt') === true,
      ),
    );
  }

  // --- Stops ---------------------------------------------------------------------------------------

  #stopBegins(): void {
    this.#engagedSinceMs = this.#clock.nowMs();
    this.#expectSafe('the stop');
  }

  #expectSafe(what: string): void {
    const beganMs = this.#clock.nowMs();
    const kernelSinceMs = this.#kernelSinceMs;
    if (kernelSinceMs > beganMs) return;
    const engagedSinceMs = this.#engagedSinceMs;
    this.#clock.after(SAFE_WITHIN_MS, () => {
      const undisturbed =
        this.#kernelSinceMs === kernelSinceMs && this.#engagedSinceMs === engagedSinceMs;
      if (!undisturbed || this.bench?.latch.engaged !== true) return;
      for (const { device } of this.#hardware.models.values()) {
        if (device.quarantined || this.#quarantined.has(device.id)) continue;
        if ((this.#busFaultUntilMs.get(device.busId) ?? 0) >= beganMs) continue;
        this.#checkSafe(device, `${SAFE_WITHIN_MS} ms after ${what}`, beganMs);
      }
      this.count('stop seen safe');
    });
  }

  #checkReceipt(receipt: StopReceipt): void {
    for (const id of receipt.safe) {
      const model = this.#hardware.models.get(id);
      if (model !== undefined) {
        const sinceMs = this.#clock.nowMs() - receipt.durationMs - FAULT_AFTERMATH_MS;
        this.#checkSafe(model.device, 'when the receipt said so', sinceMs);
      }
    }
  }

  #checkSafe(device: DeviceDescriptor, when: string, sinceMs: number): void {
    const model = this.#hardware.models.get(device.id);
    for (const { spec } of device.registers) {
      if (spec.safeValue === null || model === undefined) continue;
      if (this.disturbedSince(device.id, spec.name, sinceMs)) continue;
      if ((this.#stuckUntilMs.get(`${device.id}.${spec.name}`) ?? -1) >= sinceMs) continue;
      const kept = spec.reservedMask | spec.selfClearingMask;
      const word = model.peek(spec.name) & ~kept;
      if (word === (spec.safeValue & ~kept)) continue;
      const place = `${device.slug}.${spec.name}`;
      this.violate('I5', `${place} holds 0x${word.toString(16)}, not its safe value, ${when}`);
    }
  }

  // --- Links, disk, mistakes -------------------------------------------------------------------------

  sent(from: TrackName, _to: TrackName, message: Message): void {
    this.hooks?.onSent(from, message);
  }

  received(_from: TrackName, to: TrackName, message: Message): void {
    this.hooks?.onReceived(to, message);
  }

  flush(moment: FlushMoment): void {
    this.hooks?.onFlush(moment);
  }

  error(track: TrackName, error: unknown, where: string): void {
    const text = describeError(error);
    this.#trace.add('error', `${track} ${where}: ${text}`);
    if (EXPECTED_ERRORS.some((pattern) => pattern.test(text))) return;
    this.violate('I8', `${track}, ${where}: ${text}`);
  }
}

/** The place of a cell is `slug.register`. */
function registerOfCell(cell: Cell): string {
  return cell.place.slice(cell.place.indexOf('.') + 1);
}
