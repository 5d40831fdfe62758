import { beforeEach, expect, it } from 'vitest';
import type { AuditEntry, AuditEventName } from '#model/audit-entry';
import type { DeviceHold } from '#model/hold';
import { ClearanceLevel } from '#model/principal';
import { RiskLevel } from '#model/risk';
import { SecurityStatus } from '#model/snapshot';
import { SecurityState } from '#tracks/security/snapshot';
import { FORBIDDEN, HEATER, memoryDevice, PUMP, VALVE } from '../../../support/kernel-bench.ts';

const DEVICES = [
  memoryDevice(PUMP, 'pump', RiskLevel.LOW),
  { ...memoryDevice(VALVE, 'valve', RiskLevel.MODERATE), clearanceMinimum: ClearanceLevel.SECRET },
  memoryDevice(HEATER, 'heater', RiskLevel.CRITICAL),
  memoryDevice(FORBIDDEN, 'forbidden', RiskLevel.LOW, 'quarantined'),
];

let holds: DeviceHold[];
let incidents: Set<number>;
let reviews: Set<number>;
let stopEngaged: boolean;
let auditWritable: boolean;
let state: SecurityState;

beforeEach(() => {
  holds = [];
  incidents = new Set();
  reviews = new Set();
  stopEngaged = false;
  auditWritable = true;
  state = new SecurityState({
    devices: new Map(DEVICES.map((device) => [device.id, device])),
    isQuarantined: (device) => device.quarantined,
    holds: () => holds,
    incidentOn: (device) => incidents.has(device),
    underReview: (device) => reviews.has(device),
    stopEngaged: () => stopEngaged,
    auditWritable: () => auditWritable,
    auditSequence: () => 42,
  });
});

const of = (device: number) => {
  const [found] = state.states([device]);
  if (found === undefined) throw new Error(`device ${device}`);
  return found;
};
const hold = (kind: DeviceHold['kind']): DeviceHold => {
  return { device: PUMP, kind, reason: '', sinceWallMs: 1 };
};
const entry = (event: AuditEventName, sequence: number): AuditEntry =>
  ({ event, sequence, devices: [PUMP], wallMs: 1_000 + sequence }) as unknown as AuditEntry;

it('gives each device a version of its own, which moves only when its state does', () => {
  const versions = () => state.snapshot().devices.map(({ version }) => version);
  expect(versions()).toEqual([1, 1, 1, 1]);
  expect(versions()).toEqual([1, 1, 1, 1]);
  reviews.add(VALVE);
  expect(versions()).toEqual([1, 2, 1, 1]);
  expect(state.snapshot([VALVE]).devices).toHaveLength(1);
});

it('names the worst of what it knows of a device', () => {
  expect(of(PUMP)).toMatchObject({ status: SecurityStatus.NORMAL, accessAuthorized: true });
  holds = [hold('deactivated')];
  expect(of(PUMP)).toMatchObject({ status: SecurityStatus.RESTRICTED, accessAuthorized: true });
  holds = [hold('stopped')];
  expect(of(PUMP)).toMatchObject({ status: SecurityStatus.RESTRICTED, accessAuthorized: false });
  reviews.add(PUMP);
  expect(of(PUMP).status).toBe(SecurityStatus.UNDER_REVIEW);
  incidents.add(PUMP);
  expect(of(PUMP).status).toBe(SecurityStatus.ALERT);
  holds = [hold('deactivated'), hold('in-doubt')];
  expect(of(PUMP)).toMatchObject({ status: SecurityStatus.LOCKED, accessAuthorized: false });
  holds = [hold('in-doubt'), hold('quarantined')];
  expect(of(PUMP).status).toBe(SecurityStatus.QUARANTINED);
  expect(of(FORBIDDEN)).toMatchObject({
    status: SecurityStatus.QUARANTINED,
    accessAuthorized: false,
    requiredClearance: ClearanceLevel.COSMIC,
  });
});

it('lets nobody operate anything under a stop or without a record', () => {
  stopEngaged = true;
  expect(of(PUMP).accessAuthorized).toBe(false);
  stopEngaged = false;
  auditWritable = false;
  expect(of(PUMP)).toMatchObject({ accessAuthorized: false, auditEnabled: false });
});

it('knows the least clearance for reading each device', () => {
  expect(of(PUMP).requiredClearance).toBe(ClearanceLevel.RESTRICTED);
  expect(of(VALVE).requiredClearance).toBe(ClearanceLevel.SECRET);
  expect(of(HEATER).requiredClearance).toBe(ClearanceLevel.CONFIDENTIAL);
});

it('counts what was refused, and remembers the last entry and the last event of a device', () => {
  state.noteEntry(entry('OPERATION_COMPLETED', 5));
  expect(of(PUMP)).toMatchObject({
    failedAccessAttempts: 0,
    lastEventWallMs: 0,
    auditSequence: 5,
  });
  state.noteEntry(entry('OPERATION_REFUSED', 6));
  state.noteEntry(entry('QUARANTINE_PROBE', 7));
  state.noteEntry(entry('OPERATION_COMPLETED', 8));
  expect(of(PUMP)).toMatchObject({
    failedAccessAttempts: 2,
    lastEventWallMs: 1_007,
    auditSequence: 8,
  });
  expect(of(VALVE).auditSequence).toBe(0);
});

it('moves the version of the track with the quarantine and the record, not with each entry', () => {
  const { version } = state.snapshot();
  state.noteEntry(entry('OPERATION_REFUSED', 6));
  expect(state.snapshot().version).toBe(version);
  auditWritable = false;
  expect(state.snapshot()).toMatchObject({
    version: version + 1,
    quarantined: [FORBIDDEN],
    auditSequence: 42,
  });
});
