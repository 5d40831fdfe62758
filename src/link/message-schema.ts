// The shape of every body that one track may send another; what does not fit is refused before anything is done.
// Invariants: each shape names every member of its model type (the compiler checks); strings and lists are bounded.

import type { Fault } from '#foundation/fault';
import { FAULT_CATALOGUE, type FaultCode } from '#foundation/fault-catalogue';
import {
  AUTHORIZATION_KEYS_MAX,
  type Authorization,
  type AuthorizationKey,
  type AuthorizationKeys,
} from '#model/authorization';
import type { BusCounters } from '#model/bus';
import { DEVICE_COUNT_MAX } from '#model/device';
import { type AgentEvent, EventType, Severity } from '#model/event';
import { type DeviceHold, HOLD_KINDS } from '#model/hold';
import {
  type Intent,
  OperationType,
  type RegisterAccessRequest,
  type RegisterReading,
  type SafetyRequirements,
  type Target,
} from '#model/operation';
import type { SessionsEnded, StopRequest } from '#model/orchestrator-port';
import type {
  PlanGuards,
  ReadStep,
  RegisterPlan,
  RegisterReference,
  RegisterStep,
  ThermalGuard,
  WriteStep,
} from '#model/plan';
import {
  ClearanceLevel,
  COMPARTMENTS,
  type Credential,
  type Origin,
  type Principal,
} from '#model/principal';
import { type RiskAssessment, RiskLevel } from '#model/risk';
import {
  AttentionLevel,
  type BusState,
  type DeviceReading,
  DisplayState,
  type InterfaceDeviceState,
  type InterfaceSnapshot,
  type KernelDeviceState,
  type KernelSnapshot,
  OverallStatus,
  PowerState,
  type SecurityDeviceState,
  type SecuritySnapshot,
  SecurityStatus,
  type TrackSnapshot,
} from '#model/snapshot';
import {
  EmergencyPriority,
  STOP_REASON_LENGTH_MAX,
  STOP_TRIGGERED_BY_LENGTH_MAX,
  type StopCause,
  type StopOrder,
  type StopReceipt,
} from '#model/stop';
import type {
  AssessRequest,
  CommitReceipt,
  CommitRequest,
  LiftRequest,
  PrepareRequest,
  PrepareVote,
  SelectRequest,
  SupervisionOrder,
} from '#model/track';
import { TRACKS, type TrackName } from '#model/track-name';
import type { RecoveryRequest } from '#model/transaction';
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
  textMap,
  variant,
  word,
} from './shape.ts';

const TARGETS_MAX = DEVICE_COUNT_MAX;
const REGISTERS_PER_TARGET_MAX = 256;
const STEPS_MAX = 8192;
const REASONS_MAX = 64;
const SENTENCE_MAX = 1024;

/** Linear ids as far as any board may go; whether the board has the device is the tracks' question. */
export const deviceId = integer(0, DEVICE_COUNT_MAX - 1);
export const deviceIds = listOf(deviceId, DEVICE_COUNT_MAX);
const name = text(128, 1);
const GROUPS_MAX = 7;
const HOLDS_MAX = DEVICE_COUNT_MAX * HOLD_KINDS.length;
export const identifier = text(128, 1);
/** Longer than a justification may be, so that rules and not the link refuse it. */
const justification = text(4096);
const sentence = text(SENTENCE_MAX);
const track: Shape<TrackName> = oneOf(TRACKS);
const version = integer(0, Number.MAX_SAFE_INTEGER);
const clearance: Shape<ClearanceLevel> = oneOf(Object.values(ClearanceLevel));
const compartments = listOf(oneOf(COMPARTMENTS), COMPARTMENTS.length);
export const risk: Shape<RiskLevel> = oneOf(Object.values(RiskLevel));
const widthBits = oneOf([8, 16, 32, 64] as const);
export const digest = pattern(/^[0-9a-f]{64}$/, 'a SHA-256 in hexadecimal');

export const faultShape = object<Fault>(
  {
    code: oneOf(Object.keys(FAULT_CATALOGUE) as FaultCode[]),
    place: text(4096),
    finding: text(4096),
    consequence: text(4096),
    metal: oneOf(['untouched', 'touched', 'unknown'] as const),
    retryAfterMs: quantity,
    internal: text(4096),
  },
  ['retryAfterMs', 'internal'],
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

export const operationType: Shape<OperationType> = oneOf(Object.values(OperationType));

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
    selectForSeconds: integer(1, 86_400),
    involved: listOf(track, TRACKS.length),
    claims: text(200),
    interfaceRisk: riskAssessmentShape,
  },
  ['claims', 'interfaceRisk', 'selectForSeconds'],
);

const priority: Shape<EmergencyPriority> = oneOf(Object.values(EmergencyPriority));

export const stopRequestShape = object<StopRequest>({
  reason: justification,
  priority,
  devices: deviceIds,
  groups: listOf(integer(0, GROUPS_MAX - 1), GROUPS_MAX),
});

const reading = object<RegisterReading>(
  { device: deviceId, register: name, value: word, before: word, fault: faultShape },
  ['value', 'before', 'fault'],
);
const readings = listOf(reading, STEPS_MAX);

