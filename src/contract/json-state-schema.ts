// Schemas of devices, their unified state, conflicts, holds, history and the system's status, each for its function.

import type { BusKind } from '#model/bus';
import { HOLD_KINDS } from '#model/hold';
import { OPERATION_NAMES } from '#model/operation';
import { OrchestratorState } from '#model/orchestrator-port';
import {
  AttentionLevel,
  DisplayState,
  OverallStatus,
  PowerState,
  SecurityStatus,
} from '#model/snapshot';
import { EmergencyPriority } from '#model/stop';
import {
  CONFLICT_ANSWERS,
  CONFLICT_RULES,
  ResolutionMethod,
  type ResolutionMethodName,
  SyncTrigger,
} from '#model/unified-state';
import {
  ClearanceNameSchema,
  DeviceRefSchema,
  deviceMembers,
  durationMs,
  EventSourceSchema,
  LinearIdSchema,
  RiskNameSchema,
  SequenceSchema,
  TimeOrNullSchema,
  TimeSchema,
  TokenTextSchema,
  TrackNameSchema,
  WordTextSchema,
} from './json-parts-schema.ts';
import type {
  acknowledgmentToJson,
  conflictToJson,
  deviceToJson,
  historyEntryToJson,
  holdToJson,
  seenDeviceToJson,
  statusToJson,
} from './json-state.ts';
import { Answer, named, type Schema, type SentBy } from './typed-schema.ts';

const { Text, Integer, Flag, Names, NamesOf, List, OrNull, Object: Members } = Answer;

export const HoldKindSchema = named(
  'HoldKind',
  Names(
    HOLD_KINDS,
    'in-doubt: nobody knows what the metal holds. stopped: under an emergency stop. deactivated: not activated since the ' +
      'stop was reset. quarantined: no access at all until two people release it.',
  ),
);
const BusKindSchema = named(
  'BusKind',
  Names(['memory', 'pci', 'uio', 'sysfs', 'i2c', 'serial', 'modbus-tcp']) satisfies Schema<BusKind>,
);
const OverallStatusSchema = named('DeviceStatus', NamesOf(OverallStatus));
const DisplaySchema = named('Display', NamesOf(DisplayState, 'How a panel is to show the device.'));
const SecurityStatusSchema = named('SecurityStatus', NamesOf(SecurityStatus));
const AttentionSchema = named('Attention', NamesOf(AttentionLevel));
const OpenConflictsSchema = List(Integer(), 'Ids of conflicts that wait for a person.');

const seenMembers = {
  id: LinearIdSchema,
  token: TokenTextSchema,
  name: Text('For people.'),
  slug: Text('Stable name for messages and the command line: `fan-controller`.'),
  group: Integer({ maximum: 6 }),
  groupName: Text(),
  index: Integer({ maximum: 11, description: 'Place within its group.' }),
  bus: Text('Id of the physical bus.'),
  busKind: BusKindSchema,
  profile: Text('The profile that its registers come from.'),
  baseRisk: RiskNameSchema,
  quarantined: Flag('For good, or by people: never touched.'),
  status: OverallStatusSchema,
  power: NamesOf(PowerState),
  stopped: Flag('An emergency stop covers it.'),
  inhibited: Flag('Kernel takes no write for it.'),
  holds: List(HoldKindSchema),
  stale: Flag('Last seen too long ago to be believed.'),
  security: OrNull(SecurityStatusSchema, 'null before the tracks were compared.'),
  risk: OrNull(RiskNameSchema, 'The present risk; null before the tracks were compared.'),
  display: DisplaySchema,
  attention: OrNull(AttentionSchema, 'null before the tracks were compared.'),
  openConflicts: OpenConflictsSchema,
  operationCount: Integer('Operations since the kernel process began.'),
  lastAccess: TimeOrNullSchema,
  lastFault: Text('Of the last access that failed; empty when the last one worked.'),
  unexplained: Text('Registers that changed without an operation; empty for none.'),
  readings: List(
    Members({ register: Text(), value: WordTextSchema }),
    'Last seen contents; registers whose reading has a side effect are never among them.',
  ),
};
export const DeviceSchema = named(
  'Device',
  Members(seenMembers, 'A device as it was last seen.') satisfies Schema<
    SentBy<typeof deviceToJson>
  >,
);

