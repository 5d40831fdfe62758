// What an account may look like, and whether a change of one gives rights or only takes them.
// Invariants: pure; a change that does both is one that gives; what one direction gives, the other takes.
// Faults: ACCOUNT_INVALID names the member and the finding; NOT_PERMITTED for the own account.

import { canonicalText } from '#foundation/canonical';
import { type Fault, fault } from '#foundation/fault';
import type { AccountChange, AccountRecord } from '#model/account';
import { formatToken, type LinearId } from '#model/device';
import { ClearanceLevel } from '#model/principal';

const ID_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
/** Names that the audit chain uses for who is no account. */
const RESERVED_IDS = [
  'agent',
  'interface',
  'kernel',
  'orchestrator',
  'quiet',
  'security',
  'unknown',
];
/** A scheme and printable ASCII (RFC 3986): no letter that looks like another one. */
const URI_PATTERN = /^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/;
const URI_LENGTH_MAX = 256;
const NAME_LENGTH_MAX = 128;
const PROOFS_MAX = 16;
/** (uid_t)-1 is no user (chown(2)). */
const UID_MAX = 0xffff_fffe;
const ADMINISTRATORS_MIN = 2;

/** What a change does to the rights of an account, each a phrase to stand after `the account gets` or `loses`. */
export interface RightsDifference {
  readonly gives: readonly string[];
  readonly takes: readonly string[];
}

interface Comparison {
  readonly gives: string[];
  readonly takes: string[];
}

/** What `after` may that `before` may not, and the other way round. */
export function compareRights(before: AccountRecord, after: AccountRecord): RightsDifference {
  const found: Comparison = { gives: [], takes: [] };
  const rank = (record: AccountRecord) => ClearanceLevel[record.clearance];
  if (rank(after) > rank(before)) found.gives.push(`the clearance ${after.clearance}`);
  if (rank(after) < rank(before)) found.takes.push(`the clearance above ${after.clearance}`);
  compareSets(found, 'compartment', before.compartments, after.compartments);
  compareDevices(found, before.devices, after.devices);
  compareFlag(found, 'the rights of an administrator', before.administrator, after.administrator);
  compareFlag(found, 'the use of the account', before.enabled, after.enabled);
  compareFlag(found, 'freedom from review', !before.underReview, !after.underReview);
  const opening = (record: AccountRecord) => -(record.validFromWallMs ?? Number.NEGATIVE_INFINITY);
  compareEnd(found, 'an earlier start of validity', opening(before), opening(after));
  const closing = (record: AccountRecord) => record.validUntilWallMs ?? Number.POSITIVE_INFINITY;
  compareEnd(found, 'a later end of validity', closing(before), closing(after));
  compareSets(found, 'certificate name', before.certificateUris, after.certificateUris);
  compareSets(found, 'local user', before.localUids, after.localUids);
  return found;
}

function compareSets<T extends string | number>(
  found: Comparison,
  what: string,
  before: readonly T[],
  after: readonly T[],
): void {
  for (const item of after) if (!before.includes(item)) found.gives.push(`${what} ${item}`);
  for (const item of before) if (!after.includes(item)) found.takes.push(`${what} ${item}`);
}

/** Null is every device, those of later boards too, and so more than any list. */
function compareDevices(
  found: Comparison,
  before: readonly LinearId[] | null,
  after: readonly LinearId[] | null,
): void {
  if (before === null && after === null) return;
  if (before === null) found.takes.push('all devices that are not listed');
  else if (after === null) found.gives.push('every device');
  else compareSets(found, 'device', before.map(formatToken), after.map(formatToken));
}

function compareFlag(found: Comparison, what: string, before: boolean, after: boolean): void {
  if (after && !before) found.gives.push(what);
  if (before && !after) found.takes.push(what);
}

function compareEnd(found: Comparison, what: string, before: number, after: number): void {
  if (after > before) found.gives.push(what);
  if (after < before) found.takes.push(what);
}

/** The record with the change in it; lists in an order of their own, so that the same rights are the same text. */
export function changedRecord(record: AccountRecord, change: AccountChange): AccountRecord {
  return orderedRecord({ ...record, ...change, id: record.id, kind: record.kind });
}

export function orderedRecord(record: AccountRecord): AccountRecord {
  return {
    ...record,
    compartments: [...record.compartments].sort(),
    devices:
      record.devices === null ? null : [...record.devices].sort((left, right) => left - right),
    certificateUris: [...record.certificateUris].sort(),
    localUids: [...record.localUids].sort((left, right) => left - right),
  };
}

const MEMBERS = [
  'name',
  'clearance',
  'compartments',
  'devices',
  'administrator',
  'enabled',
  'underReview',
  'validFromWallMs',
  'validUntilWallMs',
  'certificateUris',
  'localUids',
] as const satisfies readonly (keyof AccountChange)[];

