// What each row of the operation table answers over REST when it succeeds: schema, media type, further statuses, headers.
// Invariants: describes and nothing else, so an answer is never checked or made by it; loaded with the description.

import { ADMINISTRATION_ANSWERS } from '#contract/json-administration-answer-schema';
import {
  ApprovalSchema,
  DeviceWithRegistersSchema,
  OpenedSessionSchema,
  ReceiptSchema,
  SessionSchema,
  StopReportSchema,
} from '#contract/json-answer-schema';
import { AuditEntrySchema, ExportLineSchema } from '#contract/json-audit-schema';
import type { JsonSchema } from '#contract/json-schema';
import {
  AcknowledgmentSchema,
  ConflictSchema,
  DeviceSchema,
  HistoryEntrySchema,
  HoldSchema,
  StateSchema,
  StatusSchema,
  UnifiedDeviceSchema,
} from '#contract/json-state-schema';
import { Answer, named, type Schema, type Static } from '#contract/typed-schema';
import type { RestKey } from '#model/operation-table';
import type { ResetProgress } from '#model/orchestrator-port';

export interface RowAnswer {
  readonly schema: JsonSchema;
  /** Left out for JSON. */
  readonly mediaType?: string;
  /** Statuses besides 200 that come with the same body. */
  readonly also?: readonly { readonly status: number; readonly meaning: string }[];
  readonly setsCookie?: 'always' | 'unless-bearer';
  /** `operation`: its problems may hold the receipt of the operation, and any fault of the metal may be the reason. */
  readonly problems?: 'operation';
}

const { Text, Integer, Flag, List, Object: Members } = Answer;

const json = <S extends JsonSchema>(schema: S) => ({ schema }) as const;
const receipt = { schema: ReceiptSchema, problems: 'operation' } as const;
const nothing = json(Members({}));
const stale = Flag('The picture is old, because kernel or security does not answer.');
const ProgressSchema = named(
  'ReleaseProgress',
  Members({
    released: Flag('False when one more person has to ask.'),
    message: Text('For people.'),
  }) satisfies Schema<ResetProgress>,
);

const HealthSchema = named(
  'Health',
  Members({
    healthy: Flag('READY, and every track answers.'),
    state: StateSchema,
    stopEngaged: Flag(),
    tracks: Answer.Dictionary(Flag(), 'Whether each track is up.'),
  }),
);

const { exportAudit: _page, login: _signIn, ...administration } = ADMINISTRATION_ANSWERS;
type Administered = {
  readonly [K in keyof typeof administration]: { readonly schema: (typeof administration)[K] };
};
const administered = Object.fromEntries(
  Object.entries(administration).map(([key, schema]) => [key, { schema }]),
) as Administered;

export const ANSWERS = {
  ...administered,
  health: {
    schema: HealthSchema,
    also: [{ status: 503, meaning: 'Not READY, or a track does not answer.' }],
  },
  describe: json(Answer.Open<object>('OpenAPI 3.1.')),
  login: { schema: OpenedSessionSchema, setsCookie: 'unless-bearer' },
  logout: { ...nothing, setsCookie: 'always' },
  me: json(SessionSchema),
  status: json(StatusSchema),
  metrics: {
    schema: Text('Prometheus text exposition format.'),
    mediaType: 'text/plain',
  },
  devices: json(Members({ stale, devices: List(DeviceSchema) })),
  device: json(DeviceWithRegistersSchema),
  synchronize: json(
    Members({
      stale,
      finding: Text('Why the tracks were not compared; empty when they were.'),
      devices: List(UnifiedDeviceSchema),
    }),
  ),
  history: json(Members({ history: List(HistoryEntrySchema, 'The newest first.') })),
  releaseDevice: json(ProgressSchema),
  quarantineDevice: json(HoldSchema),
  conflicts: json(Members({ conflicts: List(ConflictSchema, 'The open ones first.') })),
  resolveConflict: json(ConflictSchema),
  readRegisters: receipt,
  operate: receipt,
  operateSelected: receipt,
  releaseSelected: nothing,
  operations: json(Members({ operations: List(ReceiptSchema) })),
  operation: json(ReceiptSchema),
  approvals: json(Members({ approvals: List(ApprovalSchema) })),
  approve: json(ApprovalSchema),
  stop: json(StopReportSchema),
  acknowledgeStop: json(Members({ acknowledgments: List(AcknowledgmentSchema) })),
  reset: json(ProgressSchema),
  audit: json(Members({ entries: List(AuditEntrySchema) })),
  verifyAudit: json(
    Members({
      entries: Integer('Entries that were checked.'),
      intact: Flag(),
      finding: Text('The first bad entry and what is wrong with it; empty while it is intact.'),
    }),
  ),
  exportAudit: {
    schema: Text({
      description: 'JSON Lines, for `dsmil audit check`; `x-line` is what each line holds.',
      'x-line': ExportLineSchema,
    }),
    mediaType: 'application/x-ndjson',
  },
} as const satisfies Readonly<Record<RestKey, RowAnswer>>;

/** What the route of this row has to answer with. */
export type AnswerOf<K extends RestKey> = Static<(typeof ANSWERS)[K]['schema']>;
