// Keeps secrets out of the audit chain: the last look at an entry's details before they are hashed for ever.
// Invariants: pure; a member with the name of a secret never keeps its value, at any depth.

import type { Canonical } from '#foundation/canonical';
import { OPERATION_TABLE, type OperationRow } from '#model/operation-table';

export const REDACTED = '[redacted]';

/** Fault codes go by the same name as one-time codes, which are digits alone. */
const CODE = 'code';
const ONE_TIME_CODE = /^\s*\d[\d\s-]*$/;

const SECRET_NAMES: ReadonlySet<string> = new Set(
  [
    ...(Object.values(OPERATION_TABLE) as OperationRow[]).flatMap((row) => row.secrets ?? []),
    'secret',
    'privateKey',
  ].filter((name) => name !== CODE),
);

type Details = Readonly<Record<string, Canonical>>;

/** The same object where there is nothing to hide, which is nearly always. */
export function withoutSecrets(details: Details): Details {
  return cleanObject(details) as Details;
}

function clean(value: Canonical | undefined): Canonical | undefined {
  if (typeof value !== 'object' || value === null) return value;
  if (!Array.isArray(value)) return cleanObject(value as Details);
  const cleaned = value.map((one) => clean(one) as Canonical);
  return cleaned.some((one, index) => one !== value[index]) ? cleaned : (value as Canonical);
}

function cleanObject(value: Details): Canonical {
  let changed: Record<string, Canonical> | null = null;
  for (const key of Object.keys(value)) {
    const before = value[key];
    const after = isSecret(key, before) ? REDACTED : clean(before);
    if (after === before || after === undefined) continue;
    changed ??= { ...value };
    changed[key] = after;
  }
  return changed ?? value;
}

function isSecret(key: string, value: Canonical | undefined): boolean {
  if (key === CODE) return typeof value !== 'string' || ONE_TIME_CODE.test(value);
  return SECRET_NAMES.has(key);
}