const UnifiedSchema = named(
  'UnifiedState',
  Members(
    {
      risk: RiskNameSchema,
      status: OverallStatusSchema,
      emergencyStopApplied: Flag(),
      lastChange: TimeOrNullSchema,
      changeCount: Integer(),
      security: Members({
        status: SecurityStatusSchema,
        accessAuthorized: Flag('Whether anyone at all may operate it now.'),
        requiredClearance: ClearanceNameSchema,
        failedAccessAttempts: Integer(),
        lastEvent: TimeOrNullSchema,
        auditEnabled: Flag(),
        auditSequence: SequenceSchema,
      }),
      interface: Members({
        monitored: Flag('Whether any client watches it.'),
        display: DisplaySchema,
        activeSessions: Integer(),
        lastInteraction: TimeOrNullSchema,
        notificationsPending: Flag(),
        attention: AttentionSchema,
      }),
      synchronization: Members({
        versions: Members(
          { kernel: Integer(), security: Integer(), interface: Integer() },
          'Each moves when that track changes what it says; kernel begins anew with its process.',
        ),
        lastSync: TimeOrNullSchema,
        trigger: NamesOf(SyncTrigger, 'Why the tracks were compared.'),
        conflictsDetected: Integer('Since the start.'),
        openConflicts: OpenConflictsSchema,
        staleTracks: List(TrackNameSchema, 'Tracks whose part is old because they do not answer.'),
      }),
    },
    'What kernel, security and interface together say about a device.',
  ),
);
/** Members of a device with its unified state. */
export const unifiedMembers = {
  ...seenMembers,
  unified: OrNull(UnifiedSchema, 'null before the tracks were compared.'),
};
export const UnifiedDeviceSchema = named(
  'UnifiedDevice',
  Members(unifiedMembers) satisfies Schema<SentBy<typeof seenDeviceToJson>>,
);

export const AcknowledgmentSchema = named(
  'StopAcknowledgment',
  Members(
    { stopId: Integer(), by: Text('Account.'), at: TimeSchema },
    'Who has seen which stop.',
  ) satisfies Schema<SentBy<typeof acknowledgmentToJson>>,
);

export const HoldSchema = named(
  'Hold',
  Members(
    { ...deviceMembers, kind: HoldKindSchema, reason: Text(), since: TimeSchema },
    'Why a device may not be operated for now.',
  ) satisfies Schema<SentBy<typeof holdToJson>>,
);

const StopCauseSchema = named(
  'StopCause',
  Members({
    id: Integer('0 until the stop is on record.'),
    scope: Names(['whole system', 'devices']),
    devices: List(DeviceRefSchema, 'Empty for the whole system.'),
    source: EventSourceSchema,
    reason: Text(),
    priority: NamesOf(EmergencyPriority),
    triggeredBy: Text('Account, `local-console`, or the track that tripped by itself.'),
    at: TimeSchema,
  }),
);
const StopTestSchema = Members(
  {
    ok: Flag(),
    finding: Text(),
    at: TimeSchema,
    durationMs: durationMs("From ringing the bell to kernel's answer."),
  },
  'The last test of the stop path.',
);
const SelectionSchema = named(
  'Selection',
  Members(
    {
      operationId: Text(),
      by: Text('Account that alone may operate or release it.'),
      operation: Text({ enum: OPERATION_NAMES }),
      devices: List(DeviceRefSchema),
      until: TimeSchema,
    },
    'Devices held for an operation that is to follow.',
  ),
);
export const StateSchema = named('State', NamesOf(OrchestratorState));

export const StatusSchema = named(
  'Status',
  Members({
    state: StateSchema,
    findings: List(Text(), 'Why it is not READY, each a sentence.'),
    stopEngaged: Flag(),
    stopCauses: List(StopCauseSchema),
    stopAcknowledgments: List(AcknowledgmentSchema),
    stopTest: OrNull(StopTestSchema, 'null before the first.'),
    holds: List(HoldSchema),
    conflictsOpen: Integer('Conflicts that wait for a person.'),
    selections: List(SelectionSchema),
    tracks: List(Members({ track: TrackNameSchema, up: Flag(), finding: Text() })),
    activeOperations: Integer(),
    auditSequence: SequenceSchema,
    bootId: Text(),
    board: Members({ name: Text(), digest: Text('SHA-256 of the board, hexadecimal.') }),
  }) satisfies Schema<SentBy<typeof statusToJson>>,
);

const ConflictAnswerSchema = named('ConflictAnswer', Names(CONFLICT_ANSWERS, 'The safest first.'));
export const ConflictSchema = named(
  'Conflict',
  Members(
    {
      id: Integer(),
      rule: Names(CONFLICT_RULES),
      ...deviceMembers,
      finding: Text(),
      positions: List(
        Members({
          track: TrackNameSchema,
          value: Text('What this track says about the matter.'),
          answer: ConflictAnswerSchema,
        }),
      ),
      method: Names(
        Object.keys(ResolutionMethod).filter((name) => name !== 'UNKNOWN') as [
          ResolutionMethodName,
        ],
      ),
      opened: TimeSchema,
      deadline: TimeOrNullSchema,
      answer: OrNull(ConflictAnswerSchema, 'null while it is open.'),
      resolvedBy: Text('Person, method, `deadline` or `gone`; empty while it is open.'),
      resolved: TimeOrNullSchema,
    },
    'What the tracks disagree about.',
  ) satisfies Schema<SentBy<typeof conflictToJson>>,
);

export const HistoryEntrySchema = named(
  'HistoryEntry',
  Members({
    ...deviceMembers,
    at: TimeSchema,
    what: Text('What changed.'),
    from: Text(),
    to: Text(),
  }) satisfies Schema<SentBy<typeof historyEntryToJson>>,
);
