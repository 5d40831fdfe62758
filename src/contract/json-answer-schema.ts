// Schemas of problems, receipts, registers, sessions, approvals and stop reports, each for its function.

import type { SignInWay } from '#model/account';
import {
  CoordinationResult,
  type EffectOutcome,
  OPERATION_NAMES,
  type OperationState,
} from '#model/operation';
import type { Principal, Transport } from '#model/principal';
import type { RegisterAccess } from '#model/register';
import type {
  approvalToJson,
  problemOf,
  receiptToJson,
  registerToJson,
  sessionToJson,
  stopReportToJson,
} from './json-answer.ts';
import {
  ClearanceNameSchema,
  CompartmentsSchema,
  DeviceRefSchema,
  deviceMembers,
  durationMs,
  faultMembers,
  LinearIdSchema,
  RetrySchema,
  RiskNameSchema,
  SentencesSchema,
  TimeSchema,
  TrackNameSchema,
  WordTextSchema,
} from './json-parts-schema.ts';
import { unifiedMembers } from './json-state-schema.ts';
import { Answer, named, type Schema, type SentBy } from './typed-schema.ts';

const { Text, Integer, Flag, Names, NamesOf, List, Maybe, OrNull, Object: Members } = Answer;

const FaultSchema = named('Fault', Members(faultMembers, 'What went wrong with one part.'));

export const WaySchema = named(
  'SignInWay',
  Names(['password', 'token', 'certificate', 'local']) satisfies Schema<SignInWay>,
);
export const TransportSchema = Names([
  'grpc',
  'rest',
  'websocket',
  'local',
]) satisfies Schema<Transport>;
export const PrincipalKindSchema = Names(['person', 'machine']) satisfies Schema<Principal['kind']>;
export const ScopeSchema = OrNull(
  List(Text()),
  'Rows of the operation table it is good for; null for all that its account may.',
);
export const DevicesOrAllSchema = OrNull(List(LinearIdSchema), 'null for every device.');
/** SHA-256, hexadecimal. */
export const DigestSchema = Text({
  pattern: '^[0-9a-f]{64}$',
  description: 'SHA-256, hexadecimal.',
});
const PlanDigestSchema = Text({
  pattern: '^([0-9a-f]{64})?$',
  description: 'SHA-256 of the exact plan, by which it is approved; empty before there is one.',
});

const ReadingSchema = named(
  'Reading',
  Members(
    {
      ...deviceMembers,
      register: Text(),
      value: Maybe(WordTextSchema),
      before: Maybe(WordTextSchema),
      fault: Maybe(FaultSchema),
    },
    'A register after the operation: `value` where it could be read, `before` where it was read before a write.',
  ),
);
const PreviewSchema = named(
  'WritePreview',
  Members(
    {
      ...deviceMembers,
      register: Text(),
      before: Maybe(WordTextSchema),
      after: Maybe(WordTextSchema),
      rollback: Text('How the write would be undone, or why it cannot be.'),
    },
    'One write of a plan.',
  ),
);
const AssessmentSchema = named(
  'Assessment',
  Members({
    track: TrackNameSchema,
    risk: RiskNameSchema,
    reasons: List(Text(), 'In the order applied.'),
  }),
);
const TrackResultSchema = Members({
  track: TrackNameSchema,
  ok: Flag(),
  durationMs: durationMs('Spent by this track.'),
  fault: Maybe(FaultSchema),
});

export const ReceiptSchema = named(
  'Receipt',
  Members(
    {
      operationId: Text(),
      operation: named('OperationName', Names(OPERATION_NAMES)),
      state: Names([
        'INITIALIZING',
        'SAFETY_CHECKING',
        'AUTHORIZING',
        'EXECUTING',
        'COMPLETED',
        'FAILED',
        'EMERGENCY_STOPPED',
      ]) satisfies Schema<OperationState>,
      result: NamesOf(CoordinationResult),
      risk: RiskNameSchema,
      reasons: List(Text(), 'Why this risk.'),
      effect: Names(
        ['none', 'committed', 'rolled-back', 'in-doubt', 'stopped'],
        'Nothing written, all writes stand, all undone, nobody knows, or cut short by an emergency stop.',
      ) satisfies Schema<EffectOutcome>,
      planDigest: PlanDigestSchema,
      readings: List(ReadingSchema),
      tracks: List(TrackResultSchema),
      auditSequence: Integer('Sequence of the audit entry about it; 0 while there is none.'),
      durationMs: durationMs('Of the whole operation.'),
      fault: Maybe(FaultSchema),
      transactions: Maybe(List(Text(), 'Of a dry run: `write fan-controller.duty 0x00000037`.')),
      approvalsNeeded: Maybe(List(Text(), 'People still needed, with what each needs.')),
      preview: Maybe(List(PreviewSchema, 'Of a dry run, the last write first.')),
      assessments: Maybe(List(AssessmentSchema, 'Of a dry run.')),
      worstCaseMs: Maybe(durationMs('Of a dry run: upper bound of the execution time.')),
      selectedUntil: Maybe(OrNull(TimeSchema, 'Of a selection: until when the devices are held.')),
    },
    'What became of an operation.',
  ) satisfies Schema<SentBy<typeof receiptToJson>>,
);

