// The account file: people and machines, their rights and the ways they may prove themselves.
// Faults: CONFIG_INVALID naming the file and the member; nothing of a bad file is used.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import Type, { type Static } from 'typebox';
import Value from 'typebox/value';
import { describeError, fault } from '#foundation/fault';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import { CLEARANCE_NAMES, ClearanceLevel, COMPARTMENTS, type Principal } from '#model/principal';

const Strict = { additionalProperties: false } as const;
const AccountSchema = Type.Object(
  {
    id: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,62}$' }),
    name: Type.String({ minLength: 1, maxLength: 128 }),
    kind: Type.Union([Type.Literal('person'), Type.Literal('machine')]),
    clearance: Type.Enum([...CLEARANCE_NAMES]),
    compartments: Type.Array(Type.Enum([...COMPARTMENTS])),
    /** Linear ids; null for every device. */
    devices: Type.Union([Type.Array(Type.Integer({ minimum: 0, maximum: 83 })), Type.Null()]),
    enabled: Type.Boolean(),
    underReview: Type.Boolean(),
    tokenHashes: Type.Array(Type.String({ pattern: '^[0-9a-f]{64}$' })),
    certificateUris: Type.Array(Type.String({ minLength: 1, maxLength: 256 })),
    localUids: Type.Array(Type.Integer({ minimum: 0, maximum: 4_294_967_294 })),
  },
  Strict,
);
const AccountFileSchema = Type.Object(
  { accounts: Type.Array(AccountSchema, { maxItems: 1_000 }) },
  Strict,
);

export type AccountRecord = Static<typeof AccountSchema>;

/** A principal and the ways it may prove itself. */
export interface LoadedAccount {
  readonly principal: Principal;
  readonly enabled: boolean;
  readonly tokenHashes: readonly string[];
  readonly certificateUris: readonly string[];
  readonly localUids: readonly number[];
}

export function loadAccounts(path: string): Outcome<readonly LoadedAccount[]> {
  const invalid = (finding: string, internal?: string) =>
    refuse(
      fault('CONFIG_INVALID', {
        place: 'accounts.json',
        finding,
        ...(internal === undefined ? {} : { internal }),
      }),
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    return invalid('the account file cannot be read as JSON', describeError(error));
  }
  if (!Value.Check(AccountFileSchema, parsed)) {
    const first = [...Value.Errors(AccountFileSchema, parsed)][0];
    return invalid(
      `${first?.instancePath ?? '/'}: ${first?.message ?? 'does not match the schema'}`,
    );
  }
  const twice = appearsTwice(parsed.accounts);
  if (twice !== undefined) return invalid(twice);
  return succeed(parsed.accounts.map(accountOf));
}

/** Replaces the file as a whole, so that a reader or a power cut sees the old or the new one. */
export function saveAccounts(path: string, accounts: readonly AccountRecord[]): void {
  writeFileSync(`${path}.new`, `${JSON.stringify({ accounts }, null, 2)}\n`, {
    mode: 0o600,
    flush: true,
  });
  renameSync(`${path}.new`, path);
}

/** An id that names two accounts, or a proof of identity that would sign in as either of two. */
function appearsTwice(accounts: readonly AccountRecord[]): string | undefined {
  const ids = new Set<string>();
  const holders = new Map<string, string>();
  for (const { id, tokenHashes, certificateUris, localUids } of accounts) {
    if (ids.has(id)) return `account ${id} appears twice`;
    ids.add(id);
    const proofs = [
      ...tokenHashes.map((hash) => ['a token', hash]),
      ...certificateUris.map((uri) => [`certificate ${uri}`, uri]),
      ...localUids.map((uid) => [`local user ${uid}`, `${uid}`]),
    ] as const;
    for (const [what, value] of proofs) {
      const key = `${what} ${value}`;
      const holder = holders.get(key);
      if (holder !== undefined && holder !== id) return `${what} belongs to ${holder} and to ${id}`;
      holders.set(key, id);
    }
  }
  return undefined;
}

function accountOf(record: AccountRecord): LoadedAccount {
  return {
    principal: {
      id: record.id,
      name: record.name,
      kind: record.kind,
      clearance: ClearanceLevel[record.clearance],
      compartments: record.compartments,
      devices: record.devices,
      underReview: record.underReview,
    },
    enabled: record.enabled,
    tokenHashes: record.tokenHashes,
    certificateUris: record.certificateUris,
    localUids: record.localUids,
  };
}
