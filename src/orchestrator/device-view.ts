// One device as the synchronizer holds it: each track's last part, when it was learnt, and what does not fit together.
// Invariants: a part is replaced only by one with a higher version of the same life; order is order of receipt, never a clock's.

import type { DeviceDescriptor } from '#model/device';
import type { InterfaceDeviceState, KernelDeviceState, SecurityDeviceState } from '#model/snapshot';
import { PowerState } from '#model/snapshot';
import type { TrackName } from '#model/track-name';
import { CONFLICT_RULES, type ConflictRule } from '#model/unified-state';
import {
  type ConflictContext,
  type DeviceParts,
  type Disagreement,
  type Look,
  RULES,
} from './conflicts.ts';
import { unseenInterface, unseenKernel, unseenSecurity } from './unified-device.ts';

/** Counts what is received, over all devices and tracks. */
export interface ReceiptCounter {
  next(): number;
}

/** What the rules found: what counts now, what no longer stands, and when to look again at what is too young. */
export interface Judgement {
  readonly ripe: readonly Disagreement[];
  readonly gone: readonly ConflictRule[];
  /** Monotonic milliseconds; Infinity when nothing is under suspicion. */
  readonly lookAgainMs: number;
}

const NEVER_MS = Number.NEGATIVE_INFINITY;
/** Between two looks at what has outlived its grace but was not looked at since. */
const LOOK_AGAIN_MS = 1_000;
/** Of a timer that fires early, milliseconds. */
const MARGIN_MS = 20;

export class DeviceView {
  readonly descriptor: DeviceDescriptor;
  /** It can be seen switched off, and has safe values that should bring it there. */
  readonly canRest: boolean;
  readonly #receipts: ReceiptCounter;
  #kernel: KernelDeviceState;
  #security: SecurityDeviceState;
  #interface: InterfaceDeviceState;
  readonly #order: Record<TrackName, number> = { kernel: 0, security: 0, interface: 0 };
  #kernelLookMs = NEVER_MS;
  #interfaceLookMs = NEVER_MS;
  /** Monotonic milliseconds since when each rule has been broken. */
  readonly #since = new Map<ConflictRule, number>();

  constructor(descriptor: DeviceDescriptor, receipts: ReceiptCounter) {
    this.descriptor = descriptor;
    this.#receipts = receipts;
    this.canRest =
      descriptor.registers.some(({ spec }) => spec.safeValue !== null) &&
      descriptor.behaviour.observe.power.some(({ state }) => RESTING.includes(state));
    this.#kernel = unseenKernel(descriptor);
    this.#security = unseenSecurity(descriptor);
    this.#interface = unseenInterface(descriptor);
  }

  get parts(): DeviceParts {
    return { kernel: this.#kernel, security: this.#security, interface: this.#interface };
  }

  get kernel(): KernelDeviceState {
    return this.#kernel;
  }

  get interfaceSeen(): boolean {
    return this.#interfaceLookMs > NEVER_MS;
  }

  /** `lookMs`: not later than the moment kernel said so (monotonic). */
  takeKernel(state: KernelDeviceState, lookMs: number): void {
    const first = this.#kernelLookMs === NEVER_MS;
    if (!first && state.version < this.#kernel.version) return;
    this.#kernelLookMs = Math.max(this.#kernelLookMs, lookMs);
    // The same version with a later access is the same state, seen once more.
    if (!first && state.version === this.#kernel.version) {
      if (state.lastAccessMs > this.#kernel.lastAccessMs) this.#kernel = state;
      return;
    }
    this.#kernel = state;
    this.#order.kernel = this.#receipts.next();
  }

  /** Kernel started anew: its versions and counts begin again, and what it had found is no longer known. */
  forgetKernel(): void {
    // What is seen last stays visible until the new life has looked.
    this.#kernel = { ...this.#kernel, unexplained: '' };
    this.#kernelLookMs = NEVER_MS;
    this.#order.kernel = this.#receipts.next();
    this.#since.clear();
  }

  /** Panels started anew: their versions begin again. */
  forgetInterface(): void {
    this.#interfaceLookMs = NEVER_MS;
  }

  takeSecurity(state: SecurityDeviceState): void {
    if (state.version <= this.#security.version) return;
    this.#security = state;
    this.#order.security = this.#receipts.next();
  }

  takeInterface(state: InterfaceDeviceState, lookMs: number): void {
    if (lookMs < this.#interfaceLookMs) return;
    const first = !this.interfaceSeen;
    this.#interfaceLookMs = lookMs;
    if (!first && state.version === this.#interface.version) return;
    this.#interface = state;
    this.#order.interface = this.#receipts.next();
  }

  orderOf(track: TrackName): number {
    return this.#order[track];
  }

  judge(context: ConflictContext): Judgement {
    const ripe: Disagreement[] = [];
    const gone: ConflictRule[] = [];
    let lookAgainMs = Number.POSITIVE_INFINITY;
    const parts = this.parts;
    for (const rule of CONFLICT_RULES) {
      const { judge, graceMs, looks } = RULES[rule];
      const verdict = judge(parts, context);
      if (verdict.kind !== 'disagreement') {
        this.#since.delete(rule);
        if (verdict.kind === 'none') gone.push(rule);
        continue;
      }
      const since = this.#since.get(rule) ?? context.nowMs;
      this.#since.set(rule, since);
      const ripeMs = since + graceMs;
      if (graceMs === 0 || looks.every((look) => this.#lookMs(look) >= ripeMs)) {
        ripe.push(verdict.disagreement);
      } else {
        const soon = Math.max(ripeMs + MARGIN_MS, context.nowMs + MARGIN_MS);
        lookAgainMs = Math.min(
          lookAgainMs,
          context.nowMs < ripeMs ? soon : context.nowMs + LOOK_AGAIN_MS,
        );
      }
    }
    return { ripe, gone, lookAgainMs };
  }

  #lookMs(look: Look): number {
    switch (look) {
      case 'metal':
        return this.#kernel.lastAccessMs;
      case 'kernel':
        return this.#kernelLookMs;
      case 'interface':
        return this.#interfaceLookMs;
    }
  }
}

const RESTING: readonly PowerState[] = [PowerState.OFF, PowerState.SUSPENDED, PowerState.STANDBY];
