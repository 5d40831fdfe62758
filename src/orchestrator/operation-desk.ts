// Takes operations in: one at a time for each id, at most sixteen at once, receipts kept for people who ask again.

import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { type Intent, type OperationReceipt, operationName } from '#model/operation';
import type { Origin, Principal } from '#model/principal';
import type { RiskLevel } from '#model/risk';
import { OPERATIONS_WITH_PLANS, type OperationRunner } from './operation-runner.ts';

/** The specification's concurrent operations. */
const OPERATIONS_MAX = 16;
/** Receipts kept for people who ask again. */
const RECEIPTS_MAX = 1_000;

export interface OperationDeskParts {
  readonly runner: OperationRunner;
}

export class OperationDesk {
  readonly #parts: OperationDeskParts;
  readonly #receipts = new Map<string, OperationReceipt>();
  readonly #running = new Set<string>();

  constructor(parts: OperationDeskParts) {
    this.#parts = parts;
  }

  get running(): number {
    return this.#running.size;
  }

  async operate(
    principal: Principal,
    intent: Intent,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const place = `operation ${intent.operationId}`;
    if (!OPERATIONS_WITH_PLANS.has(intent.type)) {
      const finding = `${operationName(intent.type)} is not done through a plan`;
      return refuse(fault('OPERATION_UNSUPPORTED', { place, finding }));
    }
    if (this.#running.has(intent.operationId) || this.#receipts.has(intent.operationId)) {
      return refuse(
        fault('REQUEST_MALFORMED', { place, finding: 'an operation of this id exists already' }),
      );
    }
    if (this.#running.size >= OPERATIONS_MAX) {
      return refuse(fault('BUSY', { place, finding: `${OPERATIONS_MAX} operations are running` }));
    }
    this.#running.add(intent.operationId);
    try {
      const receipt = await this.#parts.runner.run({ intent, principal, origin, deadline });
      if (!intent.dryRun) this.#keep(receipt);
      return succeed(receipt);
    } finally {
      this.#running.delete(intent.operationId);
    }
  }

  async operateSelected(
    _principal: Principal,
    operationId: string,
    _confirmedRisk: RiskLevel,
    _origin: Origin,
    _deadline: Deadline,
  ): Promise<Outcome<{ readonly receipt: OperationReceipt; readonly intent: Intent }>> {
    return this.#unselected(operationId);
  }

  async releaseSelected(
    _principal: Principal,
    operationId: string,
    _deadline: Deadline,
  ): Promise<Outcome<void>> {
    return this.#unselected(operationId);
  }

  receipt(operationId: string): Outcome<OperationReceipt> {
    const receipt = this.#receipts.get(operationId);
    if (receipt !== undefined) return succeed(receipt);
    const finding = 'unknown, or longer ago than the receipts kept here; the audit chain has it';
    return refuse(fault('OPERATION_UNKNOWN', { place: `operation ${operationId}`, finding }));
  }

  /** Newest first. */
  receipts(limit: number): readonly OperationReceipt[] {
    return [...this.#receipts.values()].reverse().slice(0, Math.max(0, limit));
  }

  #unselected(operationId: string) {
    const finding = 'no selection of this id is open; it may have expired';
    return refuse(fault('SELECTION_UNKNOWN', { place: `operation ${operationId}`, finding }));
  }

  #keep(receipt: OperationReceipt): void {
    this.#receipts.set(receipt.operationId, receipt);
    const oldest = this.#receipts.keys().next();
    if (this.#receipts.size > RECEIPTS_MAX && oldest.done !== true)
      this.#receipts.delete(oldest.value);
  }
}