const problemMembers = {
  type: Text('`urn:dsmil:fault:` and the code: a name, no page.'),
  title: Text('What to do.'),
  status: Integer({ minimum: 400, maximum: 599, description: 'As in the head of the answer.' }),
  detail: Text('Place, finding and consequence in one sentence, for people.'),
  ...faultMembers,
  retry: RetrySchema,
};
export const ProblemSchema = named(
  'Problem',
  Members(problemMembers, 'RFC 9457 problem details.') satisfies Schema<SentBy<typeof problemOf>>,
);
/** What a row about an operation answers when it was not carried out. */
export const OperationProblemSchema = named(
  'OperationProblem',
  Members(
    { ...problemMembers, operation: Maybe(ReceiptSchema) },
    'RFC 9457 problem details, with the receipt of the operation once the request had become one.',
  ),
);

const DecimalSchema = Text({
  pattern: '^-?[0-9]{1,20}$',
  description: 'Decimal; raw, not scaled.',
});
const RegisterSchema = named(
  'Register',
  Members(
    {
      name: Text(),
      widthBits: Answer.OneOf([8, 16, 32, 64].map((width) => ({ const: width }))) as Schema<
        8 | 16 | 32 | 64
      >,
      access: Names(
        ['ro', 'rw', 'wo', 'w1c', 'rc'],
        'w1c: a one written clears the bit. rc: reading clears the register.',
      ) satisfies Schema<RegisterAccess>,
      precious: Flag('Reading has a side effect: read only when asked for by name.'),
      volatile: Flag('Changes by itself.'),
      signed: Flag("Two's complement when shown and compared with limits."),
      unit: Text('Of the scaled value: `milli-degC`, `rpm`; or empty.'),
      scale: Answer.Number('Scaled value = raw value * scale.'),
      description: Text(),
      limits: OrNull(
        Members({ minimum: DecimalSchema, maximum: DecimalSchema }),
        'Of a written value, inclusive; null for what the width allows.',
      ),
      maxStep: OrNull(DecimalSchema, 'Largest change by one write; null for any.'),
      reservedMask: WordTextSchema,
      safeValue: OrNull(WordTextSchema, 'Written when the system stops; null leaves it alone.'),
      riskFloor: RiskNameSchema,
      fields: List(Members({ name: Text(), bitLow: Integer(), bitHigh: Integer() })),
    },
    'What a register says about itself; where it lies is never told.',
  ) satisfies Schema<SentBy<typeof registerToJson>>,
);
export const DeviceWithRegistersSchema = named(
  'DeviceWithRegisters',
  Members({ ...unifiedMembers, registers: List(RegisterSchema) }),
);

const sessionMembers = {
  id: Text('Account.'),
  name: Text('For people.'),
  kind: PrincipalKindSchema,
  clearance: ClearanceNameSchema,
  compartments: CompartmentsSchema,
  devices: DevicesOrAllSchema,
  administrator: Flag(),
  way: WaySchema,
  scope: ScopeSchema,
  expiresAt: TimeSchema,
};
export const SessionSchema = named(
  'Session',
  Members(sessionMembers, 'Who is signed in, for what and until when.') satisfies Schema<
    SentBy<typeof sessionToJson>
  >,
);
export const OpenedSessionSchema = named(
  'OpenedSession',
  Members({
    ...sessionMembers,
    token: Maybe(Text('Opens the session on every transport; only where `bearer` asked for it.')),
  }),
);

export const ApprovalSchema = named(
  'Approval',
  Members(
    {
      planDigest: PlanDigestSchema,
      operation: Text(),
      devices: List(DeviceRefSchema),
      requestedBy: Text('Account.'),
      justification: Text(),
      risk: RiskNameSchema,
      transactions: SentencesSchema,
      expiresAt: TimeSchema,
      approvedBy: Text('Account; empty while it is open.'),
    },
    'A plan that waits for a second person, or was approved.',
  ) satisfies Schema<SentBy<typeof approvalToJson>>,
);

const UnsafeSchema = List(
  Members({ ...deviceMembers, finding: Text() }),
  'Devices that did not take their safe values, and why.',
);
export const StopReportSchema = named(
  'StopReport',
  Members(
    {
      success: Flag('Every track gave its receipt and every device is safe.'),
      scope: Text('What stopped, in words.'),
      wholeSystem: Flag(),
      devices: List(DeviceRefSchema, 'Devices covered; empty for the whole system.'),
      unsafe: UnsafeSchema,
      durationMs: durationMs('Until the last receipt.'),
      tracks: List(
        Members({
          track: TrackNameSchema,
          ok: Flag(),
          message: Text(),
          durationMs: durationMs('Until this receipt.'),
          safe: List(DeviceRefSchema, 'Devices now at their safe values.'),
          unsafe: UnsafeSchema,
        }),
      ),
    },
    'What an emergency stop did.',
  ) satisfies Schema<SentBy<typeof stopReportToJson>>,
);