/** Members that differ, each way of writing them aside. */
export function changedMembers(
  before: AccountRecord,
  after: AccountRecord,
): readonly (keyof AccountChange)[] {
  const [left, right] = [orderedRecord(before), orderedRecord(after)];
  return MEMBERS.filter((member) => canonicalText(left[member]) !== canonicalText(right[member]));
}

/** These members of a record, for the audit entry of a change. */
export function membersOf(
  record: AccountRecord,
  members: readonly (keyof AccountChange)[],
): Partial<Pick<AccountRecord, (typeof MEMBERS)[number]>> {
  return Object.fromEntries(members.map((member) => [member, record[member]]));
}

export interface RuleContext {
  /** Every account there is. */
  readonly accounts: readonly AccountRecord[];
  readonly onBoard: (device: LinearId) => boolean;
  /** Whether its person has a way to sign in at all; everybody has where absent. */
  readonly hasWayIn?: (record: AccountRecord) => boolean;
  readonly wallMs: number;
  /** Why it is asked for. */
  readonly reason: string;
}

function invalid(member: string, finding: string): Fault {
  return fault('ACCOUNT_INVALID', { place: member, finding });
}

/** What keeps this record from being made or from replacing the one of the same id (`before`); null when nothing does. */
export function recordRefusal(
  record: AccountRecord,
  before: AccountRecord | undefined,
  context: RuleContext,
): Fault | null {
  return (
    (before === undefined ? idRefusal(record, context) : null) ??
    nameRefusal(record) ??
    listRefusal(record) ??
    devicesRefusal(record, context) ??
    validityRefusal(record) ??
    proofRefusal(record, context) ??
    rootRefusal(record, before, context) ??
    administratorsRefusal(record, before, context)
  );
}

/** What keeps anybody from being called this; null when nothing does. */
export function namesRefusal(person: Pick<AccountRecord, 'id' | 'name'>): Fault | null {
  return wordRefusal(person.id) ?? nameRefusal(person);
}

function wordRefusal(id: string): Fault | null {
  if (!ID_PATTERN.test(id)) {
    return invalid('id', 'is not 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit');
  }
  return RESERVED_IDS.includes(id) ? invalid('id', `${id} is a name of the agent itself`) : null;
}

function idRefusal({ id }: AccountRecord, { accounts }: RuleContext): Fault | null {
  const refused = wordRefusal(id);
  if (refused !== null) return refused;
  if (accounts.some((account) => account.id === id)) {
    return invalid('id', `${id} exists or existed, and no id is used a second time`);
  }
  return null;
}

function nameRefusal({ name }: Pick<AccountRecord, 'name'>): Fault | null {
  if (name.trim() === '' || name.trim() !== name || name.length > NAME_LENGTH_MAX) {
    return invalid('name', `is not 1 to ${NAME_LENGTH_MAX} characters without spaces at its ends`);
  }
  // Control and formatting characters can make a name read as another one in a terminal or a panel.
  return /\p{C}/u.test(name) ? invalid('name', 'holds a character that cannot be seen') : null;
}

function listRefusal(record: AccountRecord): Fault | null {
  for (const member of ['compartments', 'devices', 'certificateUris', 'localUids'] as const) {
    const list: readonly unknown[] = record[member] ?? [];
    const twice = list.find((item, index) => list.indexOf(item) !== index);
    if (twice !== undefined) return invalid(member, `${String(twice)} is listed twice`);
  }
  for (const member of ['certificateUris', 'localUids'] as const) {
    const { length } = record[member];
    if (length > PROOFS_MAX) return invalid(member, `${length} are more than ${PROOFS_MAX}`);
  }
  return null;
}

function devicesRefusal({ devices }: AccountRecord, { onBoard }: RuleContext): Fault | null {
  const unknown = devices?.find((device) => !onBoard(device));
  return unknown === undefined ? null : invalid('devices', `${unknown} is not on the board`);
}

function validityRefusal({ validFromWallMs, validUntilWallMs }: AccountRecord): Fault | null {
  for (const [member, value] of Object.entries({ validFromWallMs, validUntilWallMs })) {
    // The last moment that a Date can name (ECMA-262 section 21.4.1.1).
    if (value !== null && (!Number.isSafeInteger(value) || value < 0 || value > 8.64e15)) {
      return invalid(member, `${value} is no time`);
    }
  }
  const reversed =
    validFromWallMs !== null && validUntilWallMs !== null && validUntilWallMs <= validFromWallMs;
  return reversed ? invalid('validUntilWallMs', 'is not after validFromWallMs') : null;
}

