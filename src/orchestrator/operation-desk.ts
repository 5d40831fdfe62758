// Takes operations in: one at a time for each id, at most sixteen at once, receipts kept for people who ask again.
// Invariants: a stop that comes as an operation waits for nothing of this and is refused for nothing of this.

import type { Deadline } from '#foundation/deadline';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { LinearId } from '#model/device';
import {
  CoordinationResult,
  type Intent,
  type OperationReceipt,
  OperationType,
  operationName,
} from '#model/operation';
import type { OpenSelection, StopReport } from '#model/orchestrator-port';
import type { Origin, Principal } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { EmergencyPriority, type StopReceipt } from '#model/stop';
import type { Announcer } from './announcer.ts';
import {
  OPERATIONS_WITH_PLANS,
  type OperationOrder,
  type OperationRunner,
} from './operation-runner.ts';
import type { Holder } from './ports.ts';
import type { Selections } from './selections.ts';
import type { StopCoordinator } from './stop.ts';

/** The specification's concurrent operations. */
const OPERATIONS_MAX = 16;
/** Receipts kept for people who ask again. */
const RECEIPTS_MAX = 1_000;

export interface OperationDeskParts {
  readonly runner: OperationRunner;
  readonly selections: Selections;
  readonly stops: StopCoordinator;
  readonly announcer: Announcer;
  /** Longest time a selection may hold a device, seconds. */
  readonly selectionSecondsMax: number;
}

/** Who asks, with what it signed in, from where. */
export interface Asker {
  readonly principal: Principal;
  readonly credential?: string;
  /** Who that is at any later moment. */
  readonly holder?: Holder | null;
  readonly origin: Origin;
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
    asker: Asker,
    intent: Intent,
    deadline: Deadline,
  ): Promise<Outcome<OperationReceipt>> {
    const { operationId } = intent;
    const taken = this.#check(intent);
    if (!taken.ok) return taken;
    const { selections } = this.#parts;
    if (
      this.#running.has(operationId) ||
      this.#receipts.has(operationId) ||
      selections.has(operationId)
    ) {
      return refuse(malformed(operationId, 'an operation of this id exists already'));
    }
    const free = this.#free(operationId);
    return free.ok ? succeed(await this.#run({ ...asker, intent, deadline })) : free;
  }

  /**
   * EMERGENCY_STOP as an operation: its targets stop, or the whole system when it names none. Needs no clearance, no
   * confirmation and no second person, and is answered whatever the tracks say.
   */
  async stop(actor: string, intent: Intent, origin: Origin): Promise<OperationReceipt> {
    const { stops, announcer, selections } = this.#parts;
    const devices = intent.targets.map((target) => target.device);
    const reason = intent.justification.trim() || 'an operation asked for the stop';
    const request = { reason, priority: EmergencyPriority.IMMEDIATE, devices, groups: [] };
    const report = await stops.stop(request, 'interface', actor);
    announcer.stopped(actor, origin, reason, report);
    selections.endOn(report.devices, 'stopped', actor);
    const receipt = stopReceipt(intent, report);
    const known = this.#receipts.get(intent.operationId);
    // Under the id of something else that stop is done all the same, and the other receipt stands.
    if (known === undefined || known.type === OperationType.EMERGENCY_STOP) this.#keep(receipt);
    return receipt;
  }

  async operateSelected(
    asker: Asker,
    operationId: string,
    confirmedRisk: RiskLevel,
    deadline: Deadline,
  ): Promise<Outcome<{ readonly receipt: OperationReceipt; readonly intent: Intent }>> {
    const { selections } = this.#parts;
    const free = this.#free(operationId);
    if (!free.ok) return free;
    const taken = selections.take(operationId, asker.principal);
    if (!taken.ok) return taken;
    const selection = taken.value;
    // Interface's risk of back then says nothing about now; it is asked again.
    const { selectForSeconds: _, interfaceRisk: __, ...stored } = selection.intent;
    const intent: Intent = { ...stored, confirmedRisk };
    const { planDigest, basis } = selection;
    const selected = { planDigest, basis };
    try {
      const receipt = await this.#run({ ...asker, intent, deadline, selected });
      if (waitsForPeople(receipt)) selections.putBack(selection);
      else await selections.used(selection, endOf(receipt), leasesOf(receipt));
      return succeed({ receipt, intent });
    } catch (error) {
      await selections.used(selection, 'the operation failed inside the agent', 'free');
      throw error;
    }
  }

  releaseSelected(asker: Asker, operationId: string): Promise<Outcome<void>> {
    return this.#parts.selections.release(operationId, asker.principal, asker.origin);
  }

  get selections(): readonly OpenSelection[] {
    return this.#parts.selections.list();
  }

  /** Selections on these devices end; empty means all. */
  endSelections(devices: readonly LinearId[], reason: string, actor: string): void {
    this.#parts.selections.endOn(devices, reason, actor);
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

  #check(intent: Intent): Outcome<void> {
    const { operationId, type, dryRun, selectForSeconds } = intent;
    if (!OPERATIONS_WITH_PLANS.has(type) && !(type === OperationType.EMERGENCY_STOP && dryRun)) {
      const finding = `${operationName(type)} is not done through a plan`;
      const place = `operation ${operationId}`;
      return refuse(fault('OPERATION_UNSUPPORTED', { place, finding }));
    }
    const { selectionSecondsMax } = this.#parts;
    if (selectForSeconds === undefined) return succeed(undefined);
    const whole = Number.isInteger(selectForSeconds);
    if (whole && selectForSeconds >= 1 && selectForSeconds <= selectionSecondsMax)
      return succeed(undefined);
    const finding = `a selection lasts 1 to ${selectionSecondsMax} s, not ${selectForSeconds} s`;
    return refuse(malformed(operationId, finding));
  }

  #free(operationId: string): Outcome<void> {
    if (this.#running.size < OPERATIONS_MAX) return succeed(undefined);
    const finding = `${OPERATIONS_MAX} operations are running`;
    return refuse(fault('BUSY', { place: `operation ${operationId}`, finding }));
  }

  async #run(order: OperationOrder): Promise<OperationReceipt> {
    const { operationId, dryRun } = order.intent;
    this.#running.add(operationId);
    try {
      const receipt = await this.#parts.runner.run(order);
      if (!dryRun) this.#keep(receipt);
      return receipt;
    } finally {
      this.#running.delete(operationId);
    }
  }

  #keep(receipt: OperationReceipt): void {
    this.#receipts.delete(receipt.operationId);
    this.#receipts.set(receipt.operationId, receipt);
    const oldest = this.#receipts.keys().next();
    if (this.#receipts.size > RECEIPTS_MAX && oldest.done !== true)
      this.#receipts.delete(oldest.value);
  }
}

