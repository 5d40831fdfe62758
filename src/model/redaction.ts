// Takes the secrets out of a request before anything of it reaches a log, a metric, a fault's text or a report.
// Invariants: pure; a member that the operation table calls secret is replaced at any depth, whatever its case; the
// result is plain data of bounded depth.

import { type OperationKey, operationRow } from './operation-table.ts';

export const REDACTED = '[redacted]';

/** Names that are secret in every row: a caller may send them where they do not belong. */
const ALWAYS_SECRET = ['password', 'token', 'secret', 'invitation', 'authorization', 'cookie'];
const DEPTH_MAX = 32;
/** Shorter ones are not looked for in texts: blotting out every `a` would tell the secret rather than hide it. */
const SOUGHT_LENGTH_MIN = 4;

type SecretTest = (member: string) => boolean;

/** `Pass_word` is refused as unknown, and must not be shown in the refusal either. */
function plainName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

function secretTest(key: OperationKey): SecretTest {
  const names = new Set([...ALWAYS_SECRET, ...(operationRow(key).secrets ?? [])].map(plainName));
  return (member) => names.has(plainName(member));
}

/** The body without its secrets, as plain data that can be logged. */
export function redact(key: OperationKey, body: unknown): unknown {
  return without(secretTest(key), body, 0);
}

function without(isSecret: SecretTest, value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= DEPTH_MAX) return '[too deep]';
  if (Array.isArray(value)) return value.map((member) => without(isSecret, member, depth + 1));
  if (!isPlain(value)) return '[no plain data]';
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      isSecret(name) ? REDACTED : without(isSecret, member, depth + 1),
    ]),
  );
}

/** A text about this body, such as an error's, with every secret of the body blotted out. */
export function redactText(key: OperationKey, body: unknown, text: string): string {
  const found = new Set<string>();
  collect(secretTest(key), body, 'open', found, 0);
  // The longest first: a secret may contain another.
  const secrets = [...found].sort((left, right) => right.length - left.length);
  return secrets.reduce((shown, secret) => shown.replaceAll(secret, REDACTED), text);
}

function collect(
  isSecret: SecretTest,
  value: unknown,
  place: 'open' | 'secret',
  found: Set<string>,
  depth: number,
): void {
  if (depth > DEPTH_MAX) return;
  if (typeof value === 'object' && value !== null) {
    for (const [name, member] of Object.entries(value)) {
      const inside = place === 'secret' || isSecret(name) ? 'secret' : 'open';
      collect(isSecret, member, inside, found, depth + 1);
    }
  } else if (place === 'secret' && (typeof value === 'string' || typeof value === 'number')) {
    const text = String(value);
    if (text.length >= SOUGHT_LENGTH_MIN) found.add(text);
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
