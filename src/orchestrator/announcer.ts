// Tells the record and the listeners what happened: one place for every audit entry and event that is not an operation's.
// Invariants: a stop and a quarantine wait for no record, but their record is made up for when the disk takes it again.

import type { Clock } from '#foundation/clock';
import { describeFault } from '#foundation/fault';
import type { Outcome } from '#foundation/outcome';
import {
  type AuditEntry,
  type AuditEventName,
  type AuditRecord,
  blankRecord,
} from '#model/audit-entry';
import { formatToken, type LinearId } from '#model/device';
import { EventType, Severity } from '#model/event';
import type { Incident, ThreatLevel } from '#model/incident';
import {
  CoordinationResult,
  type Intent,
  type OperationReceipt,
  operationName,
} from '#model/operation';
import type { StopReport } from '#model/orchestrator-port';
import type { Origin } from '#model/principal';
import { riskName } from '#model/risk';
import type { KernelDeviceState, TrackHealth } from '#model/snapshot';
import type { TrackName } from '#model/track-name';
import type { EventHub } from './event-hub.ts';
import type { AuditPort } from './ports.ts';

/** Between two tries to record a stop that the disk would not take. */
const RECORD_AGAIN_MS = 1_000;
/** Of each event, so that nothing else takes the places of stops. */
const UNRECORDED_MAX = 32;
const ALERT_SEVERITY: Readonly<Record<ThreatLevel, Severity>> = {
  NONE: Severity.INFO,
  LOW: Severity.INFO,
  MEDIUM: Severity.WARNING,
  HIGH: Severity.ERROR,
  CRITICAL: Severity.CRITICAL,
};

/** What was done already, whatever becomes of its entry. */
export interface Done {
  readonly event: AuditEventName;
  readonly actor: string;
  readonly origin: Origin | null;
  readonly devices: readonly LinearId[];
  readonly result: string;
  readonly reason: string;
  /** Runs in the transaction of the entry, each time that is tried. */
  readonly beside?: () => void;
}

export class Announcer {
  readonly #clock: Clock;
  readonly #events: EventHub;
  readonly #audit: AuditPort;
  readonly #shown = new Map<LinearId, string>();
  readonly #unrecorded = new Map<AuditEventName, number>();

  constructor(clock: Clock, events: EventHub, audit: AuditPort) {
    this.#clock = clock;
    this.#events = events;
    this.#audit = audit;
  }

  record(
    event: AuditEventName,
    actor: string,
    origin: Origin | null,
    devices: readonly LinearId[],
    result: string,
    more: Partial<AuditRecord> = {},
    beside?: () => void,
  ): Promise<Outcome<AuditEntry>> {
    const record = { ...blankRecord(event, actor), origin, devices, result, ...more };
    return this.#audit.append(record, beside);
  }

