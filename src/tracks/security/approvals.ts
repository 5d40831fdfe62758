// Two-person approvals: a second person signs off the digest of the exact plan, once, for a short time.
// Invariants: requester and approver differ in person and in credential; an approval is consumed by its requester's next
// use of the same digest, and void when a device has changed or the risk has risen since it was asked for, or when the
// approver could not sign it any more; one plan has one open request, which nobody else can displace; nobody has more
// than 16 requests, so that sixteen people are needed to push out another's. Nothing of this survives a restart.

import type { Clock } from '#foundation/clock';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Intent } from '#model/operation';
import type { ApprovalRequest } from '#model/orchestrator-port';
import type { Principal } from '#model/principal';
import { type RiskLevel, riskRank } from '#model/risk';

export const APPROVAL_LIFETIME_MS = 300_000;
/** Requests kept at once; the oldest gives way. */
const REQUESTS_MAX = 256;
export const REQUESTS_OF_ONE_MAX = 16;

/** A person and the digest of what it signed in with. */
export interface Signatory {
  readonly principal: Principal;
  readonly credential: string;
  /** Whether it still could sign, asked when the approval is used; it could where absent. */
  readonly still?: () => Outcome<unknown>;
}

export interface ApprovalQuestion {
  readonly intent: Intent;
  /** State of the devices it is asked for, see `RegisterPlan.basis`. */
  readonly basis: string;
  /** Of the requester. */
  readonly credential: string;
  readonly request: Omit<ApprovalRequest, 'expiresAtWallMs' | 'approvedBy'>;
}

interface Kept {
  readonly question: ApprovalQuestion;
  readonly request: ApprovalRequest;
  readonly expiresAtMs: number;
  /** Whether who approved it still could; null where nobody has, or nothing can change. */
  readonly still: (() => Outcome<unknown>) | null;
  /** Why it is closed; kept until it would have expired, so that people hear the reason. Null while it is open. */
  readonly closedBecause: string | null;
}

const CHANGED = 'the device changed, or kernel was started again, since';

