// Track B: judges people and plans, signs what may be done, keeps the record.

import type { Clock } from '#foundation/clock';
import type { Deadline } from '#foundation/deadline';
import { type Outcome, succeed } from '#foundation/outcome';
import type { AuditEntry } from '#model/audit-entry';
import { type DeviceDescriptor, type LinearId, permanentlyQuarantined } from '#model/device';
import type { DeviceHold } from '#model/hold';
import { devicesOf } from '#model/plan';
import { type RiskAssessment, RiskLevel } from '#model/risk';
import type { SecurityDeviceState, SecuritySnapshot } from '#model/snapshot';
import type { StopOrder, StopReceipt } from '#model/stop';
import type {
  AssessRequest,
  CommitReceipt,
  CommitRequest,
  PrepareRequest,
  PrepareVote,
  Track,
} from '#model/track';
import { Approvals } from './approvals.ts';
import { assessSecurityRisk } from './assess.ts';
import type { AuditChain } from './audit/audit-chain.ts';
import type { AuthorizationSigner } from './authorization.ts';
import { prepareSecurity } from './prepare.ts';
import { SecurityState } from './snapshot.ts';
import { securityStopReceipt } from './stop.ts';

/** What open incidents mean for a device. */
export interface DeviceThreats {
  /** HIGH or CRITICAL: its risk is two levels higher, and it takes two people. */
  openOn(device: LinearId): boolean;
  /** MEDIUM: its risk is one level higher. */
  reviewOn(device: LinearId): boolean;
}

const NO_THREATS: DeviceThreats = { openOn: () => false, reviewOn: () => false };

export interface SecurityTrackParts {
  readonly clock: Clock;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly audit: AuditChain;
  readonly signer: AuthorizationSigner;
  /** Quarantined at run time. */
  readonly heldInQuarantine: (device: LinearId) => boolean;
  /** Every hold on record; none where absent. */
  readonly holds?: () => readonly DeviceHold[];
  /** Under review after a conflict about it; nothing is where absent. */
  readonly underReview?: (device: LinearId) => boolean;
  readonly stopEngaged?: () => boolean;
  /** No incident is open anywhere where absent. */
  readonly threats?: DeviceThreats;
}

export class SecurityTrack implements Track {
  readonly name = 'security';
  readonly audit: AuditChain;
  readonly approvals: Approvals;
  readonly signer: AuthorizationSigner;
  readonly threats: DeviceThreats;
  readonly #parts: SecurityTrackParts;
  readonly #state: SecurityState;

  constructor(parts: SecurityTrackParts) {
    this.#parts = parts;
    this.audit = parts.audit;
    this.approvals = new Approvals(parts.clock);
    this.signer = parts.signer;
    this.threats = parts.threats ?? NO_THREATS;
    this.#state = new SecurityState({
      devices: parts.devices,
      isQuarantined: (device) => this.isQuarantined(device),
      holds: parts.holds ?? (() => []),
      incidentOn: (device) => this.threats.openOn(device),
      underReview: (device) => this.#underReview(device),
      stopEngaged: parts.stopEngaged ?? (() => false),
      auditWritable: () => this.audit.writable,
      auditSequence: () => this.audit.lastSequence,
    });
  }

  /** Every entry of the audit chain, once it is on disk. */
  noteEntry(entry: AuditEntry): void {
    this.#state.noteEntry(entry);
  }

  /** Security's part of the state of these devices, now. */
  deviceStates(devices: readonly LinearId[]): readonly SecurityDeviceState[] {
    return this.#state.states(devices);
  }

  #underReview(device: LinearId): boolean {
    return this.#parts.underReview?.(device) === true || this.threats.reviewOn(device);
  }

  isQuarantined(device: DeviceDescriptor): boolean {
    return (
      device.quarantined ||
      permanentlyQuarantined(device.id) ||
      this.#parts.heldInQuarantine(device.id)
    );
  }

  async assess(request: AssessRequest): Promise<Outcome<RiskAssessment>> {
    const devices: DeviceDescriptor[] = [];
    for (const id of devicesOf(request.plan)) {
      const device = this.#parts.devices.get(id);
      if (device === undefined) {
        const reasons = [`device ${id} is not on security's board`];
        return succeed({ track: 'security', level: RiskLevel.UNKNOWN, reasons });
      }
      devices.push(device);
    }
    return succeed(
      assessSecurityRisk(request.plan.type, devices, request.principal, {
        isQuarantined: (device) => this.isQuarantined(device),
        incidentOn: (device) => this.threats.openOn(device.id),
        underReview: (device) => this.#underReview(device.id),
      }),
    );
  }

  async prepare(_request: PrepareRequest): Promise<Outcome<PrepareVote>> {
    return prepareSecurity(this.audit.appends);
  }

  async commit(_request: CommitRequest): Promise<Outcome<CommitReceipt>> {
    return succeed({ effect: 'none', readings: [], durationMs: 0 });
  }

  async abort(_operationId: string): Promise<Outcome<void>> {
    return succeed(undefined);
  }

  async stop(_order: StopOrder): Promise<Outcome<StopReceipt>> {
    return succeed(securityStopReceipt(this.audit.appends, 0));
  }

  async snapshot(
    _deadline?: Deadline,
    devices?: readonly LinearId[],
  ): Promise<Outcome<SecuritySnapshot>> {
    return succeed(this.#state.snapshot(devices));
  }
}