  operationDone(receipt: OperationReceipt, intent: Intent, actor: string): void {
    this.#events.publish({
      type: EventType.OPERATION_COMPLETED,
      severity: severityOf(receipt),
      source: 'orchestrator',
      data: {
        operation_id: receipt.operationId,
        operation: operationName(receipt.type),
        devices: intent.targets.map((target) => formatToken(target.device)).join(','),
        actor,
        result: String(receipt.result),
        effect: receipt.effect,
        risk: riskName(receipt.risk),
        ...(receipt.fault === undefined
          ? {}
          : { code: receipt.fault.code, finding: describeFault(receipt.fault) }),
      },
    });
  }

  quarantineProbe(actor: string, devices: readonly LinearId[], finding: string): void {
    this.#events.publish({
      type: EventType.SECURITY_ALERT,
      severity: Severity.CRITICAL,
      source: 'security',
      data: {
        reason: 'quarantine probe',
        actor,
        devices: devices.map(formatToken).join(','),
        finding,
      },
    });
  }

  /** Its sign-ins are refused from now on, or all it asks for where a person has to unlock it. */
  accountLocked(account: string, finding: string): void {
    this.#events.publish({
      type: EventType.SECURITY_ALERT,
      severity: Severity.WARNING,
      source: 'security',
      data: { reason: 'account locked', account, finding },
    });
  }

  /** Somebody at the machine itself gave an administrator a new way in. */
  administratorRecovered(account: string, finding: string): void {
    this.#events.publish({
      type: EventType.SECURITY_ALERT,
      severity: Severity.WARNING,
      source: 'security',
      data: { reason: 'administrator recovered', account, finding },
    });
  }

  incidentChanged(incident: Incident, change: 'opened' | 'escalated' | 'closed'): void {
    const { id, level, score, subject, devices, finding, closedBecause } = incident;
    this.#events.publish({
      type: EventType.SECURITY_ALERT,
      severity: change === 'closed' ? Severity.INFO : ALERT_SEVERITY[level],
      source: 'security',
      data: {
        reason: `incident ${change}`,
        incident_id: String(id),
        level,
        score: String(score),
        subject: `${subject.kind} ${subject.id}`,
        devices: devices.map(formatToken).join(','),
        finding: change === 'closed' ? closedBecause : finding,
        responses: incident.responses.join('; '),
      },
    });
  }

  stopped(actor: string, origin: Origin | null, reason: string, report: StopReport): void {
    this.#events.publish({
      type: EventType.EMERGENCY_STOP,
      severity: Severity.EMERGENCY,
      source: 'orchestrator',
      data: {
        reason,
        triggered_by: actor,
        scope: report.scope,
        success: String(report.success),
        requires_acknowledgment: 'true',
      },
    });
    const unsafe = report.receipts.flatMap((receipt) => receipt.unsafe);
    const result = report.success
      ? `${report.scope} stopped`
      : `${report.scope}: ${unsafe.length} devices not safe`;
    const { devices } = report;
    void this.insist({ event: 'EMERGENCY_STOP', actor, origin, devices, result, reason });
  }

  /** The first try to record it; it is tried again until the disk takes it, and then says how late it is. */
  async insist(done: Done, sinceWallMs = this.#clock.wallMs()): Promise<Outcome<AuditEntry>> {
    const { event, actor, origin, devices, result, reason, beside } = done;
    const lateMs = this.#clock.wallMs() - sinceWallMs;
    const told = lateMs < RECORD_AGAIN_MS ? result : `${result} (recorded ${lateMs} ms late)`;
    const entry = await this.record(event, actor, origin, devices, told, { reason }, beside);
    const waiting = this.#unrecorded.get(event) ?? 0;
    if (entry.ok || waiting >= UNRECORDED_MAX) return entry;
    this.#unrecorded.set(event, waiting + 1);
    this.#clock.after(RECORD_AGAIN_MS, () => {
      this.#unrecorded.set(event, (this.#unrecorded.get(event) ?? 1) - 1);
      void this.insist(done, sinceWallMs);
    });
    return entry;
  }

  /** Power or status of a device moved; the first look at a device is no change. */
  deviceSeen(state: KernelDeviceState): void {
    const shown = `${state.power}/${state.status}`;
    const before = this.#shown.get(state.device);
    this.#shown.set(state.device, shown);
    if (before === undefined || before === shown) return;
    this.#events.publish({
      type: EventType.DEVICE_STATE_CHANGED,
      severity: state.lastFault === '' ? Severity.INFO : Severity.WARNING,
      source: 'kernel',
      data: {
        device_id: String(state.device),
        token: formatToken(state.device),
        power_state: String(state.power),
        overall_status: String(state.status),
        finding: state.lastFault,
      },
    });
  }

  trackChanged(health: TrackHealth): void {
    const event = health.up ? 'TRACK_RETURNED' : 'TRACK_LOST';
    void this.record(event, health.track, null, [], health.finding);
    const finding = `${health.track}: ${health.finding}`;
    this.systemChanged(finding, health.up ? Severity.INFO : Severity.ERROR);
  }

  linkCorrupted(track: TrackName, finding: string): void {
    void this.record('LINK_FAULT', track, null, [], finding);
    this.systemChanged(`${track}: ${finding}`, Severity.CRITICAL);
  }

  /** A link refused or threw away messages; each sender was told, people hear it here. */
  linkStrained(track: TrackName, finding: string): void {
    void this.record('LINK_FAULT', track, null, [], finding);
    this.systemChanged(finding, Severity.WARNING);
  }

  auditAppended(entry: AuditEntry): void {
    this.#events.publish({
      type: EventType.AUDIT_ENTRY_CREATED,
      severity: Severity.INFO,
      source: 'security',
      data: {
        audit_sequence: String(entry.sequence),
        event: entry.event,
        actor: entry.actor,
        result: entry.result,
      },
    });
  }

  systemChanged(finding: string, severity: Severity): void {
    this.#events.publish({
      type: EventType.SYSTEM_STATUS_CHANGED,
      severity,
      source: 'orchestrator',
      data: { finding },
    });
  }
}

function severityOf(receipt: OperationReceipt): Severity {
  switch (receipt.result) {
    case CoordinationResult.SUCCESS:
      return Severity.INFO;
    case CoordinationResult.DENIED:
      return Severity.WARNING;
    case CoordinationResult.EMERGENCY_STOPPED:
      return Severity.CRITICAL;
    default:
      return receipt.effect === 'in-doubt' ? Severity.CRITICAL : Severity.ERROR;
  }
}
