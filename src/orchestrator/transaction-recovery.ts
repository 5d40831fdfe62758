// Settles every transaction whose decision is on disk and whose outcome is not: asks kernel, writes down what it finds.
// Invariants: a transaction leaves the open list only together with its audit entry, and with holds when it is in doubt;
// until then its devices are held; what a person was told is in doubt stays held whatever is found later.

import type { Canonical } from '#foundation/canonical';
import type { Cancel, Clock } from '#foundation/clock';
import { Deadline } from '#foundation/deadline';
import { describeFault, type Fault, fault } from '#foundation/fault';
import type { FaultCode } from '#foundation/fault-catalogue';
import type { Authorization } from '#model/authorization';
import type { LinearId } from '#model/device';
import { OperationType, operationName } from '#model/operation';
import type { CommitReceipt, KernelTrack, Track } from '#model/track';
import { RECOVERY_GRANTEE } from '#model/transaction';
import type { Announcer } from './announcer.ts';
import type { HoldBook } from './hold-book.ts';
import type { Journal } from './journal.ts';
import type { OpenTransaction, UnsettledTransaction } from './journal-row.ts';

export interface TransactionRecoveryParts {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly holds: HoldBook;
  readonly announcer: Announcer;
  readonly kernel: KernelTrack;
  /** Security and interface, which follow the outcome and cannot change it. */
  readonly others: readonly Track[];
  /** Every device of the board: held when a damaged row does not even say whose it is. */
  readonly devices: readonly LinearId[];
  readonly grant: (
    operationId: string,
    planDigest: string,
    grantedTo: readonly string[],
  ) => Authorization;
  /** New holds stand that kernel does not enforce yet. */
  readonly onHolds: () => void;
  readonly onError: (error: unknown, where: string) => void;
}

/** Between two tries while something is open, milliseconds. */
const AGAIN_MS = 250;
const SETTLE_LIMIT_MS = 8_000;
const OTHERS_LIMIT_MS = 1_000;
/** Refusals of a kernel that answers, after which the transaction counts as in doubt. */
const REFUSALS_MAX = 3;

/** Answers that say nothing about the transaction: kernel is asked again. */
const NO_ANSWER: ReadonlySet<FaultCode> = new Set([
  'TRACK_UNAVAILABLE',
  'DEADLINE_EXCEEDED',
  'LINK_OVERRUN',
  'LINK_CORRUPT',
  'LINK_PROTOCOL',
  'BUSY',
]);

export class TransactionRecovery {
  readonly #parts: TransactionRecoveryParts;
  /** Transactions that somebody in this process is performing; they are not recovered beside it. */
  readonly #performing = new Set<string>();
  readonly #settling = new Map<string, Promise<boolean>>();
  readonly #waiting = new Map<string, (receipt: CommitReceipt) => void>();
  readonly #refusals = new Map<string, number>();
  #again: Cancel | null = null;
  #halted = false;

