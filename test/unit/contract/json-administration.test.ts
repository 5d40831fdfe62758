// Administration in JSON: times, names and devices both ways, and what is refused before anybody is asked.

import { Ajv } from 'ajv';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  administrationFromJson,
  administrationToJson,
  rightsFromJson,
  timeFromJson,
} from '#contract/json-administration';
import { ADMINISTRATION_BODIES } from '#contract/json-administration-schema';
import type { AccountRecord } from '#model/account';
import type { AdministrationKey } from '#model/administration';
import { tokenOf } from '#model/device';
import { OperationType } from '#model/operation';
import { CLEARANCE_NAMES, COMPARTMENTS } from '#model/principal';

const ajv = new Ajv({ strict: false });
const fits = (key: AdministrationKey, body: unknown) =>
  ajv.validate(ADMINISTRATION_BODIES[key] ?? {}, body);

const wallMs = fc.option(fc.integer({ min: 1, max: 4_000_000_000_000 }));
const account: fc.Arbitrary<AccountRecord> = fc.record({
  id: fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/),
  name: fc.stringMatching(/^[a-zA-Z ]{1,20}$/),
  kind: fc.constantFrom('person', 'machine'),
  clearance: fc.constantFrom(...CLEARANCE_NAMES),
  compartments: fc.subarray([...COMPARTMENTS]),
  devices: fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 83 }), { maxLength: 84 })),
  administrator: fc.boolean(),
  enabled: fc.boolean(),
  underReview: fc.boolean(),
  validFromWallMs: wallMs,
  validUntilWallMs: wallMs,
  certificateUris: fc.array(fc.stringMatching(/^urn:[a-z:]{1,20}$/), { maxLength: 3 }),
  localUids: fc.array(fc.integer({ min: 0, max: 65_535 }), { maxLength: 3 }),
});

it('gives every account back as it was, through JSON and its schema', () => {
  fc.assert(
    fc.property(account, (record) => {
      const body = JSON.parse(
        JSON.stringify({ account: administrationToJson(record), reason: 'r' }),
      );
      expect(fits('createAccount', body)).toBe(true);
      expect(JSON.stringify(body)).not.toContain('WallMs');
      const back = administrationFromJson('createAccount', body);
      expect(back).toEqual({ ok: true, value: { account: record, reason: 'r' } });
    }),
  );
});

it('gives a new account nothing that the request does not name', () => {
  const body = {
    account: { id: 'eve', name: 'Eve', kind: 'person', clearance: 'NONE', devices: [] },
    reason: '',
  };
  expect(fits('createAccount', body)).toBe(true);
  const asked = administrationFromJson('createAccount', body);
  expect(asked.ok && asked.value.account).toMatchObject({
    administrator: false,
    compartments: [],
    devices: [],
    certificateUris: [],
    localUids: [],
  });
  const { devices: _missing, ...unbounded } = body.account;
  expect(fits('createAccount', { ...body, account: unbounded })).toBe(false);
});

it('takes devices as linear ids and tokens, and refuses gap tokens and ids out of range', () => {
  const change = (devices: unknown) =>
    administrationFromJson('changeAccount', { change: { devices }, reason: '' }, { id: 'bob' });
  expect(change([1, '0x8001', tokenOf(83), '83'])).toEqual({
    ok: true,
    value: { id: 'bob', change: { devices: [1, 1, 83, 83] }, reason: '' },
  });
  expect(change(null)).toMatchObject({ ok: true, value: { change: { devices: null } } });
  for (const bad of [84, '0x800C', 0x806f]) {
    expect(change([bad])).toMatchObject({ ok: false, fault: { code: 'DEVICE_ID_INVALID' } });
  }
});

it('lets a path parameter stand above a body that names the same member', () => {
  const asked = administrationFromJson('revokeToken', { id: 'other', reason: 'r' }, { id: 'mine' });
  expect(asked).toEqual({ ok: true, value: { id: 'mine', reason: 'r' } });
  expect(fits('revokeToken', { id: 'other', reason: 'r' })).toBe(false);
});

it.each([
  'tomorrow',
  '2030-01-31',
  '2030-01-31T12:00:00',
  '2030-02-30T12:00:00Z',
  '2030-13-01T12:00:00Z',
  '2030-01-31T25:00:00Z',
  '1969-12-31T23:59:59Z',
  '2030-01-31T12:00:00Z; DROP',
])('does not take %s for a time', (text) => {
  expect(timeFromJson(text, 'body.validFrom')).toMatchObject({
    ok: false,
    fault: { code: 'REQUEST_MALFORMED', place: 'body.validFrom' },
  });
});

it('takes a time with any offset for the moment it names', () => {
  expect(timeFromJson('2030-01-31T12:00:00+02:00', '')).toEqual({
    ok: true,
    value: Date.UTC(2030, 0, 31, 10),
  });
});

it('says times that never were as null, and leaves a signed checkpoint untouched', () => {
  const checkpoint = {
    sequence: 9,
    hash: 'ab',
    wallMs: 1_700_000_000_123,
    keyId: 'k',
    signature: 's',
  };
  const shown = administrationToJson({
    checkpoint,
    list: [{ revokedWallMs: 0, closedWallMs: null, openedWallMs: 1_700_000_000_000, clearance: 4 }],
  });
  expect(shown).toEqual({
    checkpoint,
    list: [
      { revoked: null, closed: null, opened: '2023-11-14T22:13:20.000Z', clearance: 'TOP_SECRET' },
    ],
  });
});

it('asks about every row and about reading unless something is named', () => {
  expect(rightsFromJson({})).toEqual({
    ok: true,
    value: { operations: [], devices: [], type: OperationType.READ },
  });
  expect(rightsFromJson({ operations: ['stop'], devices: ['0x8001'], operation: 'RESET' })).toEqual(
    {
      ok: true,
      value: { operations: ['stop'], devices: [1], type: OperationType.RESET },
    },
  );
});

it.each<[AdministrationKey, object]>([
  ['login', { account: '../alice', password: 'p', code: '1' }],
  ['login', { account: 'alice\u0000', password: 'p', code: '1' }],
  ['login', { account: 'alíce', password: 'p', code: '1' }],
  ['login', { account: 'alice', password: 'p', code: '1', token: 't' }],
  ['createToken', { account: 'a', name: 'n', scope: ['../stop'], lifetimeDays: 1 }],
  ['createToken', { account: 'a', name: 'n', scope: null, lifetimeDays: 0 }],
  ['changeAccount', { change: {}, reason: '' }],
  ['changeAccount', { change: { id: 'other' }, reason: '' }],
  ['rotateKey', { key: 'root', reason: '' }],
  ['startChaos', { scenario: '../../etc', reason: '' }],
])('refuses %s %j by its schema', (key, body) => {
  expect(fits(key, body)).toBe(false);
});
