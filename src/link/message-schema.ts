// The shape of every body that one track may send another; what does not fit is refused before anything is done.
// Invariants: each shape names every member of its model type (the compiler checks); strings and lists are bounded.

import type { Fault } from '#foundation/fault';
import { FAULT_CATALOGUE, type FaultCode } from '#foundation/fault-catalogue';
import type { Authorization } from '#model/authorization';
import type { BusCounters } from '#model/bus';
import { DEVICE_COUNT_MAX } from '#model/device';
import {
  type Intent,
  OperationType,
  type RegisterAccessRequest,
  type RegisterReading,
  type SafetyRequirements,
  type Target,
} from '#model/operation';
import type { StopRequest } from '#model/orchestrator-port';
import type { ReadStep, RegisterPlan, RegisterStep, WriteStep } from '#model/plan';
import {
  ClearanceLevel,
  COMPARTMENTS,
  type Credential,
  type Origin,
  type Principal,
} from '#model/principal';
import { type RiskAssessment, RiskLevel } from '#model/risk';
import {
  type BusState,
  type DeviceReading,
  type InterfaceSnapshot,
  type KernelDeviceState,
  type KernelSnapshot,
  OverallStatus,
  PowerState,
  type SecuritySnapshot,
  type TrackSnapshot,
} from '#model/snapshot';
import { EmergencyPriority, type StopCause, type StopOrder, type StopReceipt } from '#model/stop';
import type {
  AssessRequest,
  CommitReceipt,
  CommitRequest,
  PrepareRequest,
  PrepareVote,
} from '#model/track';
import { TRACKS, type TrackName } from '#model/track-name';
import {
  flag,
  integer,
  listOf,
  nullable,
  object,
  oneOf,
  pattern,
  quantity,
  type Shape,
  text,
  variant,
  word,
} from './shape.ts';

const TARGETS_MAX = DEVICE_COUNT_MAX;
const REGISTERS_PER_TARGET_MAX = 256;
const STEPS_MAX = 8192;
const REASONS_MAX = 64;
const SENTENCE_MAX = 1024;

/** Linear ids as far as any board may go; whether the board has the device is the tracks' question. */
const deviceId = integer(0, DEVICE_COUNT_MAX - 1);
const deviceIds = listOf(deviceId, DEVICE_COUNT_MAX);
const name = text(128, 1);
export const identifier = text(128, 1);
/** Longer than a justification may be, so that rules and not the link refuse it. */
const justification = text(4096);
const sentence = text(SENTENCE_MAX);
const track: Shape<TrackName> = oneOf(TRACKS);
const version = integer(0, Number.MAX_SAFE_INTEGER);
const clearance: Shape<ClearanceLevel> = oneOf(Object.values(ClearanceLevel));
const compartments = listOf(oneOf(COMPARTMENTS), COMPARTMENTS.length);
const risk: Shape<RiskLevel> = oneOf(Object.values(RiskLevel));
const widthBits = oneOf([8, 16, 32, 64] as const);
export const digest = pattern(/^[0-9a-f]{64}$/, 'a SHA-256 in hexadecimal');

export const faultShape = object<Fault>(
  {
    code: oneOf(Object.keys(FAULT_CATALOGUE) as FaultCode[]),
    place: text(4096),
    finding: text(4096),
    consequence: text(4096),
    metal: oneOf(['untouched', 'touched', 'unknown'] as const),
    internal: text(4096),
  },
  ['internal'],
);

export const originShape = object<Origin>({
  transport: oneOf(['grpc', 'rest', 'websocket', 'local'] as const),
  peer: text(256),
});

export const credentialShape = variant<Credential>({
  token: object({ kind: oneOf(['token'] as const), token: text(4096, 1) }),
  certificate: object({
    kind: oneOf(['certificate'] as const),
    uri: text(2048),
    fingerprint: text(128, 1),
  }),
  local: object({
    kind: oneOf(['local'] as const),
    uid: integer(0, 0xffff_ffff),
    gid: integer(0, 0xffff_ffff),
    pid: integer(0, 0x7fff_ffff),
  }),
});

const requirements = object<SafetyRequirements>({
  memoryProtectionRequired: flag,
  thermalMonitoringRequired: flag,
  maxExecutionTimeMs: integer(0, 0xffff_ffff),
  rollbackCapabilityRequired: flag,
  requiredClearance: clearance,
  dualAuthorizationRequired: flag,
  auditRequired: flag,
  requiredCompartments: compartments,
  userConfirmationRequired: flag,
  riskDisclosureRequired: flag,
  confirmationTimeoutSeconds: integer(0, 0xffff_ffff),
});

const target = object<Target>({
  device: deviceId,
  registers: listOf(
    object<RegisterAccessRequest>({ register: name, value: word }, ['value']),
    REGISTERS_PER_TARGET_MAX,
  ),
});

const operationType: Shape<OperationType> = oneOf(Object.values(OperationType));

export const riskAssessmentShape = object<RiskAssessment>({
  track,
  level: risk,
  reasons: listOf(sentence, REASONS_MAX),
});

