// What gives rights and what takes them, against a list of all that a record allows; and every rule of a record by name.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AccountChange, AccountRecord } from '#model/account';
import { CLEARANCE_NAMES } from '#model/principal';
import {
  administratorRefusal,
  changedMembers,
  changedRecord,
  compareRights,
  membersOf,
  ownAccountRefusal,
  type RuleContext,
  recordRefusal,
} from '#tracks/security/identity/account-rules';
import { administratorOf, anyRights, DEVICES, MOMENTS, recordOf } from './records.ts';

const NOW = 1_767_225_600_000;
const DAY = 86_400_000;

/** Every single thing that a record allows, by name: another way of saying what rights are. */
function allowed(record: AccountRecord): ReadonlySet<string> {
  const found: string[] = [];
  for (let rank = 0; rank <= CLEARANCE_NAMES.indexOf(record.clearance); rank += 1) {
    found.push(`clearance ${rank}`);
  }
  for (const compartment of record.compartments) found.push(compartment);
  // A device that the board has not yet stands for all later ones.
  for (const device of [...DEVICES, 'later']) {
    if (record.devices === null || record.devices.some((listed) => listed === device)) {
      found.push(`device ${device}`);
    }
  }
  if (record.administrator) found.push('administrator');
  if (record.enabled) found.push('enabled');
  if (!record.underReview) found.push('not under review');
  for (const moment of [-1, ...MOMENTS.flatMap((at) => [at, at + 1])]) {
    if (record.validFromWallMs === null || moment >= record.validFromWallMs)
      found.push(`has begun at ${moment}`);
    if (record.validUntilWallMs === null || moment < record.validUntilWallMs)
      found.push(`has not ended at ${moment}`);
  }
  for (const uri of record.certificateUris) found.push(uri);
  for (const uid of record.localUids) found.push(`uid ${uid}`);
  return new Set(found);
}

function holdsMore(one: AccountRecord, other: AccountRecord): boolean {
  const less = allowed(other);
  return [...allowed(one)].some((right) => !less.has(right));
}