  constructor(parts: TransactionRecoveryParts) {
    this.#parts = parts;
    const { journal, holds, clock } = parts;
    for (const row of journal.open()) {
      holds.unsettled(row.operationId, this.#devicesOf(row), clock.wallMs());
    }
  }

  /** Before the decision: the transaction is in good hands until `performed` or `outcome`. */
  performing(operationId: string): void {
    this.#performing.add(operationId);
  }

  /** Its outcome is on disk, or it was never decided. */
  performed(operationId: string): void {
    this.#performing.delete(operationId);
  }

  /** Whoever performed it cannot finish it: its devices are held from here on, and it is settled as soon as that can be. */
  handOver(operationId: string, devices: readonly LinearId[]): void {
    this.#parts.holds.unsettled(operationId, devices, this.#parts.clock.wallMs());
    this.#performing.delete(operationId);
    this.#soon(0);
  }

  /** Hands it over and waits; nothing when the deadline comes first. */
  outcome(
    operationId: string,
    devices: readonly LinearId[],
    deadline: Deadline,
  ): Promise<CommitReceipt | undefined> {
    this.handOver(operationId, devices);
    return new Promise((resolve) => {
      const giveUp = this.#parts.clock.after(deadline.remainingMs(), () => {
        this.#waiting.delete(operationId);
        resolve(undefined);
      });
      this.#waiting.set(operationId, (receipt) => {
        giveUp();
        this.#waiting.delete(operationId);
        resolve(receipt);
      });
    });
  }

  /** True when nothing is open any more but what is being performed; false to be called again. */
  async settleAll(deadline: Deadline): Promise<boolean> {
    const { journal, onError } = this.#parts;
    try {
      const open = journal.open().filter((row) => !this.#performing.has(row.operationId));
      const settled = await Promise.all(open.map((row) => this.#settle(row, deadline)));
      if (settled.every(Boolean)) return true;
    } catch (error) {
      onError(error, 'transaction recovery');
    }
    this.#soon(AGAIN_MS);
    return false;
  }

  /** Does nothing by itself any more. */
  halt(): void {
    this.#halted = true;
    this.#again?.();
  }

  #soon(delayMs: number): void {
    if (this.#halted || (this.#again !== null && delayMs > 0)) return;
    this.#again?.();
    this.#again = this.#parts.clock.after(delayMs, () => {
      this.#again = null;
      void this.settleAll(Deadline.after(this.#parts.clock, SETTLE_LIMIT_MS));
    });
  }

  /** Two that come for the same transaction get the same answer. */
  #settle(row: UnsettledTransaction, deadline: Deadline): Promise<boolean> {
    const begun = this.#settling.get(row.operationId);
    if (begun !== undefined) return begun;
    const settling = this.#ask(row, deadline)
      .then((receipt) => receipt !== undefined && this.#write(row, receipt))
      .finally(() => this.#settling.delete(row.operationId));
    this.#settling.set(row.operationId, settling);
    return settling;
  }

  /** What became of it, or nothing as long as kernel cannot say. */
  async #ask(row: UnsettledTransaction, deadline: Deadline): Promise<CommitReceipt | undefined> {
    const { operationId } = row;
    const place = `operation ${operationId}`;
    const unknown = (finding: string): CommitReceipt => ({
      effect: 'in-doubt',
      readings: [],
      durationMs: 0,
      fault: fault('IN_DOUBT', { place, finding, metal: 'unknown' }),
    });
    if (row.kind === 'damaged') return unknown(`its row in the journal is damaged: ${row.finding}`);
    const { plan, priors } = row;
    const authorization = this.#parts.grant(operationId, plan.digest, [RECOVERY_GRANTEE]);
    const request = { operationId, plan, priors, authorization };
    const answer = await this.#parts.kernel.recover(request, deadline);
    if (answer.ok) {
      // Kernel never says so of a recovered transaction; if it did, nobody would know what stands.
      return answer.value.effect === 'stopped'
        ? unknown('kernel only says that it was stopped')
        : answer.value;
    }
    if (NO_ANSWER.has(answer.fault.code)) return undefined;
    const refusals = (this.#refusals.get(operationId) ?? 0) + 1;
    this.#refusals.set(operationId, refusals);
    if (refusals < REFUSALS_MAX) return undefined;
    return unknown(`kernel refuses to settle it: ${answer.fault.finding}`);
  }

  /** Outcome, audit entry and holds in one transaction; false when the disk would not take them. */
  async #write(row: UnsettledTransaction, receipt: CommitReceipt): Promise<boolean> {
    const { journal, holds, announcer, clock, onHolds } = this.#parts;
    const { operationId } = row;
    const devices = this.#devicesOf(row);
    if (row.kind === 'open') await this.#tellOthers(row, receipt);
    const { effect } = receipt;
    const inDoubt = effect === 'in-doubt';
    const more = {
      operationId,
      planDigest: row.kind === 'open' ? row.plan.digest : row.planDigest,
      ...(row.kind === 'open' ? detailsOf(row, receipt) : {}),
    };
    const result = resultOf(row, effect, receipt.fault);
    const entry = await announcer.record(
      'TRANSACTION_RECOVERED',
      'security',
      null,
      devices,
      result,
      more,
      () => {
        journal.close(operationId, effect);
        if (inDoubt) {
          const reason = `operation ${operationId} was interrupted and nobody knows what stands`;
          const sinceWallMs = clock.wallMs();
          holds.addBeside(
            devices.map((device) => ({ device, kind: 'in-doubt', reason, sinceWallMs })),
          );
        }
        if (
          effect === 'committed' &&
          row.kind === 'open' &&
          row.plan.type === OperationType.ACTIVATE
        )
          for (const device of devices) holds.liftBeside(device, 'deactivated');
      },
    );
    if (!entry.ok) {
      holds.reread();
      return false;
    }
    holds.settled(operationId);
    this.#refusals.delete(operationId);
    if (inDoubt) onHolds();
    this.#waiting.get(operationId)?.(receipt);
    return true;
  }

  /** Both are idempotent, and a track that is away has forgotten its promise anyway. */
  async #tellOthers(row: OpenTransaction, receipt: CommitReceipt): Promise<void> {
    const { clock, grant } = this.#parts;
    const { operationId, plan, votes } = row;
    const limit = Deadline.after(clock, OTHERS_LIMIT_MS);
    const authorization = grant(operationId, plan.digest, [RECOVERY_GRANTEE]);
    const request = { operationId, planDigest: plan.digest, authorization, deadlineMs: limit.atMs };
    const asked = this.#parts.others.filter((track) => votes[track.name] === 'yes');
    await Promise.all(
      asked.map((track) =>
        receipt.effect === 'committed'
          ? track.commit(request, limit)
          : track.abort(operationId, limit),
      ),
    );
  }

  #devicesOf(row: UnsettledTransaction): readonly LinearId[] {
    return row.devices ?? this.#parts.devices;
  }
}

function resultOf(
  row: UnsettledTransaction,
  effect: CommitReceipt['effect'],
  cause: Fault | undefined,
): string {
  const found = cause === undefined ? effect : `${effect}: ${describeFault(cause)}`;
  return row.kind === 'open' && row.told
    ? `${found}; it had been reported as in doubt, so its devices stay held until a person releases them`
    : found;
}

function detailsOf(row: OpenTransaction, receipt: CommitReceipt) {
  return {
    operation: operationName(row.plan.type),
    decision: `asked for by ${row.requestedBy}`,
    reason: row.justification,
    details: {
      code: receipt.fault?.code ?? '',
      decidedWallMs: row.decidedWallMs,
      votes: { ...row.votes },
      priors: row.priors.map(({ device, register, value }): Canonical => {
        return { device, register, value };
      }),
      registers: receipt.readings.map(({ device, register, value, before }): Canonical => {
        return { device, register, value, before };
      }),
    },
  };
}
