// Builds threat detection: the monitor over the audit chain, what it does by itself, and its desk.

import type { Clock } from '#foundation/clock';
import type { DurableStore } from '#foundation/durable-store';
import { type DeviceDescriptor, type LinearId, permanentlyQuarantined } from '#model/device';
import type { StopReport, StopRequest } from '#model/orchestrator-port';
import type { SafetyPolicy } from '#model/safety-policy';
import { EmergencyPriority } from '#model/stop';
import type { EventSource } from '#model/track-name';
import { SyncTrigger } from '#model/unified-state';
import type { Announcer } from '#orchestrator/announcer';
import type { ThreatPort } from '#orchestrator/ports';
import type { AccountPort, SessionControl } from '#tracks/security/ports';
import { incidentDesk } from '#tracks/security/threats/incident-desk';
import { IncidentResponses } from '#tracks/security/threats/incident-responses';
import { ThreatMonitor, type WatchedChain } from '#tracks/security/threats/threat-monitor';

export interface ThreatParts {
  readonly clock: Clock;
  readonly store: DurableStore;
  readonly bootId: string;
  readonly policy: SafetyPolicy;
  readonly devices: ReadonlyMap<LinearId, DeviceDescriptor>;
  readonly isQuarantined: (device: DeviceDescriptor) => boolean;
  readonly audit: WatchedChain;
  readonly announcer: Announcer;
  readonly accounts: AccountPort;
  readonly sessions: Pick<SessionControl, 'lockAccount'>;
  /** The account is locked until people unlock it. */
  readonly lockStands: (account: string) => boolean;
  readonly stop: (
    request: StopRequest,
    source: EventSource,
    triggeredBy: string,
  ) => Promise<StopReport>;
  readonly endSelections: (devices: readonly LinearId[], reason: string, actor: string) => void;
  readonly noteState: (trigger: SyncTrigger, devices: readonly LinearId[]) => void;
  readonly onError: (error: unknown, where: string) => void;
  /** For the log of this machine. */
  readonly onNote: (detail: object, message: string) => void;
}

export interface ComposedThreats {
  readonly monitor: ThreatMonitor;
  readonly port: ThreatPort;
  readonly handlers: ReturnType<typeof incidentDesk>;
}

/** Named in the state of the system; the list of incidents has the others. */
const FINDINGS_MAX = 5;

export function composeThreats(parts: ThreatParts): ComposedThreats {
  const { clock, store, bootId, devices, isQuarantined, audit, announcer, accounts } = parts;
  const responses = new IncidentResponses({
    devices,
    isQuarantined,
    lockAccount: (account, reason) => parts.sessions.lockAccount(account, reason),
    administrators: () =>
      accounts
        .all()
        .filter(({ administrator, enabled, kind }) => administrator && enabled && kind === 'person')
        .map(({ id }) => id)
        .filter((id) => !parts.lockStands(id)),
    stop: async (affected, reason) => {
      const request = { reason, priority: EmergencyPriority.HIGH, devices: affected, groups: [] };
      const report = await parts.stop(request, 'security', 'security');
      announcer.stopped('security', null, reason, report);
      parts.endSelections(report.devices, 'stopped', 'security');
      return report.success
        ? `stopped: ${report.scope}`
        : `not everything is stopped: ${report.scope}`;
    },
  });
  const monitor = new ThreatMonitor({
    clock,
    bootId,
    policy: parts.policy.threats,
    store,
    audit,
    responses,
    isAccount: (name) => accounts.account(name) !== undefined,
    forbidden: (id) => permanentlyQuarantined(id) || devices.get(id)?.quarantined === true,
    onIncident: (incident, change) => {
      announcer.incidentChanged(incident, change);
      if (incident.devices.length > 0)
        parts.noteState(SyncTrigger.STATE_CHANGE_EVENT, incident.devices);
      parts.onNote({ incident }, `incident ${change}`);
    },
    onError: parts.onError,
  });
  const { incidents } = monitor;
  return {
    monitor,
    port: {
      watches: (account) => incidents.watches(account),
      probed: (device, actor) => monitor.probed(device, actor),
      findings: () => findingsOf(monitor),
    },
    handlers: incidentDesk({ incidents, report: (subject) => monitor.report(subject) }),
  };
}

function findingsOf({ incidents }: ThreatMonitor): readonly string[] {
  const grave = incidents.grave();
  const named = grave.slice(0, FINDINGS_MAX).map(({ id, level, subject, finding }) => {
    return `incident ${id} (${level}) is open, ${subject.kind} ${subject.id}: ${finding}`;
  });
  const more = grave.length - named.length;
  return more > 0 ? [...named, `${more} more incidents of HIGH or CRITICAL are open`] : named;
}
