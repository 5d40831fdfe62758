// How a second person signs off a plan: someone who could have asked for it, of a device that is as it was when asked.
// Invariants: every approval and every refused one is on record; an approval counts from its entry on, and for as long as
// who gave it still could.

import type { Deadline } from '#foundation/deadline';
import { describeFault, FaultError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { AuditEntry } from '#model/audit-entry';
import type { DeviceDescriptor, LinearId } from '#model/device';
import { operationName } from '#model/operation';
import type { ApprovalRequest } from '#model/orchestrator-port';
import type { Origin, Principal } from '#model/principal';
import { riskName } from '#model/risk';
import type { KernelTrack } from '#model/track';
import type { Announcer } from './announcer.ts';
import { entitled } from './entitlement.ts';
import type { ApprovalPort, ApprovalQuestion, AuthorityPort, Proof, Signatory } from './ports.ts';

export interface ApprovalDeskParts {
  readonly kernel: KernelTrack;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly approvals: ApprovalPort;
  readonly authority: AuthorityPort;
  readonly announcer: Announcer;
}

/** Who approves, and with what it signed in. */
export interface Approver extends Proof {
  readonly principal: Principal;
}

interface Ready {
  readonly signatory: Signatory;
  /** State of the devices that is approved. */
  readonly basis: string;
}

export class ApprovalDesk {
  readonly #parts: ApprovalDeskParts;

  constructor(parts: ApprovalDeskParts) {
    this.#parts = parts;
  }

  open(): readonly ApprovalRequest[] {
    return this.#parts.approvals.open();
  }

  /** Nothing that is open or approved counts any more. */
  closeAll(finding: string): void {
    this.#parts.approvals.revokeAll(finding);
  }

  async approve(
    planDigest: string,
    approver: Approver,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<ApprovalRequest>> {
    const { approvals, announcer } = this.#parts;
    const found = approvals.find(planDigest);
    const actor = approver.principal.id;
    const about = found.ok ? aboutOf(found.value) : {};
    const devices = found.ok ? found.value.request.devices : [];
    const ready = found.ok ? await this.#ready(found.value, approver, deadline) : found;
    const result = `plan ${planDigest}`;
    const granted = { ...about, planDigest, decision: `approved by ${actor}` };
    const signed = ready.ok
      ? await this.#sign(ready.value, planDigest, (sign) =>
          announcer.record('APPROVAL_GRANTED', actor, origin, devices, result, granted, sign),
        )
      : ready;
    if (signed.ok || signed.fault.code === 'AUDIT_UNAVAILABLE') return signed;
    const { code } = signed.fault;
    const more = { ...about, planDigest, decision: 'refused', details: { code } };
    const told = describeFault(signed.fault);
    await announcer.record('APPROVAL_REFUSED', actor, origin, devices, told, more);
    return signed;
  }

  /** The approval and its entry are one: neither counts without the other. */
  async #sign(
    { signatory, basis }: Ready,
    planDigest: string,
    record: (sign: () => void) => Promise<Outcome<AuditEntry>>,
  ): Promise<Outcome<ApprovalRequest>> {
    const { approvals } = this.#parts;
    const done: { signed: Outcome<ApprovalRequest> | null } = { signed: null };
    const entry = await record(() => {
      const signed = approvals.approve(planDigest, signatory, basis);
      done.signed = signed;
      // Somebody else was faster: nothing was granted that could be on record.
      if (!signed.ok) throw new FaultError(signed.fault);
    });
    const { signed } = done;
    if (signed?.ok === false) return signed;
    if (!entry.ok) {
      approvals.revoke(planDigest, 'the approval could not be put on record');
      return entry;
    }
    if (signed === null) throw new Error('an entry was made without what is beside it');
    return signed;
  }

  /** Everything that can be known before the entry: who signs, and the state of the devices. */
  async #ready(
    question: ApprovalQuestion,
    { principal, credential, holder }: Approver,
    deadline: Deadline,
  ): Promise<Outcome<Ready>> {
    const { approvals } = this.#parts;
    const { intent, request } = question;
    const { planDigest, risk } = request;
    const still = () => {
      const now = holder?.() ?? succeed(principal);
      return now.ok ? entitled(this.#parts, { intent, risk }, now.value) : now;
    };
    const first = still();
    if (!first.ok) return first;
    const fresh = await this.#parts.kernel.plan({ ...intent, dryRun: true }, deadline);
    if (!fresh.ok) return fresh;
    if (fresh.value.digest !== planDigest) {
      const finding = 'what was asked for would now be done by another plan';
      approvals.revoke(planDigest, finding);
      return refuse(fault('APPROVAL_VOID', { place: `plan ${planDigest.slice(0, 12)}`, finding }));
    }
    // The plan took its time, and so may whoever takes rights away.
    const last = still();
    if (!last.ok) return last;
    const { basis } = fresh.value;
    const signatory = { principal, credential, still };
    const refused = approvals.refusal(planDigest, signatory, basis);
    return refused === null ? succeed({ signatory, basis }) : refuse(refused);
  }
}

function aboutOf({ intent, request }: ApprovalQuestion) {
  return {
    operationId: intent.operationId,
    operation: operationName(intent.type),
    risk: riskName(request.risk),
    reason: intent.justification,
  };
}