export class Approvals {
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Opens a request, or gives the one that is open already for this digest, whoever made it; BUSY where one asks for too much. */
  ask(question: ApprovalQuestion): Outcome<ApprovalRequest> {
    const { planDigest } = question.request;
    this.#forgetExpired();
    const kept = this.#kept.get(planDigest);
    // One for another state of the devices can never be used again, and gives way.
    const stands = kept?.closedBecause === null && kept.question.basis === question.basis;
    if (kept !== undefined && stands) return succeed(kept.request);
    const full = this.#makeRoomOf(question);
    if (full !== null) return refuse(full);
    const request: ApprovalRequest = {
      ...question.request,
      expiresAtWallMs: this.#clock.wallMs() + APPROVAL_LIFETIME_MS,
      approvedBy: '',
    };
    const expiresAtMs = this.#clock.nowMs() + APPROVAL_LIFETIME_MS;
    this.#kept.delete(planDigest);
    this.#kept.set(planDigest, {
      question,
      request,
      expiresAtMs,
      still: null,
      closedBecause: null,
    });
    const oldest = this.#kept.keys().next();
    if (this.#kept.size > REQUESTS_MAX && oldest.done !== true) this.#kept.delete(oldest.value);
    return succeed(request);
  }

  /** Of one person what is closed gives way, and nothing that is open. */
  #makeRoomOf({ request: { planDigest, requestedBy } }: ApprovalQuestion): Fault | null {
    const own = [...this.#kept].filter(
      ([digest, { request }]) => request.requestedBy === requestedBy && digest !== planDigest,
    );
    if (own.length < REQUESTS_OF_ONE_MAX) return null;
    const closed = own.find(([, { closedBecause }]) => closedBecause !== null);
    if (closed !== undefined) {
      this.#kept.delete(closed[0]);
      return null;
    }
    return fault('BUSY', {
      place: placeOf(planDigest),
      finding: `${REQUESTS_OF_ONE_MAX} plans of ${requestedBy} wait for a second person already`,
      consequence: 'nobody is asked to approve this one',
    });
  }

  find(planDigest: string): Outcome<ApprovalQuestion> {
    const kept = this.#open(planDigest);
    return kept.ok ? succeed(kept.value.question) : kept;
  }

  /** `basis`: the state of the devices now; another one than that of the request closes it. */
  approve(planDigest: string, approver: Signatory, basis: string): Outcome<ApprovalRequest> {
    const found = this.#open(planDigest);
    if (!found.ok) return found;
    const refused = this.refusal(planDigest, approver, basis);
    if (refused !== null) return refuse(refused);
    const approved = { ...found.value.request, approvedBy: approver.principal.id };
    this.#kept.set(planDigest, {
      ...found.value,
      request: approved,
      still: approver.still ?? null,
    });
    return succeed(approved);
  }

  /** Why this person cannot approve it now; null when it can. A device that changed closes the request. */
  refusal(planDigest: string, approver: Signatory, basis: string): Fault | null {
    const found = this.#open(planDigest);
    if (!found.ok) return found.fault;
    const { question, request } = found.value;
    const { principal, credential } = approver;
    const no = (finding: string) => fault('NOT_PERMITTED', { place: placeOf(planDigest), finding });
    if (request.requestedBy === principal.id)
      return no(`${principal.id} asked for it and cannot approve it`);
    if (principal.kind !== 'person') return no('only a person can approve');
    if (credential !== '' && credential === question.credential) {
      return no(
        `${principal.id} signed in with what ${request.requestedBy} asked with, so that it might be one person`,
      );
    }
    if (request.approvedBy !== '') {
      const finding = `already approved by ${request.approvedBy}`;
      return fault('APPROVAL_INVALID', { place: placeOf(planDigest), finding });
    }
    if (basis === question.basis) return null;
    const finding = `${CHANGED} ${request.requestedBy} asked for it`;
    this.revoke(planDigest, finding);
    return voidFault(planDigest, finding);
  }

  /**
   * Uses up the approval of this plan for this requester, at this risk and this state of the devices. Nothing when
   * there is none; APPROVAL_VOID when there was one and it has become void, which closes it.
   */
  consume(
    planDigest: string,
    requester: Principal,
    risk: RiskLevel,
    basis: string,
  ): Outcome<string | undefined> {
    this.#forgetExpired();
    const kept = this.#kept.get(planDigest);
    if (kept === undefined || kept.request.approvedBy === '') return succeed(undefined);
    const { question, request, closedBecause } = kept;
    if (request.requestedBy !== requester.id) return succeed(undefined);
    this.#kept.delete(planDigest);
    if (closedBecause !== null) return refuse(voidFault(planDigest, closedBecause));
    if (basis !== question.basis) {
      const finding = `${CHANGED} ${request.approvedBy} approved the plan`;
      return refuse(voidFault(planDigest, finding));
    }
    const still = kept.still?.();
    if (still?.ok === false) {
      const finding = `${request.approvedBy} approved the plan, and cannot any more: ${still.fault.finding}`;
      return refuse(voidFault(planDigest, finding));
    }
    // Who approved it has seen a lower risk, and may not be cleared for this one.
    if (riskRank(risk) > riskRank(kept.request.risk)) return succeed(undefined);
    return succeed(request.approvedBy);
  }

  /** Closes a request; who comes for it before it would have expired hears why. */
  revoke(planDigest: string, finding: string): void {
    const kept = this.#kept.get(planDigest);
    if (kept?.closedBecause !== null) return;
    this.#kept.set(planDigest, { ...kept, closedBecause: finding });
  }

  revokeAll(finding: string): void {
    for (const planDigest of this.#kept.keys()) this.revoke(planDigest, finding);
  }

  open(): readonly ApprovalRequest[] {
    this.#forgetExpired();
    const open = [...this.#kept.values()].filter((kept) => kept.closedBecause === null);
    return open.map((kept) => kept.request);
  }

  #open(planDigest: string): Outcome<Kept> {
    this.#forgetExpired();
    const kept = this.#kept.get(planDigest);
    if (kept === undefined) {
      const finding = 'no open request for this plan; it may have expired';
      return refuse(fault('APPROVAL_INVALID', { place: placeOf(planDigest), finding }));
    }
    if (kept.closedBecause !== null) return refuse(voidFault(planDigest, kept.closedBecause));
    return succeed(kept);
  }

  #forgetExpired(): void {
    const nowMs = this.#clock.nowMs();
    for (const [digest, kept] of this.#kept) {
      if (kept.expiresAtMs <= nowMs) this.#kept.delete(digest);
    }
  }
}

function voidFault(planDigest: string, finding: string): Fault {
  return fault('APPROVAL_VOID', { place: placeOf(planDigest), finding });
}

function placeOf(planDigest: string): string {
  return `plan ${planDigest.slice(0, 12)}`;
}