function malformed(operationId: string, finding: string) {
  return fault('REQUEST_MALFORMED', { place: `operation ${operationId}`, finding });
}

/** Nothing was tried yet: the person confirms, or a second one approves, and the same selection is operated again. */
function waitsForPeople(receipt: OperationReceipt): boolean {
  const code = receipt.fault?.code;
  return code === 'CONFIRMATION_NEEDED' || code === 'APPROVAL_NEEDED';
}

function endOf(receipt: OperationReceipt): string {
  return receipt.fault === undefined ? 'operated' : `operated: ${receipt.fault.code}`;
}

/** Kernel lets go of the devices with every commit; what ended before has to be told. */
function leasesOf(receipt: OperationReceipt): 'free' | 'gone' {
  return receipt.fault !== undefined && receipt.effect === 'none' ? 'free' : 'gone';
}

function stopReceipt(intent: Intent, report: StopReport): OperationReceipt {
  const base: OperationReceipt = {
    operationId: intent.operationId,
    type: OperationType.EMERGENCY_STOP,
    state: 'EMERGENCY_STOPPED',
    result: report.success ? CoordinationResult.SUCCESS : CoordinationResult.FAILED,
    // A stop is not assessed: it waits for nobody.
    risk: RiskLevel.UNKNOWN,
    reasons: [
      `scope: ${report.scope}`,
      ...report.receipts.map(({ track, message }) => `${track}: ${message}`),
    ],
    effect: 'stopped',
    planDigest: '',
    readings: [],
    tracks: report.receipts.map((receipt) => {
      const { track, ok, durationMs } = receipt;
      return ok
        ? { track, ok, durationMs }
        : { track, ok, durationMs, fault: incomplete(track, [receipt]) };
    }),
    // Its entry is written beside it, and made up for when the disk does not take it at once.
    auditSequence: 0,
    durationMs: report.durationMs,
  };
  return report.success ? base : { ...base, fault: incomplete(report.scope, report.receipts) };
}

function incomplete(place: string, receipts: readonly StopReceipt[]) {
  const finding = receipts
    .filter((receipt) => !receipt.ok)
    .map(({ track, message }) => `${track}: ${message}`)
    .join('; ');
  return fault('STOP_INCOMPLETE', { place, finding, metal: 'unknown' });
}
