// Takes charge of kernel after every start of either process: settles what was open, hands over the holds, allows writes.
// Invariants: kernel writes nothing for anybody before this is done; holds of both sides end up on record.

import type { Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeError } from '#foundation/fault';
import type { KernelTrack, SupervisionOrder } from '#model/track';
import type { HoldBook } from './hold-book.ts';

export interface SupervisionParts {
  readonly clock: Clock;
  readonly kernel: KernelTrack;
  readonly holds: HoldBook;
  /** Settles every open transaction; false when one is still open, and then kernel must not write for anybody. */
  readonly settle: (deadline: Deadline) => Promise<boolean>;
  /** True while a stop of the whole system stands on record. */
  readonly stopStands: () => boolean;
  readonly engageStop: () => void;
  readonly onError: (error: unknown, where: string) => void;
}

const SETTLE_LIMIT_MS = 10_000;
const ORDER_LIMIT_MS = 6_000;
const AGAIN_MS = 100;
/** The stop of a restarted kernel waits for this at most. */
const QUARANTINE_LIMIT_MS = 500;

export class Supervision {
  readonly #parts: SupervisionParts;
  #taking = false;
  #again = false;
  #inCharge = false;
  /** Counts losses: what was agreed with a kernel that is gone since means nothing. */
  #losses = 0;

  constructor(parts: SupervisionParts) {
    this.#parts = parts;
  }

  /** True from the moment kernel accepted the holds until it asks again or is gone. */
  get inCharge(): boolean {
    return this.#inCharge;
  }

  lost(): void {
    this.#inCharge = false;
    this.#losses += 1;
  }

  /** Kernel came up, or says that it waits. */
  async take(): Promise<void> {
    // Asked again meanwhile: the kernel process that asks may be another one than that which is being settled.
    this.#again = this.#taking;
    if (this.#taking) return;
    this.#taking = true;
    this.#inCharge = false;
    const { clock, stopStands, engageStop, settle, onError } = this.#parts;
    const losses = this.#losses;
    try {
      await this.#keepQuarantine();
      if (stopStands()) engageStop();
      // Kernel goes on calling while it waits, so what is not settled now is tried again.
      const settled = await settle(Deadline.after(clock, SETTLE_LIMIT_MS));
      const accepted = settled && (await this.#order([]));
      this.#inCharge = accepted && losses === this.#losses;
    } catch (error) {
      onError(error, 'supervision');
    } finally {
      this.#taking = false;
    }
    if (this.#again) clock.after(AGAIN_MS, () => void this.take());
  }

  /** Holds changed, or somebody accounted for changes of a device; false when kernel could not be told. */
  async refresh(accounted: SupervisionOrder['accounted'] = []): Promise<boolean> {
    return this.#inCharge && (await this.#order(accounted));
  }

  /** Before anything else is asked of kernel, even the stop: a device in quarantine is not touched for any of it. */
  async #keepQuarantine(): Promise<void> {
    const { clock, kernel, holds } = this.#parts;
    const quarantined = holds.standing().filter((hold) => hold.kind === 'quarantined');
    if (quarantined.length === 0) return;
    const order = { holds: quarantined, writes: 'hold', accounted: [] } as const;
    await kernel.supervise(order, Deadline.after(clock, QUARANTINE_LIMIT_MS));
  }

  async #order(accounted: SupervisionOrder['accounted']): Promise<boolean> {
    const { clock, kernel, holds, onError } = this.#parts;
    const order = { holds: holds.all(), writes: 'allow', accounted } as const;
    const enforced = await kernel.supervise(order, Deadline.after(clock, ORDER_LIMIT_MS));
    if (!enforced.ok) {
      onError(new Error(enforced.fault.finding), 'supervision');
      return false;
    }
    await holds.add(enforced.value).catch((error: unknown) => {
      onError(new Error(`holds of kernel not on record: ${describeError(error)}`), 'supervision');
    });
    return true;
  }
}