export const intentShape = object<Intent>(
  {
    operationId: identifier,
    type: operationType,
    targets: listOf(target, TARGETS_MAX),
    requirements,
    justification,
    confirmedRisk: risk,
    dryRun: flag,
    involved: listOf(track, TRACKS.length),
    claims: text(200),
    interfaceRisk: riskAssessmentShape,
  },
  ['claims', 'interfaceRisk'],
);

const priority: Shape<EmergencyPriority> = oneOf(Object.values(EmergencyPriority));

export const stopRequestShape = object<StopRequest>({
  reason: justification,
  priority,
  devices: deviceIds,
});

const step = variant<RegisterStep>({
  read: object<ReadStep>({
    kind: oneOf(['read'] as const),
    device: deviceId,
    register: name,
    widthBits,
  }),
  write: object<WriteStep>({
    kind: oneOf(['write'] as const),
    device: deviceId,
    register: name,
    widthBits,
    mask: word,
    value: word,
    settleUs: integer(0, 60_000_000),
    expect: nullable(
      object<{ readonly mask: bigint; readonly value: bigint }>({ mask: word, value: word }),
    ),
    irreversible: flag,
  }),
});

export const planShape = object<RegisterPlan>(
  {
    type: operationType,
    steps: listOf(step, STEPS_MAX),
    worstCaseMs: quantity,
    digest,
    risk: riskAssessmentShape,
  },
  ['risk'],
);

const principal = object<Principal>({
  id: identifier,
  name: text(256),
  kind: oneOf(['person', 'machine'] as const),
  clearance,
  compartments,
  devices: nullable(deviceIds),
  underReview: flag,
});

export const authorizationShape = object<Authorization>({
  operationId: identifier,
  planDigest: digest,
  grantedTo: listOf(identifier, 16),
  expiresAtMs: quantity,
  signature: text(256, 1),
});

export const assessRequestShape = object<AssessRequest>({
  intent: intentShape,
  plan: planShape,
  principal,
});
export const prepareRequestShape = object<PrepareRequest>({
  operationId: identifier,
  planDigest: digest,
  authorization: authorizationShape,
});
export const commitRequestShape = object<CommitRequest>({
  operationId: identifier,
  planDigest: digest,
  authorization: authorizationShape,
  deadlineMs: quantity,
});

const stopCause = object<StopCause>({
  source: oneOf(['kernel', 'security', 'interface', 'orchestrator'] as const),
  reason: justification,
  priority,
  triggeredBy: text(128),
  wallMs: quantity,
});
export const stopOrderShape = object<StopOrder>({ cause: stopCause, devices: deviceIds });

const reading = object<RegisterReading>(
  { device: deviceId, register: name, value: word, before: word, fault: faultShape },
  ['value', 'before', 'fault'],
);
const readings = listOf(reading, STEPS_MAX);
export const prepareVoteShape = object<PrepareVote>({ priors: readings });
export const commitReceiptShape = object<CommitReceipt>(
  {
    effect: oneOf(['none', 'committed', 'rolled-back', 'in-doubt', 'stopped'] as const),
    readings,
    durationMs: quantity,
    fault: faultShape,
  },
  ['fault'],
);
export const stopReceiptShape = object<StopReceipt>({
  track,
  ok: flag,
  message: justification,
  safe: deviceIds,
  unsafe: listOf(
    object<{ readonly device: number; readonly finding: string }>({
      device: deviceId,
      finding: justification,
    }),
    DEVICE_COUNT_MAX,
  ),
  durationMs: quantity,
});

const deviceState = object<KernelDeviceState>({
  device: deviceId,
  power: oneOf(Object.values(PowerState)),
  status: oneOf(Object.values(OverallStatus)),
  readings: listOf(object<DeviceReading>({ register: name, value: word }), 64),
  operationCount: version,
  lastAccessMs: quantity,
  lastFault: text(8192),
  inhibited: flag,
});
const busCounters = object<BusCounters>({
  reads: version,
  writes: version,
  timeouts: version,
  corruptAnswers: version,
  noAnswers: version,
  otherFailures: version,
  resynchronizations: version,
  strayAnswers: version,
});
const busState = object<BusState>({
  id: name,
  kind: oneOf(['memory', 'pci', 'uio', 'sysfs', 'i2c', 'serial', 'modbus-tcp'] as const),
  open: flag,
  queueLength: version,
  counters: busCounters,
  finding: text(8192),
});
export const kernelSnapshotShape = object<KernelSnapshot>({
  track: oneOf(['kernel'] as const),
  version,
  stopEngaged: flag,
  held: flag,
  devices: listOf(deviceState, DEVICE_COUNT_MAX),
  buses: listOf(busState, 256),
});
const securitySnapshot = object<SecuritySnapshot>({
  track: oneOf(['security'] as const),
  version,
  auditSequence: version,
  auditWritable: flag,
  quarantined: deviceIds,
});
const interfaceSnapshot = object<InterfaceSnapshot>({
  track: oneOf(['interface'] as const),
  version,
  sessions: version,
  pictureAgeMs: quantity,
});

export const snapshotShapes: Readonly<Record<TrackName, Shape<TrackSnapshot>>> = {
  kernel: kernelSnapshotShape,
  security: securitySnapshot,
  interface: interfaceSnapshot,
};