describe('a change of rights', () => {
  it('gives exactly when something is allowed after it that was not before, and takes the other way round', () => {
    fc.assert(
      fc.property(anyRights(), anyRights(), (before, after) => {
        const { gives, takes } = compareRights(before, after);
        expect(gives.length > 0).toBe(holdsMore(after, before));
        expect(takes.length > 0).toBe(holdsMore(before, after));
      }),
      { numRuns: 1_000 },
    );
  });

  it('that is undone takes what it gave: not both ways can be only taking, but where nothing changes', () => {
    fc.assert(
      fc.property(anyRights(), anyRights(), (before, after) => {
        const forth = compareRights(before, after);
        const back = compareRights(after, before);
        expect(forth.gives.length > 0).toBe(back.takes.length > 0);
        expect(forth.takes.length > 0).toBe(back.gives.length > 0);
        const onlyTaking = forth.gives.length === 0 && back.gives.length === 0;
        expect(onlyTaking).toBe(changedMembers(before, after).length === 0);
      }),
    );
  });

  it('gives nothing in two steps that it would not give in one', () => {
    fc.assert(
      fc.property(anyRights(), anyRights(), anyRights(), (first, second, third) => {
        const gives = (from: AccountRecord, to: AccountRecord) =>
          compareRights(from, to).gives.length > 0;
        if (gives(first, second) || gives(second, third)) return;
        expect(gives(first, third)).toBe(false);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each<[string, AccountChange, AccountChange]>([
    ['clearance', { clearance: 'CONFIDENTIAL' }, { clearance: 'SECRET' }],
    ['a compartment', { compartments: [] }, { compartments: ['CRYPTO'] }],
    ['a device', { devices: [1] }, { devices: [1, 2] }],
    ['all devices', { devices: [0, 1, 2, 3, 4, 9] }, { devices: null }],
    ['administration', { administrator: false }, { administrator: true }],
    ['use', { enabled: false }, { enabled: true }],
    ['the end of a review', { underReview: true }, { underReview: false }],
    ['an earlier start', { validFromWallMs: 2 }, { validFromWallMs: 1 }],
    ['an open start', { validFromWallMs: 2 }, { validFromWallMs: null }],
    ['a later end', { validUntilWallMs: 1 }, { validUntilWallMs: 2 }],
    ['an open end', { validUntilWallMs: 2 }, { validUntilWallMs: null }],
    ['a certificate name', { certificateUris: [] }, { certificateUris: ['urn:a'] }],
    ['a local user', { localUids: [] }, { localUids: [1000] }],
  ])('of %s gives one way and takes the other', (_, less, more) => {
    const [poor, rich] = [recordOf('carol', less), recordOf('carol', more)];
    expect(compareRights(poor, rich)).toMatchObject({ gives: [expect.any(String)], takes: [] });
    expect(compareRights(rich, poor)).toMatchObject({ gives: [], takes: [expect.any(String)] });
  });

  it('that exchanges one for another does both, and so gives', () => {
    const before = recordOf('carol', { compartments: ['CRYPTO'], devices: [1] });
    const after = recordOf('carol', { compartments: ['MAINT'], devices: [2] });
    expect(compareRights(before, after)).toEqual({
      gives: ['compartment MAINT', 'device 0x8002'],
      takes: ['compartment CRYPTO', 'device 0x8001'],
    });
  });

  it('of the name alone, or of the order of a list, does neither', () => {
    const before = recordOf('carol', { devices: [1, 2] });
    const none = { gives: [], takes: [] };
    expect(compareRights(before, { ...before, name: 'Carol' })).toEqual(none);
    expect(compareRights(before, { ...before, devices: [2, 1] })).toEqual(none);
    expect(changedMembers(before, { ...before, devices: [2, 1] })).toEqual([]);
    expect(changedMembers(before, { ...before, name: 'Carol' })).toEqual(['name']);
  });

  it('keeps id and kind, whatever a request smuggles in', () => {
    const smuggled = { id: 'root', kind: 'machine', clearance: 'SECRET' } as AccountChange;
    const after = changedRecord(recordOf('carol'), smuggled);
    expect(after).toMatchObject({ id: 'carol', kind: 'person', clearance: 'SECRET' });
  });

  it('is told by the members that differ, before and after', () => {
    const before = recordOf('carol');
    const after = changedRecord(before, { devices: [3, 1], clearance: 'SECRET', enabled: true });
    const members = changedMembers(before, after);
    expect(membersOf(before, members)).toEqual({ clearance: 'RESTRICTED', devices: [] });
    expect(membersOf(after, members)).toEqual({ clearance: 'SECRET', devices: [1, 3] });
  });
});

const ALICE = administratorOf('alice', { certificateUris: ['urn:a'], localUids: [1000] });
const BOB = administratorOf('bob');
const CAROL = recordOf('carol');

function contextOf(changes: Partial<RuleContext> = {}): RuleContext {
  const accounts = [ALICE, BOB, CAROL];
  return { accounts, onBoard: (id) => id < 84, wallMs: NOW, reason: 'because', ...changes };
}

/** `member: finding`, or what stands for nothing wrong. */
function newRefusal(changes: Partial<AccountRecord>, context = contextOf()): string {
  const found = recordRefusal(recordOf('dave', changes), undefined, context);
  return found === null ? 'fine' : `${found.code} ${found.place}: ${found.finding}`;
}

function changeRefusal(
  before: AccountRecord,
  change: AccountChange,
  context = contextOf(),
): string {
  const found = recordRefusal({ ...before, ...change }, before, context);
  return found === null ? 'fine' : `${found.place}: ${found.finding}`;
}

describe('a record', () => {
  it('without fault is taken', () => {
    expect(newRefusal({})).toBe('fine');
    expect(newRefusal({ devices: null, certificateUris: ['urn:d'], localUids: [1002] })).toBe(
      'fine',
    );
    expect(changeRefusal(ALICE, { name: 'Alice the first' })).toBe('fine');
  });

  it.each([
    ['', 'is not 1 to 63'],
    ['Dave', 'is not 1 to 63'],
    ['-dave', 'is not 1 to 63'],
    ['dave.x', 'is not 1 to 63'],
    ['dаve', 'is not 1 to 63'],
    ['dave\n', 'is not 1 to 63'],
    ['x'.repeat(64), 'is not 1 to 63'],
    ['alice', 'alice exists or existed, and no id is used a second time'],
    ['security', 'security is a name of the agent itself'],
    ['unknown', 'unknown is a name of the agent itself'],
  ])('with the id %j is refused', (id, finding) => {
    expect(newRefusal({ id })).toContain(`ACCOUNT_INVALID id: ${finding}`);
  });

  it.each(['', '  ', ' dave', 'dave ', 'da\u202eve', 'da\u0000ve', 'x'.repeat(129)])(
    'with the name %j is refused',
    (name) => expect(newRefusal({ name })).toContain('ACCOUNT_INVALID name: '),
  );

  it.each<[string, Partial<AccountRecord>, string]>([
    ['a device that is not there', { devices: [1, 84] }, 'devices: 84 is not on the board'],
    ['a device twice', { devices: [1, 1] }, 'devices: 1 is listed twice'],
    [
      'a compartment twice',
      { compartments: ['MAINT', 'MAINT'] },
      'compartments: MAINT is listed twice',
    ],
    [
      'a window that is reversed',
      { validFromWallMs: 2, validUntilWallMs: 1 },
      'validUntilWallMs: is not after validFromWallMs',
    ],
    [
      'a window without length',
      { validFromWallMs: 2, validUntilWallMs: 2 },
      'validUntilWallMs: is not after validFromWallMs',
    ],
    [
      'a time that is none',
      { validUntilWallMs: 9e15 },
      'validUntilWallMs: 9000000000000000 is no time',
    ],
    [
      "another's certificate name",
      { certificateUris: ['urn:a'] },
      'certificateUris: urn:a belongs to alice',
    ],
    [
      'a certificate name with a letter that looks like another',
      { certificateUris: ['urn:аlice'] },
      'certificateUris: holds what is no URI of printable ASCII characters',
    ],
    [
      'a certificate name without a scheme',
      { certificateUris: ['alice'] },
      'certificateUris: holds what is no URI of printable ASCII characters',
    ],
    ["another's local user", { localUids: [1000] }, 'localUids: 1000 belongs to alice'],
    [
      'the user that is none',
      { localUids: [0xffff_ffff] },
      'localUids: 4294967295 is no local user',
    ],
  ])('with %s is refused', (_, changes, finding) => {
    expect(newRefusal(changes)).toBe(`ACCOUNT_INVALID ${finding}`);
  });

  it('holds its own names on, and those that another one gave up', () => {
    expect(changeRefusal(ALICE, { certificateUris: ['urn:a', 'urn:a2'] })).toBe('fine');
    const accounts = [{ ...ALICE, certificateUris: [] }, BOB];
    expect(newRefusal({ certificateUris: ['urn:a'] }, contextOf({ accounts }))).toBe('fine');
  });

  it('maps root only where the reason says so, and asks no second time', () => {
    const refused =
      'localUids: uid 0 is root, whoever that is at the moment: say "uid 0" in the reason';
    expect(newRefusal({ localUids: [0] })).toBe(`ACCOUNT_INVALID ${refused}`);
    expect(newRefusal({ localUids: [0] }, contextOf({ reason: 'uid 0 for the console' }))).toBe(
      'fine',
    );
    expect(changeRefusal(CAROL, { localUids: [0] })).toBe(refused);
    expect(changeRefusal({ ...CAROL, localUids: [0] }, { localUids: [0, 7] })).toBe('fine');
  });
});

describe('two administrators', () => {
  const third = administratorOf('dora');
  const three = contextOf({ accounts: [ALICE, BOB, CAROL, third] });

  it.each<[string, AccountChange, string]>([
    ['administration', { administrator: false }, 'administrator'],
    ['use', { enabled: false }, 'enabled'],
    ['validity', { validUntilWallMs: NOW }, 'validUntilWallMs'],
    ['the start of validity', { validFromWallMs: NOW + DAY }, 'validFromWallMs'],
  ])(
    'always remain: %s is not taken from one of two, but from one of three',
    (_, change, member) => {
      const finding = `${member}: without bob 1 administrator would be left now, and giving rights takes 2`;
      expect(changeRefusal(BOB, change)).toBe(finding);
      expect(changeRefusal(BOB, change, three)).toBe('fine');
    },
  );

  it('remain later on too: the end of one may not leave another alone', () => {
    const refused = changeRefusal(BOB, { validUntilWallMs: NOW + DAY });
    expect(refused).toBe(
      `validUntilWallMs: without bob 1 administrator would be left from ${new Date(NOW + DAY).toISOString()} on, and giving rights takes 2`,
    );
    expect(changeRefusal(BOB, { validUntilWallMs: NOW + DAY }, three)).toBe('fine');
    const ending = { ...third, validUntilWallMs: NOW + DAY };
    const both = contextOf({ accounts: [ALICE, BOB, ending] });
    expect(changeRefusal(BOB, { validUntilWallMs: NOW + DAY / 2 }, both)).toContain(
      '1 administrator',
    );
    expect(changeRefusal(ALICE, { name: 'A' }, contextOf({ accounts: [ALICE, ending] }))).toBe(
      'fine',
    );
  });

  it('are people: a machine is no second one', () => {
    const machine = administratorOf('robot', { kind: 'machine' });
    const accounts = [ALICE, BOB, machine];
    expect(changeRefusal(BOB, { enabled: false }, contextOf({ accounts }))).toContain(
      '1 administrator',
    );
    expect(changeRefusal(machine, { enabled: false }, contextOf({ accounts }))).toBe('fine');
  });

  it('who can sign in remain once there were two of those, whoever else is enabled', () => {
    const able = (...ids: readonly string[]) =>
      contextOf({ accounts: [ALICE, BOB, third], hasWayIn: ({ id }) => ids.includes(id) });
    expect(changeRefusal(BOB, { enabled: false }, able('alice', 'bob'))).toBe(
      'enabled: without bob 1 administrator who can sign in would be left now, and giving rights takes 2',
    );
    expect(changeRefusal(third, { enabled: false }, able('alice', 'bob'))).toBe('fine');
    expect(changeRefusal(BOB, { enabled: false }, able('alice', 'bob', 'dora'))).toBe('fine');
    // Where only one ever enrolled, the others may still be changed, and that one stays.
    expect(changeRefusal(BOB, { enabled: false }, able('alice'))).toBe('fine');
    expect(changeRefusal(ALICE, { enabled: false }, able('alice'))).toContain('0 administrators');
  });

  it('are judged by the ways in that a change leaves', () => {
    const context = contextOf({
      hasWayIn: ({ id, localUids }) => id === 'bob' || localUids.length > 0,
    });
    expect(changeRefusal(ALICE, { localUids: [] }, context)).toBe(
      'localUids: without alice 1 administrator who can sign in would be left now, and giving rights takes 2',
    );
    expect(changeRefusal(ALICE, { localUids: [1002] }, context)).toBe('fine');
  });

  it('need not be there before the second one is: but the only one is not taken either', () => {
    const accounts = [ALICE, CAROL];
    expect(changeRefusal(ALICE, { enabled: false }, contextOf({ accounts }))).toContain(
      '0 administrators would be left now',
    );
    expect(changeRefusal(CAROL, { enabled: false }, contextOf({ accounts }))).toBe('fine');
  });

  it('never become fewer by any change that is taken', () => {
    const administrators = (accounts: readonly AccountRecord[], wallMs: number) =>
      accounts.filter((record) => administratorRefusal(record, wallMs) === null).length;
    const people = fc.tuple(anyRights('a'), anyRights('b'), anyRights('c'));
    fc.assert(
      fc.property(
        people,
        anyRights('a'),
        fc.constantFrom(...MOMENTS),
        (accounts, after, wallMs) => {
          const context = contextOf({ accounts, wallMs });
          const { administrator, enabled, validFromWallMs, validUntilWallMs } = after;
          const change = { administrator, enabled, validFromWallMs, validUntilWallMs };
          if (changeRefusal(accounts[0], change, context) !== 'fine') return;
          const changed = accounts.map((one) => (one.id === 'a' ? { ...one, ...change } : one));
          for (const moment of [wallMs, ...MOMENTS, 9_000].filter((at) => at >= wallMs)) {
            const least = Math.min(2, administrators(accounts, moment));
            expect(administrators(changed, moment)).toBeGreaterThanOrEqual(least);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('the own account', () => {
  it('is for others to change', () => {
    expect(
      ownAccountRefusal('alice', 'alice', 'changes the rights of the own account'),
    ).toMatchObject({
      code: 'NOT_PERMITTED',
      place: 'account alice',
      finding: 'nobody changes the rights of the own account: another administrator has to',
    });
    expect(ownAccountRefusal('bob', 'alice', 'changes the rights of the own account')).toBeNull();
  });
});