/** Whatever proves who somebody is proves one account. */
function proofRefusal(record: AccountRecord, { accounts }: RuleContext): Fault | null {
  const others = accounts.filter(({ id }) => id !== record.id);
  for (const uri of record.certificateUris) {
    if (uri.length > URI_LENGTH_MAX || !URI_PATTERN.test(uri)) {
      return invalid('certificateUris', 'holds what is no URI of printable ASCII characters');
    }
    const holder = others.find((other) => other.certificateUris.includes(uri));
    if (holder !== undefined) return invalid('certificateUris', `${uri} belongs to ${holder.id}`);
  }
  for (const uid of record.localUids) {
    if (!Number.isInteger(uid) || uid < 0 || uid > UID_MAX) {
      return invalid('localUids', `${uid} is no local user`);
    }
    const holder = others.find((other) => other.localUids.includes(uid));
    if (holder !== undefined) return invalid('localUids', `${uid} belongs to ${holder.id}`);
  }
  return null;
}

/** Who is root at this machine is nobody in particular: mapping it has to be said, not overlooked. */
function rootRefusal(
  record: AccountRecord,
  before: AccountRecord | undefined,
  { reason }: RuleContext,
): Fault | null {
  const gained = record.localUids.includes(0) && before?.localUids.includes(0) !== true;
  if (!gained || /\buid 0\b/i.test(reason)) return null;
  const finding = 'uid 0 is root, whoever that is at the moment: say "uid 0" in the reason';
  return invalid('localUids', finding);
}

/** Null when this account may be one of two administrators who give rights at that moment; else why not. */
export function administratorRefusal(
  record: AccountRecord | undefined,
  wallMs: number,
): string | null {
  if (record === undefined) return 'is no account of this agent';
  if (record.kind !== 'person') return 'is a machine, and only people can give rights';
  if (!record.administrator) return 'is no administrator';
  if (!record.enabled) return 'is disabled';
  const { validFromWallMs, validUntilWallMs } = record;
  if (validFromWallMs !== null && wallMs < validFromWallMs) return 'is not valid yet';
  if (validUntilWallMs !== null && wallMs >= validUntilWallMs) return 'is not valid any more';
  return null;
}

/**
 * Once there are two, two remain, and two who have a way to sign in once there are two of those: now and at every later
 * moment at which a window opens or closes. What would leave fewer anyhow is not held against a change that makes it no
 * worse.
 */
function administratorsRefusal(
  record: AccountRecord,
  before: AccountRecord | undefined,
  context: RuleContext,
): Fault | null {
  if (before === undefined) return null;
  const { hasWayIn } = context;
  const refused = remainingRefusal(record, before, context, () => true, '');
  if (refused !== null || hasWayIn === undefined) return refused;
  return remainingRefusal(record, before, context, hasWayIn, ' who can sign in');
}

function remainingRefusal(
  record: AccountRecord,
  before: AccountRecord,
  { accounts, wallMs }: RuleContext,
  counts: (record: AccountRecord) => boolean,
  which: string,
): Fault | null {
  const changed = accounts.map((account) => (account.id === record.id ? record : account));
  const moments = [...accounts, record]
    .flatMap(({ validFromWallMs, validUntilWallMs }) => [validFromWallMs, validUntilWallMs])
    .filter((moment) => moment !== null)
    .filter((moment) => moment > wallMs);
  for (const moment of [wallMs, ...moments.sort((left, right) => left - right)]) {
    const count = (list: readonly AccountRecord[]) =>
      list.filter((account) => administratorRefusal(account, moment) === null && counts(account))
        .length;
    const remaining = count(changed);
    if (remaining >= ADMINISTRATORS_MIN || remaining >= count(accounts)) continue;
    const when = moment === wallMs ? 'now' : `from ${new Date(moment).toISOString()} on`;
    const finding = `without ${record.id} ${remaining} administrator${remaining === 1 ? '' : 's'}${which} would be left ${when}, and giving rights takes ${ADMINISTRATORS_MIN}`;
    return invalid(causeOf(before, record), finding);
  }
  return null;
}

function causeOf(before: AccountRecord, after: AccountRecord): string {
  const causes = ['administrator', 'enabled', 'validFromWallMs', 'validUntilWallMs'] as const;
  const found = causes.find((member) => before[member] !== after[member]);
  return found ?? changedMembers(before, after)[0] ?? 'administrator';
}

/** Null when this caller may change the rights of this account at all: nobody's own. */
export function ownAccountRefusal(caller: string, id: string, what: string): Fault | null {
  if (caller !== id) return null;
  const finding = `nobody ${what}: another administrator has to`;
  return fault('NOT_PERMITTED', { place: `account ${id}`, finding });
}
