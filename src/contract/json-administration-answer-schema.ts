// Schemas of what security answers beside operations, one for each row, held against the model by `AdministrationJson`.
// Invariants: the same rules as `administrationToJson`: `xWallMs` is the time `x`, clearances go by name.

import type { Canonical } from '#foundation/canonical';
import type { AdministrationAnswer, AdministrationKey } from '#model/administration';
import { THREAT_LEVELS, type ThreatLevel, type ThreatSubjectKind } from '#model/incident';
import type { ClearanceName } from '#model/principal';
import {
  DevicesOrAllSchema,
  DigestSchema,
  PrincipalKindSchema,
  ScopeSchema,
  TransportSchema,
  WaySchema,
} from './json-answer-schema.ts';
import { CheckpointSchema } from './json-audit-schema.ts';
import {
  ClearanceNameSchema,
  CompartmentsSchema,
  durationMs,
  LinearIdSchema,
  SentencesSchema,
  SequenceSchema,
  TimeOrNullSchema,
} from './json-parts-schema.ts';
import { Answer, named, type Schema } from './typed-schema.ts';

const { Text, Integer, Flag, Names, List, OrNull, Object: Members } = Answer;

type NameOf<N> = N extends `${infer Base}WallMs` ? (Base extends '' ? N : Base) : N;
type MemberOf<N, T> = N extends `${infer Base}WallMs`
  ? Base extends ''
    ? T
    : string | null
  : N extends 'clearance'
    ? ClearanceName
    : AsAdministered<T>;
type AsAdministered<T> = T extends readonly (infer E)[]
  ? readonly AsAdministered<E>[]
  : T extends object
    ? string extends keyof T
      ? T
      : { readonly [N in keyof T as NameOf<N>]: MemberOf<N, T[N]> }
    : T;
/** What `administrationToJson` makes of the answer of a row. */
export type AdministrationJson<K extends AdministrationKey> = AsAdministered<
  AdministrationAnswer<K>
>;

const AccountSchema = Text('Id of an account.');
const progressMembers = {
  done: Flag('False when a second administrator has to ask for the same.'),
  message: Text('For people.'),
};
const ProgressSchema = named('ChangeProgress', Members(progressMembers));
const invitation = Text(
  'One half to each of the two who ask; the invited person needs both. Empty for a machine.',
);
const InvitedSchema = named('InvitationProgress', Members({ ...progressMembers, invitation }));
const pem = (what: string) =>
  Text({ description: `${what}, in PEM (RFC 7468).`, contentMediaType: 'application/x-pem-file' });
const pemWhenDone = (what: string) => pem(`${what}; empty until it is done`);
const SessionsEndedSchema = named(
  'SessionsEnded',
  Members({ sessionsEnded: Integer('Sessions that ended by it.') }),
);

const AccountViewSchema = named(
  'Account',
  Members({
    id: AccountSchema,
    name: Text('For people.'),
    kind: PrincipalKindSchema,
    clearance: ClearanceNameSchema,
    compartments: CompartmentsSchema,
    devices: DevicesOrAllSchema,
    administrator: Flag(),
    enabled: Flag(),
    underReview: Flag('Raises the risk of everything it asks for by one level.'),
    validFrom: TimeOrNullSchema,
    validUntil: TimeOrNullSchema,
    certificateUris: List(Text(), 'URI subject alternative names of its certificates.'),
    localUids: List(Integer(), 'Local users who are this account.'),
    enrolled: Flag('The person has set a password and proved a one-time code.'),
    lockedUntil: TimeOrNullSchema,
    lockedBecause: Text('Empty when it is not locked.'),
    sessions: Integer('Open ones.'),
    tokens: Integer('Good ones.'),
  }),
);
const ProposalSchema = named(
  'Proposal',
  Members({
    digest: DigestSchema,
    by: AccountSchema,
    operation: Text('Row of the operation table that the second administrator has to call.'),
    what: Text('For people, to stand after the name.'),
    reason: Text(),
    request: Answer.Open<{ readonly [member: string]: Canonical }>(
      'What the second administrator has to send, to the last letter.',
    ),
    expiresAt: TimeOrNullSchema,
  }),
);
const SessionViewSchema = named(
  'OpenSession',
  Members({
    handle: Text('Names the session to people; opens nothing.'),
    account: AccountSchema,
    way: WaySchema,
    transport: TransportSchema,
    peer: Text('Address and port, or `uid 0`.'),
    opened: TimeOrNullSchema,
    expiresAt: TimeOrNullSchema,
    own: Flag('The session that asks.'),
  }),
);
const TokenViewSchema = named(
  'Token',
  Members({
    id: Text(),
    account: AccountSchema,
    name: Text(),
    scope: ScopeSchema,
    created: TimeOrNullSchema,
    expiresAt: TimeOrNullSchema,
    revoked: Flag(),
  }),
);
const CertificateSchema = named(
  'Certificate',
  Members({
    serial: Text('Hexadecimal.'),
    purpose: Names(['client', 'server']),
    subject: Text('The account of a client, the first name of a server.'),
    fingerprint: Text('SHA-256, hexadecimal in upper case, separated by colons.'),
    notBefore: TimeOrNullSchema,
    notAfter: TimeOrNullSchema,
    revoked: TimeOrNullSchema,
    revokedBecause: Text(),
  }),
);
const RightSchema = named(
  'Right',
  Members({
    operation: Text('Row of the operation table, or the operation on the devices asked about.'),
    permitted: Flag(),
    missing: List(Text(), 'Every condition that fails, each a sentence.'),
    who: List(Text(), 'Accounts that could.'),
    conduct: List(Text(), 'What the caller would still have to do.'),
  }),
);
const PrincipalSchema = Members({
  id: AccountSchema,
  name: Text(),
  kind: PrincipalKindSchema,
  clearance: ClearanceNameSchema,
  compartments: CompartmentsSchema,
  devices: DevicesOrAllSchema,
  underReview: Flag(),
});

