// What the audit chain needs without anybody asking: a look at its end at the start, checkpoints by time, room, retention.
// Invariants: a timer that fails says so and runs again.

import type { Clock } from '#foundation/clock';
import { describeFault } from '#foundation/fault';
import type { SafetyPolicy } from '#model/safety-policy';
import type { AuditChain } from './audit-chain.ts';
import type { DiskRoom } from './disk-room.ts';
import type { Retention } from './retention.ts';
import type { WitnessFile } from './witness-file.ts';

const RETENTION_EVERY_MS = 60_000;
const MINUTE_MS = 60_000;
const WITNESS_WAIT_MS = 500;

export interface AuditCareParts {
  readonly chain: AuditChain;
  readonly retention: Retention;
  readonly room: DiskRoom | null;
  readonly witness: WitnessFile | null;
  readonly clock: Clock;
  readonly policy: SafetyPolicy['audit'];
  readonly onError: (error: unknown, where: string) => void;
  readonly onNote: (detail: object, message: string) => void;
  /** The chain was found damaged. */
  readonly onDamage: (finding: string) => void;
}

export class AuditCare {
  readonly #parts: AuditCareParts;
  #ended = false;

  constructor(parts: AuditCareParts) {
    this.#parts = parts;
  }

  /** Before the first entry of this life of the process. */
  async start(): Promise<void> {
    const { chain, room, retention, policy, onDamage, onError } = this.#parts;
    room?.start();
    const verdict = await chain.verifyEnd();
    if (!verdict.intact) onDamage(verdict.finding);
    void retention.finishDeletion().catch((error) => onError(error, 'audit retention'));
    this.#every(policy.checkpointMinutes * MINUTE_MS, () => this.#checkpoint());
    this.#every(RETENTION_EVERY_MS, () => this.#retain());
  }

  /** At shutdown: the end is signed, and the witness file has a moment to take that too. */
  async close(): Promise<void> {
    const { chain, room, witness, clock } = this.#parts;
    this.#ended = true;
    room?.stop();
    chain.seal();
    await Promise.race([witness?.settled(), clock.sleep(WITNESS_WAIT_MS)]);
    // What came in while the witness had its moment; nothing comes between this and the end of the store.
    chain.seal();
  }

  #every(periodMs: number, act: () => Promise<void>): void {
    this.#parts.clock.after(periodMs, () => {
      if (this.#ended) return;
      void act()
        .catch((error) => this.#parts.onError(error, 'care of the audit chain'))
        .finally(() => this.#every(periodMs, act));
    });
  }

  async #checkpoint(): Promise<void> {
    const signed = await this.#parts.chain.checkpoint();
    if (!signed.ok) this.#parts.onNote(signed.fault, describeFault(signed.fault));
  }

  async #retain(): Promise<void> {
    const { retention, chain, onNote, onDamage } = this.#parts;
    await chain.recordMark();
    if (!retention.due) return;
    const archived = await retention.archive();
    if (archived.ok) return;
    onNote(archived.fault, describeFault(archived.fault));
    // What cannot be read back may have been damaged before it was written.
    const verdict = await chain.verify();
    if (!verdict.intact) onDamage(verdict.finding);
  }
}