const reference = { device: deviceId, register: name, widthBits };
const guards = object<PlanGuards>({
  thermal: listOf(
    object<ThermalGuard>({
      ...reference,
      maximum: integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    }),
    DEVICE_COUNT_MAX,
  ),
  unchanged: listOf(object<RegisterReference>(reference), STEPS_MAX),
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
    guards,
    worstCaseMs: quantity,
    digest,
    basis: text(128),
    preview: readings,
    risk: riskAssessmentShape,
  },
  ['risk', 'preview'],
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

const keyId = pattern(/^[0-9a-f]{16}$/, 'the id of a key');
export const authorizationShape = object<Authorization>({
  operationId: identifier,
  planDigest: digest,
  basis: text(128),
  grantedTo: listOf(identifier, 16),
  expiresAtMs: quantity,
  keyId,
  signature: text(256, 1),
});
export const authorizationKeysShape = object<AuthorizationKeys>({
  life: identifier,
  keys: listOf(
    object<AuthorizationKey>({ keyId, publicKeyPem: text(512, 1), untilMs: nullable(quantity) }),
    AUTHORIZATION_KEYS_MAX,
  ),
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
  id: version,
  devices: deviceIds,
  source: oneOf(['kernel', 'security', 'interface', 'orchestrator'] as const),
  reason: text(STOP_REASON_LENGTH_MAX),
  priority,
  triggeredBy: text(STOP_TRIGGERED_BY_LENGTH_MAX),
  wallMs: quantity,
});
export const stopOrderShape = object<StopOrder>({ cause: stopCause });

const holdKind = oneOf(HOLD_KINDS);
const hold = object<DeviceHold>({
  device: deviceId,
  kind: holdKind,
  reason: text(4096),
  sinceWallMs: quantity,
});
export const holdsShape = listOf(hold, HOLDS_MAX);
export const supervisionShape = object<SupervisionOrder>({
  holds: holdsShape,
  writes: oneOf(['hold', 'allow'] as const),
  accounted: listOf(
    object<SupervisionOrder['accounted'][number]>({ device: deviceId, changeCount: version }),
    DEVICE_COUNT_MAX,
  ),
});
export const selectRequestShape = object<SelectRequest>({
  operationId: identifier,
  planDigest: digest,
  untilMs: quantity,
});
export const liftRequestShape = object<LiftRequest>({
  device: deviceId,
  kind: holdKind,
  authorization: authorizationShape,
});
export const recoveryRequestShape = object<RecoveryRequest>({
  operationId: identifier,
  plan: planShape,
  priors: readings,
  authorization: authorizationShape,
});

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
export const stopFindingShape = text(4096);
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

/** What kernel says of a stop that it executed; no cause where the latch was engaged without a word. */
export const stoppedShape = object<{
  readonly cause: StopCause | null;
  readonly receipt: StopReceipt;
}>({ cause: nullable(stopCause), receipt: stopReceiptShape });

const deviceState = object<KernelDeviceState>({
  device: deviceId,
  version,
  power: oneOf(Object.values(PowerState)),
  status: oneOf(Object.values(OverallStatus)),
  readings: listOf(object<DeviceReading>({ register: name, value: word }), 64),
  operationCount: version,
  lastAccessMs: quantity,
  lastFault: text(8192),
  inhibited: flag,
  holds: listOf(holdKind, HOLD_KINDS.length),
  changeCount: version,
  unexplained: text(8192),
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
  life: text(64),
  version,
  stopEngaged: flag,
  held: flag,
  devices: listOf(deviceState, DEVICE_COUNT_MAX),
  buses: listOf(busState, 256),
});
const securityDevice = object<SecurityDeviceState>({
  device: deviceId,
  version,
  status: oneOf(Object.values(SecurityStatus)),
  accessAuthorized: flag,
  requiredClearance: clearance,
  failedAccessAttempts: version,
  lastEventWallMs: quantity,
  auditEnabled: flag,
  auditSequence: version,
});
const interfaceDevice = object<InterfaceDeviceState>({
  device: deviceId,
  version,
  monitored: flag,
  display: oneOf(Object.values(DisplayState)),
  activeSessions: version,
  lastInteractionWallMs: quantity,
  notificationsPending: flag,
  attention: oneOf(Object.values(AttentionLevel)),
});
const securitySnapshot = object<SecuritySnapshot>({
  track: oneOf(['security'] as const),
  version,
  devices: listOf(securityDevice, DEVICE_COUNT_MAX),
  auditSequence: version,
  auditWritable: flag,
  quarantined: deviceIds,
});
const interfaceSnapshot = object<InterfaceSnapshot>({
  track: oneOf(['interface'] as const),
  version,
  devices: listOf(interfaceDevice, DEVICE_COUNT_MAX),
  sessions: version,
  pictureAgeMs: quantity,
});

export const snapshotShapes: Readonly<Record<TrackName, Shape<TrackSnapshot>>> = {
  kernel: kernelSnapshotShape,
  security: securitySnapshot,
  interface: interfaceSnapshot,
};

const EVENTS_MAX = 65_536;
export const eventsShape = listOf(
  object<AgentEvent>({
    sequence: version,
    type: oneOf(Object.values(EventType)),
    severity: oneOf(Object.values(Severity)),
    source: oneOf([...TRACKS, 'orchestrator'] as const),
    wallMs: quantity,
    data: textMap(64, 65_536),
  }),
  EVENTS_MAX,
);
export const sessionsEndedShape = object<SessionsEnded>({
  sessionIds: listOf(text(256, 1), 1_024),
  reason: text(4096),
});
