// Whether one plan may run now: access, audit, the stop, the second person, and what was selected; then security signs it.
// Invariants: an approval or a selection counts only for the state of the devices that it was made for, which kernel has
// looked at afresh; whoever is told the risk of a plan is remembered as told.

import type { Deadline } from '#foundation/deadline';
import { type Fault, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Authorization } from '#model/authorization';
import type { DeviceDescriptor, LinearId } from '#model/device';
import { type Intent, OperationType, operationName } from '#model/operation';
import { type RegisterPlan, writesOf } from '#model/plan';
import type { Principal } from '#model/principal';
import type { RiskLevel } from '#model/risk';
import type { KernelTrack } from '#model/track';
import type { Disclosures } from './disclosures.ts';
import { entitled } from './entitlement.ts';
import { describePlan } from './plan-text.ts';
import type { ApprovalPort, AuditPort, AuthorityPort, Holder } from './ports.ts';

export interface PlanAuthorizationParts {
  readonly kernel: KernelTrack;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly authority: AuthorityPort;
  readonly approvals: ApprovalPort;
  readonly disclosures: Disclosures;
  readonly audit: AuditPort;
  readonly stopEngaged: () => boolean;
}

/** What a person selected before, and operates now. */
export interface SelectedPlan {
  readonly planDigest: string;
  readonly basis: string;
}

export interface AuthorizationOrder {
  readonly intent: Intent;
  readonly principal: Principal;
  /** Digest of what the person signed in with, see `Signatory`. */
  readonly credential?: string;
  /** Who that is at any later moment; the same person with the same rights where absent. */
  readonly holder?: Holder | null;
  readonly selected?: SelectedPlan;
  readonly deadline: Deadline;
}

export type Permission =
  /** A dry run: everything that can be shown has been. */
  | { readonly kind: 'shown' }
  /** All conditions but the second person hold: the devices may be held for it. */
  | { readonly kind: 'selectable'; readonly basis: string }
  | { readonly kind: 'granted'; readonly authorization: Authorization }
  | { readonly kind: 'refused'; readonly fault: Fault };

export interface Ruling {
  readonly permission: Permission;
  /** People still needed before this plan runs. */
  readonly approvalsNeeded: readonly string[];
}

const SECOND_PERSON = 'a second person with the same rights approves the digest of this plan';

export class PlanAuthorization {
  readonly #parts: PlanAuthorizationParts;

  constructor(parts: PlanAuthorizationParts) {
    this.#parts = parts;
  }

  async rule(asked: AuthorizationOrder, plan: RegisterPlan, risk: RiskLevel): Promise<Ruling> {
    // The plan took its time, and so may whoever takes rights away.
    const now = holderOf(asked);
    if (!now.ok) return { permission: { kind: 'refused', fault: now.fault }, approvalsNeeded: [] };
    const order = { ...asked, principal: now.value };
    const { intent, principal } = order;
    const { authority, disclosures } = this.#parts;
    const disclosed = disclosures.of(principal.id, plan.digest);
    const decided = authority.decideAccess({
      principal,
      intent,
      devices: this.#devicesOf(intent),
      risk,
      isQuarantined: (device) => authority.isQuarantined(device),
      ...(disclosed === undefined ? {} : { disclosed }),
    });
    const dual = decided.ok && decided.value.dualAuthorization;
    const ruled = decided.ok ? await this.#permit(order, plan, risk, dual) : decided;
    const permission: Permission = ruled.ok ? ruled.value : { kind: 'refused', fault: ruled.fault };
    if (tellsTheRisk(permission)) disclosures.tell(principal.id, plan.digest, risk);
    const approved = permission.kind === 'granted' || this.#approved(plan, principal);
    return { permission, approvalsNeeded: dual && !approved ? [SECOND_PERSON] : [] };
  }

