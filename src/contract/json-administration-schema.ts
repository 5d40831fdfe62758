// JSON Schemas of what can be asked of security beside operations: each is the request without its path parameters.
// Invariants: no member is let through that is not named; identifiers are plain ASCII, so that none looks like another.

import type { AdministrationKey } from '#model/administration';
import { OPERATION_NAMES } from '#model/operation';
import { OPERATION_TABLE } from '#model/operation-table';
import { CLEARANCE_NAMES, COMPARTMENTS } from '#model/principal';
import { DeviceIdSchema } from './json-request.ts';
import { type JsonSchema, Type } from './json-schema.ts';

const strict = { additionalProperties: false } as const;
const ROWS_MAX = Object.keys(OPERATION_TABLE).length;
const choice = (names: readonly string[]) => Type.Union(names.map((name) => Type.Literal(name)));
const text = (lengthMax: number, lengthMin = 0) =>
  Type.String({ minLength: lengthMin, maxLength: lengthMax });
const id = (pattern: string, description: string) => Type.String({ pattern, description });

export const AccountIdSchema = id('^[a-z0-9][a-z0-9-]{0,62}$', 'Id of an account.');
/** Tokens, sessions and exercises; made by security, or of the same letters. */
export const HandleSchema = id('^[A-Za-z0-9_-]{1,128}$', 'As the list shows it.');
export const SerialSchema = id('^[0-9A-Fa-f]{1,64}$', 'Serial number of a certificate.');
export const IncidentIdSchema = id('^[1-9][0-9]{0,14}$', 'Number of an incident.');
/** An account, a linear id, or an address. */
export const SubjectIdSchema = id(
  '^(?!.*\\.\\.)[A-Za-z0-9:][A-Za-z0-9:._%/ -]{0,127}$',
  'Account, linear id of a device, or address of a source.',
);
const RowSchema = id('^[A-Za-z]{1,64}$', 'Row of the operation table.');
const ScenarioSchema = id('^[a-z0-9][a-z0-9-]{0,63}$', 'As the list shows it.');
/** Longer than any rule allows, so that the rule refuses it with its reason. */
const Secret = text(1_024, 1);
const Code = Type.String({ minLength: 1, maxLength: 64, description: 'One-time code.' });
const Reason = Type.String({ maxLength: 4_096, description: 'Why, for the record.' });
/** One line, in any language. */
const Name = Type.String({ minLength: 1, maxLength: 128, pattern: '^[^\\p{Cc}]+$' });
const Pem = text(16_384, 1);
const Time = Type.Union([Type.String({ minLength: 20, maxLength: 35 }), Type.Null()], {
  description: 'RFC 3339 with offset; null for an open end.',
});
const Devices = Type.Union([Type.Array(DeviceIdSchema, { maxItems: 84 }), Type.Null()], {
  description: 'Linear ids or tokens; null for every device.',
});
const Uid = Type.Integer({ minimum: 0, maximum: 0xffff_fffe });

/** What there is to say of an account that is no secret. */
const rights = {
  name: Name,
  clearance: choice(CLEARANCE_NAMES),
  compartments: Type.Array(choice(COMPARTMENTS), { maxItems: COMPARTMENTS.length }),
  devices: Devices,
  administrator: Type.Boolean(),
  enabled: Type.Boolean(),
  underReview: Type.Boolean(),
  validFrom: Time,
  validUntil: Time,
  certificateUris: Type.Array(text(256, 1), { maxItems: 16 }),
  localUids: Type.Array(Uid, { maxItems: 16 }),
};
/** A new account has these unless the request says otherwise: none of them gives a right. */
export const ACCOUNT_DEFAULTS = {
  compartments: [],
  administrator: false,
  enabled: true,
  underReview: false,
  validFromWallMs: null,
  validUntilWallMs: null,
  certificateUris: [],
  localUids: [],
} as const;
const mayBeMissing = new Set(
  Object.keys(ACCOUNT_DEFAULTS).map((name) => name.replace('WallMs', '')),
);
const allOptional = (members: Readonly<Record<string, JsonSchema>>) =>
  Object.fromEntries(Object.entries(members).map(([name, one]) => [name, Type.Optional(one)]));

const Account = Type.Object(
  {
    id: AccountIdSchema,
    kind: choice(['person', 'machine']),
    ...Object.fromEntries(
      Object.entries(rights).map(([name, one]) => [
        name,
        mayBeMissing.has(name) ? Type.Optional(one) : one,
      ]),
    ),
  },
  strict,
);

const Report = Type.Object(
  {
    scenario: ScenarioSchema,
    detected: Type.Boolean(),
    evidence: Type.Array(text(1_024), { maxItems: 64 }),
    responseMs: Type.Union([Type.Number({ minimum: 0 }), Type.Null()]),
    contained: Type.Boolean(),
    containment: text(1_024),
    limitsKept: Type.Boolean(),
    limits: Type.Array(text(1_024), { maxItems: 64 }),
  },
  strict,
);

const withReason = Type.Object({ reason: Reason }, strict);

/** Signing in by password answers with a cookie; `bearer` asks for the token instead, for scripts. */
export const LoginSchema = Type.Union([
  Type.Object(
    {
      account: AccountIdSchema,
      password: Secret,
      code: Code,
      bearer: Type.Optional(Type.Boolean()),
    },
    strict,
  ),
  Type.Object({ token: text(4_096, 1) }, strict),
]);

/** Bodies of POST routes; a row that is not here takes none. */
export const ADMINISTRATION_BODIES: { readonly [K in AdministrationKey]?: JsonSchema } = {
  login: LoginSchema,
  enrol: Type.Object({ invitation: text(256, 1), password: Secret }, strict),
  confirmEnrolment: Type.Object({ invitation: text(256, 1), code: Code }, strict),
  changePassword: Type.Object({ password: Secret, code: Code, next: Secret }, strict),
  createAccount: Type.Object({ account: Account, reason: Reason }, strict),
  changeAccount: Type.Object(
    { change: Type.Object(allOptional(rights), { ...strict, minProperties: 1 }), reason: Reason },
    strict,
  ),
  inviteAccount: withReason,
  unlockAccount: withReason,
  createToken: Type.Object(
    {
      account: AccountIdSchema,
      name: Name,
      scope: Type.Union([Type.Array(RowSchema, { maxItems: ROWS_MAX }), Type.Null()], {
        description: 'Rows of the operation table; null for all that the account may.',
      }),
      lifetimeDays: Type.Integer({ minimum: 1, maximum: 3_660 }),
    },
    strict,
  ),
  revokeToken: withReason,
  issueCertificate: Type.Object(
    { account: AccountIdSchema, requestPem: Pem, reason: Reason },
    strict,
  ),
  renewCertificate: Type.Object({ requestPem: Pem }, strict),
  revokeCertificate: withReason,
  rotateKey: Type.Object(
    { key: choice(['authorization', 'checkpoint', 'sealing']), reason: Reason },
    strict,
  ),
  archiveAudit: withReason,
  closeIncident: withReason,
  startChaos: Type.Object({ scenario: ScenarioSchema, reason: Reason }, strict),
  endChaos: Type.Object({ report: Report }, strict),
};

/** What `rights` is asked about, as a WebSocket says it. */
export const RightsQuestion = {
  operations: Type.Optional(Type.Array(RowSchema, { maxItems: ROWS_MAX })),
  devices: Type.Optional(Type.Array(DeviceIdSchema, { maxItems: 84 })),
  operation: Type.Optional(choice(OPERATION_NAMES.filter((name) => name !== 'UNKNOWN'))),
};
