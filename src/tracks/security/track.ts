// Track B: judges people and plans, signs what may be done, keeps the record.

import type { Clock } from '#foundation/clock';
import { type Outcome, succeed } from '#foundation/outcome';
import { type DeviceDescriptor, type LinearId, permanentlyQuarantined } from '#model/device';
import { devicesOf } from '#model/plan';
import { type RiskAssessment, RiskLevel } from '#model/risk';
import type { SecuritySnapshot } from '#model/snapshot';
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
import type { AuditChain } from './audit-chain.ts';
import type { AuthorizationSigner } from './authorization.ts';
import { prepareSecurity } from './prepare.ts';
import type { Principals } from './principals.ts';
import { SecurityState } from './snapshot.ts';
import { securityStopReceipt } from './stop.ts';
import { Threats } from './threats.ts';

export interface SecurityTrackParts {
  readonly clock: Clock;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly audit: AuditChain;
  readonly principals: Principals;
  readonly signer: AuthorizationSigner;
  /** Quarantined at run time. */
  readonly heldInQuarantine: (device: LinearId) => boolean;
}

export class SecurityTrack implements Track {
  readonly name = 'security';
  readonly audit: AuditChain;
  readonly principals: Principals;
  readonly approvals: Approvals;
  readonly signer: AuthorizationSigner;
  readonly threats: Threats;
  readonly #parts: SecurityTrackParts;
  readonly #state = new SecurityState();

  constructor(parts: SecurityTrackParts) {
    this.#parts = parts;
    this.audit = parts.audit;
    this.principals = parts.principals;
    this.approvals = new Approvals(parts.clock);
    this.signer = parts.signer;
    this.threats = new Threats(parts.clock);
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
      }),
    );
  }

  async prepare(_request: PrepareRequest): Promise<Outcome<PrepareVote>> {
    return prepareSecurity(this.audit.writable);
  }

  async commit(_request: CommitRequest): Promise<Outcome<CommitReceipt>> {
    return succeed({ effect: 'none', readings: [], durationMs: 0 });
  }

  async abort(_operationId: string): Promise<Outcome<void>> {
    return succeed(undefined);
  }

  async stop(_order: StopOrder): Promise<Outcome<StopReceipt>> {
    return succeed(securityStopReceipt(this.audit.writable, 0));
  }

  async snapshot(): Promise<Outcome<SecuritySnapshot>> {
    const quarantined = [...this.#parts.devices.values()].filter((device) =>
      this.isQuarantined(device),
    );
    return succeed(
      this.#state.snapshot(
        this.audit.lastSequence,
        this.audit.writable,
        quarantined.map((device) => device.id),
      ),
    );
  }
}
