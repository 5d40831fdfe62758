// The interface track's promise: it can still tell people what becomes of the operation.
// Invariants: at most `PROMISES_MAX` open promises; committing and aborting twice is the same as once.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { CommitReceipt, CommitRequest, PrepareRequest, PrepareVote } from '#model/track';

const PROMISES_MAX = 64;

export class InterfacePromises {
  readonly #digests = new Map<string, string>();

  get open(): number {
    return this.#digests.size;
  }

  /** `health` is null when clients can be told, else what is wrong. */
  prepare(request: PrepareRequest, health: string | null): Outcome<PrepareVote> {
    const place = `operation ${request.operationId}`;
    if (health !== null) return refuse(fault('TRACK_UNAVAILABLE', { place, finding: health }));
    if (this.#digests.size >= PROMISES_MAX && !this.#digests.has(request.operationId)) {
      const finding = `${PROMISES_MAX} operations are promised already`;
      return refuse(fault('BUSY', { place, finding }));
    }
    this.#digests.set(request.operationId, request.planDigest);
    return succeed({ priors: [] });
  }

  commit(request: CommitRequest): Outcome<CommitReceipt> {
    const promised = this.#digests.get(request.operationId);
    if (promised !== undefined && promised !== request.planDigest) {
      const finding = 'another plan was promised for it';
      return refuse(fault('PLAN_CHANGED', { place: `operation ${request.operationId}`, finding }));
    }
    // Replayed from the journal after a restart there is no promise left, and nothing to do either.
    this.#digests.delete(request.operationId);
    return succeed({ effect: 'none', readings: [], durationMs: 0 });
  }

  abort(operationId: string): void {
    this.#digests.delete(operationId);
  }
}
