// The account file: people and machines, their rights and the ways they may prove themselves.
// Faults: CONFIG_INVALID naming the file and the member; nothing of a bad file is used.

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { describeError, fault } from '#foundation/fault';
import { quoted } from '#foundation/nearest';
import { type Outcome, refuse, succeed } from '#foundation/outcome';
import {
  ClearanceLevel,
  type ClearanceName,
  type Compartment,
  type Principal,
} from '#model/principal';
import { accounts as validate } from './generated/validators.js';
import type { SchemaError } from './schema-check.ts';

/** One account as the file holds it; its rules are in accounts.schema.json. */
export interface AccountRecord {
  readonly id: string;
  readonly name: string;
  readonly kind: 'person' | 'machine';
  readonly clearance: ClearanceName;
  readonly compartments: readonly Compartment[];
  /** Linear ids; null for every device. */
  readonly devices: readonly number[] | null;
  readonly enabled: boolean;
  readonly underReview: boolean;
  /** Hexadecimal SHA-256 of each valid token. */
  readonly tokenHashes: readonly string[];
  readonly certificateUris: readonly string[];
  readonly localUids: readonly number[];
}

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
  if (!validate(parsed)) {
    const first = validate.errors?.[0];
    return invalid(
      `${first?.instancePath || '/'}: ${first?.message ?? 'does not match the schema'}${memberOf(first)}`,
    );
  }
  const { accounts } = parsed as { readonly accounts: readonly AccountRecord[] };
  const twice = appearsTwice(accounts);
  if (twice !== undefined) return invalid(twice);
  return succeed(accounts.map(accountOf));
}

function memberOf(error: SchemaError | undefined): string {
  const extra = error?.params.additionalProperty;
  return typeof extra === 'string' ? ` (${quoted(extra)})` : '';
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
