// Two-person approvals: a second person signs off the digest of the exact plan, once, for a short time.
// Invariants: requester and approver differ; an approval is consumed by its requester's next use of the same digest, and
// void when the risk has risen since; one plan has one open request, which nobody else can displace.

import type { Clock } from '#foundation/clock';
import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Intent } from '#model/operation';
import type { ApprovalRequest } from '#model/orchestrator-port';
import type { Principal } from '#model/principal';
import { type RiskLevel, riskRank } from '#model/risk';

export const APPROVAL_LIFETIME_MS = 300_000;
/** Open requests kept at once; the oldest gives way. */
const OPEN_MAX = 256;

export interface PendingApproval {
  readonly request: ApprovalRequest;
  readonly intent: Intent;
  readonly risk: RiskLevel;
  readonly expiresAtMs: number;
}

export class Approvals {
  readonly #clock: Clock;
  readonly #pending = new Map<string, PendingApproval>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Opens a request, or gives the one that is open already for this digest, whoever made it. */
  ask(
    intent: Intent,
    risk: RiskLevel,
    request: Omit<ApprovalRequest, 'expiresAtWallMs' | 'approvedBy'>,
  ): ApprovalRequest {
    this.#forgetExpired();
    const open = this.#pending.get(request.planDigest);
    if (open !== undefined) return open.request;
    const made: ApprovalRequest = {
      ...request,
      expiresAtWallMs: this.#clock.wallMs() + APPROVAL_LIFETIME_MS,
      approvedBy: '',
    };
    this.#pending.set(request.planDigest, {
      request: made,
      intent,
      risk,
      expiresAtMs: this.#clock.nowMs() + APPROVAL_LIFETIME_MS,
    });
    const oldest = this.#pending.keys().next();
    if (this.#pending.size > OPEN_MAX && oldest.done !== true) this.#pending.delete(oldest.value);
    return made;
  }

  find(planDigest: string): Outcome<PendingApproval> {
    this.#forgetExpired();
    const pending = this.#pending.get(planDigest);
    if (pending !== undefined) return succeed(pending);
    const place = `plan ${planDigest.slice(0, 12)}`;
    return refuse(
      fault('APPROVAL_INVALID', {
        place,
        finding: 'no open request for this plan; it may have expired',
      }),
    );
  }

  approve(planDigest: string, approver: Principal): Outcome<ApprovalRequest> {
    const found = this.find(planDigest);
    if (!found.ok) return found;
    const place = `plan ${planDigest.slice(0, 12)}`;
    const { request } = found.value;
    if (request.requestedBy === approver.id) {
      return refuse(
        fault('NOT_PERMITTED', {
          place,
          finding: `${approver.id} asked for it and cannot approve it`,
        }),
      );
    }
    if (approver.kind !== 'person') {
      return refuse(fault('NOT_PERMITTED', { place, finding: 'only a person can approve' }));
    }
    if (request.approvedBy !== '') {
      return refuse(
        fault('APPROVAL_INVALID', { place, finding: `already approved by ${request.approvedBy}` }),
      );
    }
    const approved = { ...request, approvedBy: approver.id };
    this.#pending.set(planDigest, { ...found.value, request: approved });
    return succeed(approved);
  }

  /** Uses up the approval of this plan for this requester at this risk; nothing when there is none. */
  consume(planDigest: string, requester: Principal, risk: RiskLevel): string | undefined {
    this.#forgetExpired();
    const pending = this.#pending.get(planDigest);
    if (pending === undefined || pending.request.approvedBy === '') return undefined;
    if (pending.request.requestedBy !== requester.id) return undefined;
    this.#pending.delete(planDigest);
    // Who approved it has seen a lower risk, and may not be cleared for this one.
    if (riskRank(risk) > riskRank(pending.risk)) return undefined;
    return pending.request.approvedBy;
  }

  open(): readonly ApprovalRequest[] {
    this.#forgetExpired();
    return [...this.#pending.values()].map((pending) => pending.request);
  }

  #forgetExpired(): void {
    const nowMs = this.#clock.nowMs();
    for (const [digest, pending] of this.#pending) {
      if (pending.expiresAtMs <= nowMs) this.#pending.delete(digest);
    }
  }
}
