// Rights, incidents and checkpoints of the audit chain on the wire.

import { fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import type { Right } from '#model/account';
import type { AdministrationAnswer, AdministrationRequest } from '#model/administration';
import type { Incident, ThreatLevel } from '#model/incident';
import { OperationType } from '#model/operation';
import { operationTypeFromWire } from './enumerations.ts';
import * as appliance from './generated/dsmil/appliance/v1/appliance.ts';
import { devicesFromJson } from './json-administration.ts';
import { timestampOrNone, timestampToWire } from './time-message.ts';

const LIST_MAX = 128;
const LEVELS: Readonly<Record<ThreatLevel, appliance.ThreatLevel>> = {
  NONE: appliance.ThreatLevel.THREAT_NONE,
  LOW: appliance.ThreatLevel.THREAT_LOW,
  MEDIUM: appliance.ThreatLevel.THREAT_MEDIUM,
  HIGH: appliance.ThreatLevel.THREAT_HIGH,
  CRITICAL: appliance.ThreatLevel.THREAT_CRITICAL,
};

/** Nothing named asks about every row; devices without an operation are asked about as for reading. */
export function rightsFromWire(
  request: appliance.ExplainRightsRequest,
): Outcome<AdministrationRequest<'rights'>> {
  const { operations, deviceIds, operationType } = request;
  if (operations.length > LIST_MAX || deviceIds.length > LIST_MAX) {
    const finding = `has more than ${LIST_MAX} members`;
    return refuse(fault('REQUEST_MALFORMED', { place: 'rights', finding }));
  }
  if (!operations.every((name) => /^[A-Za-z]{1,64}$/.test(name))) {
    const finding = 'names what cannot be a row of the operation table';
    return refuse(fault('REQUEST_MALFORMED', { place: 'rights.operations', finding }));
  }
  const devices = devicesFromJson(deviceIds, 'rights.device_ids');
  if (!devices.ok) return devices;
  const type = operationTypeFromWire(operationType);
  return succeed({
    operations,
    devices: devices.value,
    type: type === OperationType.UNKNOWN ? OperationType.READ : type,
  });
}

export function rightToWire(right: Right): appliance.Right {
  const { operation, permitted, missing, who, conduct } = right;
  return { operation, permitted, missing: [...missing], who: [...who], conduct: [...conduct] };
}

export function incidentToWire(incident: Incident): appliance.Incident {
  return {
    id: BigInt(incident.id),
    subjectKind: incident.subject.kind,
    subjectId: incident.subject.id,
    deviceIds: [...incident.devices],
    actor: incident.actor,
    level: LEVELS[incident.level],
    score: Math.max(0, Math.round(incident.score)),
    finding: incident.finding,
    indicators: incident.indicators.map(({ name, points, finding, entries }) => ({
      name,
      points: Math.max(0, Math.round(points)),
      finding,
      entries: entries.map(BigInt),
    })),
    responses: [...incident.responses],
    opened: timestampToWire(incident.openedWallMs),
    changed: timestampToWire(incident.changedWallMs),
    closed: timestampOrNone(incident.closedWallMs),
    closedBy: incident.closedBy,
    closedBecause: incident.closedBecause,
  };
}

export function checkpointToWire(
  answer: AdministrationAnswer<'auditCheckpoint'>,
): appliance.GetAuditCheckpointResponse {
  const { checkpoint, publicKeyPem } = answer;
  if (checkpoint === null) return { checkpoint: undefined, publicKeyPem };
  const { sequence, hash, wallMs, keyId, signature } = checkpoint;
  return {
    checkpoint: { sequence: BigInt(sequence), hash, wallMs: BigInt(wallMs), keyId, signature },
    publicKeyPem,
  };
}
