// How a second person signs off a plan: someone who could have asked for it, of a device that is as it was when asked.
// Invariants: every approval and every refused one is on record; an approval that could not be recorded does not count.

import type { Deadline } from '#foundation/deadline';
import { describeFault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { DeviceDescriptor, LinearId } from '#model/device';
import { operationName } from '#model/operation';
import type { ApprovalRequest } from '#model/orchestrator-port';
import type { Origin } from '#model/principal';
import { riskName } from '#model/risk';
import type { KernelTrack } from '#model/track';
import type { Announcer } from './announcer.ts';
import type { ApprovalPort, ApprovalQuestion, AuthorityPort, Signatory } from './ports.ts';

export interface ApprovalDeskParts {
  readonly kernel: KernelTrack;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly approvals: ApprovalPort;
  readonly authority: AuthorityPort;
  readonly announcer: Announcer;
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
    approver: Signatory,
    origin: Origin,
    deadline: Deadline,
  ): Promise<Outcome<ApprovalRequest>> {
    const { approvals, announcer } = this.#parts;
    const found = approvals.find(planDigest);
    const actor = approver.principal.id;
    const about = found.ok ? aboutOf(found.value) : {};
    const devices = found.ok ? found.value.request.devices : [];
    const approved = found.ok ? await this.#approve(planDigest, approver, deadline) : found;
    if (!approved.ok) {
      const result = describeFault(approved.fault);
      const { code } = approved.fault;
      const more = { ...about, planDigest, decision: 'refused', details: { code } };
      await announcer.record('APPROVAL_REFUSED', actor, origin, devices, result, more);
      return approved;
    }
    const more = { ...about, planDigest, decision: `approved by ${actor}` };
    const result = `plan ${planDigest}`;
    const entry = await announcer.record('APPROVAL_GRANTED', actor, origin, devices, result, more);
    if (entry.ok) return approved;
    approvals.revoke(planDigest, 'the approval could not be put on record');
    return entry;
  }

  async #approve(
    planDigest: string,
    approver: Signatory,
    deadline: Deadline,
  ): Promise<Outcome<ApprovalRequest>> {
    const { approvals } = this.#parts;
    const found = approvals.find(planDigest);
    if (!found.ok) return found;
    const entitled = this.#entitled(found.value, approver);
    if (!entitled.ok) return entitled;
    const { intent } = found.value;
    const fresh = await this.#parts.kernel.plan({ ...intent, dryRun: true }, deadline);
    if (!fresh.ok) return fresh;
    if (fresh.value.digest !== planDigest) {
      const finding = 'what was asked for would now be done by another plan';
      approvals.revoke(planDigest, finding);
      return refuse(fault('APPROVAL_VOID', { place: `plan ${planDigest.slice(0, 12)}`, finding }));
    }
    return approvals.approve(planDigest, approver, fresh.value.basis);
  }

  /** The approver has to be somebody who could have asked for it, and is shown the risk by the request itself. */
  #entitled({ intent, request }: ApprovalQuestion, { principal }: Signatory): Outcome<void> {
    const { authority, devices } = this.#parts;
    const { risk } = request;
    const requirements = {
      ...intent.requirements,
      riskDisclosureRequired: false,
      confirmationTimeoutSeconds: 0,
    };
    const decided = authority.decideAccess({
      principal,
      intent: { ...intent, requirements, confirmedRisk: risk },
      devices: intent.targets.flatMap((target) => devices.get(target.device) ?? []),
      risk,
      isQuarantined: (device) => authority.isQuarantined(device),
    });
    return decided.ok ? succeed(undefined) : decided;
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