  /** Asked again when all have promised: for whoever lost the right meanwhile nothing is decided any more. */
  stands(order: AuthorizationOrder, risk: RiskLevel): Outcome<void> {
    const now = holderOf(order);
    return now.ok ? entitled(this.#parts, { intent: order.intent, risk }, now.value) : now;
  }

  /** The access table permits it. */
  async #permit(
    order: AuthorizationOrder,
    plan: RegisterPlan,
    risk: RiskLevel,
    dual: boolean,
  ): Promise<Outcome<Permission>> {
    const { intent, principal, selected } = order;
    const { audit, authority, stopEngaged } = this.#parts;
    // Reads too: some registers clear when they are read. The entry of this refusal shows whether audit works again.
    const towardsSafety = intent.type === OperationType.DEACTIVATE && audit.appends === true;
    const recorded = audit.writable || towardsSafety;
    if (!recorded && (!intent.dryRun || intent.requirements.auditRequired)) {
      const finding = audit.obstacle ?? 'the last entry could not be written';
      return refuse(fault('AUDIT_UNAVAILABLE', { place: 'audit chain', finding }));
    }
    if (intent.dryRun) return succeed({ kind: 'shown' });
    const place = this.#placeOf(intent);
    const writes = writesOf(plan).length > 0;
    if (writes && stopEngaged()) {
      return refuse(
        fault('EMERGENCY_STOPPED', { place, finding: 'the emergency stop is engaged' }),
      );
    }
    const selecting = intent.selectForSeconds !== undefined;
    if (selecting && !writes) {
      const finding = 'a plan that only reads needs no selection';
      return refuse(fault('REQUEST_MALFORMED', { place, finding }));
    }
    const { operationId } = intent;
    if (!dual && !selecting && selected === undefined) {
      const authorization = authority.grant(operationId, plan.digest, [principal.id]);
      return succeed({ kind: 'granted', authorization });
    }
    const basis = await this.#basis(order, plan);
    if (!basis.ok) return basis;
    const approver = dual ? this.#approver(order, plan, risk, basis.value) : succeed(undefined);
    if (!approver.ok) return approver;
    if (selecting) return succeed({ kind: 'selectable', basis: basis.value });
    const grantedTo = [principal.id, ...(approver.value === undefined ? [] : [approver.value])];
    const authorization = authority.grant(operationId, plan.digest, grantedTo, basis.value);
    return succeed({ kind: 'granted', authorization });
  }

  /** What the devices are like now: kernel reads them, so that a change that nobody made counts too. */
  async #basis(order: AuthorizationOrder, plan: RegisterPlan): Promise<Outcome<string>> {
    const { intent, selected, deadline } = order;
    const fresh = await this.#parts.kernel.plan({ ...intent, dryRun: true }, deadline);
    if (!fresh.ok) return fresh;
    const changed = (finding: string) =>
      refuse(fault('PLAN_CHANGED', { place: this.#placeOf(intent), finding }));
    if (fresh.value.digest !== plan.digest)
      return changed('the plan changed while it was being authorized');
    if (selected === undefined) return succeed(fresh.value.basis);
    if (selected.planDigest !== plan.digest) return changed('it is not the plan that was selected');
    if (selected.basis !== fresh.value.basis)
      return changed('the device changed, or kernel was started again, since it was selected');
    return succeed(fresh.value.basis);
  }

  /** Who approved this plan; for a selection the approval is asked for and kept for the operation that follows. */
  #approver(
    order: AuthorizationOrder,
    plan: RegisterPlan,
    risk: RiskLevel,
    basis: string,
  ): Outcome<string | undefined> {
    const { intent, principal, credential } = order;
    const { approvals, devices } = this.#parts;
    const selecting = intent.selectForSeconds !== undefined;
    if (!selecting) {
      const consumed = approvals.consume(plan.digest, principal, risk, basis);
      if (!consumed.ok || consumed.value !== undefined) return consumed;
    }
    const opened = approvals.ask({
      intent,
      basis,
      credential: credential ?? '',
      request: {
        planDigest: plan.digest,
        operation: operationName(intent.type),
        devices: intent.targets.map((target) => target.device),
        requestedBy: principal.id,
        justification: intent.justification,
        risk,
        transactions: describePlan(plan, devices),
      },
    });
    if (!opened.ok) return opened;
    if (selecting) return succeed(undefined);
    const request = opened.value;
    const place = this.#placeOf(intent);
    const asked =
      request.requestedBy === principal.id ? '' : `; ${request.requestedBy} has asked for it too`;
    const finding = `a second person has to approve plan ${plan.digest}${asked}`;
    return refuse(fault('APPROVAL_NEEDED', { place, finding }));
  }

  #approved(plan: RegisterPlan, principal: Principal): boolean {
    return this.#parts.approvals
      .open()
      .some(
        ({ planDigest, requestedBy, approvedBy }) =>
          planDigest === plan.digest && requestedBy === principal.id && approvedBy !== '',
      );
  }

  #devicesOf(intent: Intent): readonly DeviceDescriptor[] {
    return intent.targets.flatMap(({ device }) => this.#parts.devices.get(device) ?? []);
  }

  #placeOf(intent: Intent): string {
    return this.#devicesOf(intent)
      .map((device) => device.slug)
      .join(', ');
  }
}

function holderOf({ principal, holder }: AuthorizationOrder): Outcome<Principal> {
  return holder?.() ?? succeed(principal);
}

/** An answer that shows the plan and its risk to the person who may go on with it. */
function tellsTheRisk(permission: Permission): boolean {
  switch (permission.kind) {
    case 'shown':
    case 'selectable':
      return true;
    case 'granted':
      return false;
    case 'refused':
      return TELLING.has(permission.fault.code);
  }
}

const TELLING: ReadonlySet<string> = new Set([
  'CONFIRMATION_NEEDED',
  'APPROVAL_NEEDED',
  'APPROVAL_VOID',
]);