const ScoreSchema = Answer.Number('Sum of the points of its indicators.');
const LevelSchema = named('ThreatLevel', Names(THREAT_LEVELS) satisfies Schema<ThreatLevel>);
const SubjectSchema = named(
  'ThreatSubject',
  Members({
    kind: Names(['person', 'device', 'source']) satisfies Schema<ThreatSubjectKind>,
    id: Text('Account, decimal linear id, or address without port.'),
  }),
);
const IndicatorSchema = named(
  'ThreatIndicator',
  Members({
    name: Text('`rate`, `unusual-hour`, `quarantine-probe` and the like.'),
    points: Answer.Number(),
    finding: Text('What was seen, with its numbers.'),
    entries: List(SequenceSchema, 'Audit entries it rests on, the newest last.'),
  }),
);
const IncidentSchema = named(
  'Incident',
  Members({
    id: Integer(),
    subject: SubjectSchema,
    devices: List(LinearIdSchema),
    actor: Text(),
    level: LevelSchema,
    score: ScoreSchema,
    finding: Text(),
    indicators: List(IndicatorSchema),
    responses: List(Text(), 'What was done about it by itself.'),
    opened: TimeOrNullSchema,
    changed: TimeOrNullSchema,
    closed: TimeOrNullSchema,
    closedBy: Text('Account, or `quiet` when it closed by itself; empty while it is open.'),
    closedBecause: Text(),
  }),
);
const ThreatReportSchema = named(
  'ThreatReport',
  Members({
    subject: SubjectSchema,
    score: ScoreSchema,
    level: LevelSchema,
    windowMs: durationMs('What the score looks back on.'),
    indicators: List(IndicatorSchema),
  }),
);
const ScenarioSchema = named(
  'ChaosScenario',
  Members({
    id: Text(),
    summary: Text(),
    limits: List(Text(), 'What it will not exceed, each a sentence.'),
    durationSecondsMax: Answer.Number(),
  }),
);
const ExerciseSchema = named(
  'Exercise',
  Members({
    id: Text(),
    scenario: Text(),
    startedBy: AccountSchema,
    endsAt: TimeOrNullSchema,
    account: Text('An account of the lowest rights, made for this exercise alone.'),
    token: Text('Of that account; good until the end.'),
  }),
);
export const ADMINISTRATION_ANSWERS = {
  login: Members({
    token: Text(),
    principal: PrincipalSchema,
    administrator: Flag(),
    way: WaySchema,
    expiresAt: TimeOrNullSchema,
  }),
  enrol: Members({
    account: AccountSchema,
    secret: Text('Of the one-time codes, base32 (RFC 6238); shown this once.'),
    uri: Text('The same as an otpauth URI, to be shown as a picture.'),
  }),
  confirmEnrolment: Members({ account: AccountSchema }),
  changePassword: SessionsEndedSchema,
  rights: Members({ rights: List(RightSchema) }),
  sessions: Members({ sessions: List(SessionViewSchema) }),
  revokeSession: SessionsEndedSchema,
  accounts: Members({ accounts: List(AccountViewSchema) }),
  proposals: Members({ proposals: List(ProposalSchema, 'The newest first.') }),
  createAccount: InvitedSchema,
  changeAccount: ProgressSchema,
  inviteAccount: InvitedSchema,
  unlockAccount: ProgressSchema,
  tokens: Members({ tokens: List(TokenViewSchema) }),
  createToken: Members({
    ...progressMembers,
    token: Text('Shown this once; empty until it is done.'),
    id: Text('Empty until it is done.'),
  }),
  revokeToken: SessionsEndedSchema,
  authority: Members({
    certificatePem: pem('Certificate of the authority'),
    revocationListPem: pem('Its revocation list'),
  }),
  certificates: Members({ certificates: List(CertificateSchema) }),
  issueCertificate: Members({
    ...progressMembers,
    certificatePem: pemWhenDone('The certificate'),
  }),
  renewCertificate: Members({ certificatePem: pem('The successor') }),
  revokeCertificate: SessionsEndedSchema,
  rotateKey: Members({ ...progressMembers, publicKeyPem: pemWhenDone('The new public key') }),
  auditCheckpoint: Members({
    checkpoint: OrNull(CheckpointSchema, 'null while the chain is empty.'),
    publicKeyPem: pem('The key to check it with'),
  }),
  exportAudit: Members({ lines: SentencesSchema, next: SequenceSchema }),
  archiveAudit: Members({ archived: Integer('Entries sealed away.'), message: Text() }),
  incidents: Members({ incidents: List(IncidentSchema, 'The open ones first.') }),
  closeIncident: Members({ incident: IncidentSchema }),
  threat: Members({ report: ThreatReportSchema }),
  chaosScenarios: Members({
    simulated: Flag('Whether the hardware is simulated.'),
    scenarios: List(ScenarioSchema),
  }),
  startChaos: Members({
    ...progressMembers,
    exercise: OrNull(ExerciseSchema, 'null until it has begun.'),
  }),
  endChaos: Members({ recorded: Flag('Whether the report is on record.') }),
} as const satisfies { readonly [K in AdministrationKey]: Schema<AdministrationJson<K>> };
