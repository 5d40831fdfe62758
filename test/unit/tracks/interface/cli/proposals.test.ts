// What the second administrator is told to type asks for exactly what the first one asked for.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { AdministrationKey } from '#model/administration';
import { OPERATION_TABLE } from '#model/operation-table';
import { CLEARANCE_NAMES, COMPARTMENTS } from '#model/principal';
import { proposalCommand } from '#tracks/interface/cli/proposal-command';
import { CliBench } from './cli-bench.ts';

let bench: CliBench;
beforeAll(async () => {
  bench = new CliBench();
  await bench.open();
});
afterAll(() => bench.close());

const id = fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/);
const text = fc.stringMatching(/^[A-Za-z][A-Za-z0-9 '"$-]{0,20}$/);
const day = fc
  .integer({ min: Date.UTC(2026, 0, 1), max: Date.UTC(2090, 0, 1) })
  .map((ms) => new Date(ms).toISOString());
const rights = {
  name: text,
  clearance: fc.constantFrom(...CLEARANCE_NAMES),
  compartments: fc.subarray([...COMPARTMENTS]),
  devices: fc.option(fc.subarray([0, 1, 3, 69, 83])),
  administrator: fc.boolean(),
  underReview: fc.boolean(),
  validFrom: fc.option(day),
  validUntil: fc.option(day),
  certificateUris: fc.subarray(['urn:dsmil:principal:one', 'spiffe://site/two']),
  localUids: fc.subarray([0, 1000]),
};

/** The REST interface takes times as text and gives security their milliseconds. */
function asAsked(fields: Readonly<Record<string, unknown>>) {
  const { validFrom, validUntil, ...others } = fields;
  const ms = (at: unknown) => (at === null ? null : new Date(String(at)).getTime());
  return {
    ...others,
    ...('validFrom' in fields ? { validFromWallMs: ms(validFrom) } : {}),
    ...('validUntil' in fields ? { validUntilWallMs: ms(validUntil) } : {}),
  };
}

async function askedBy(key: AdministrationKey, request: Readonly<Record<string, unknown>>) {
  bench.orchestrator.answers.set(key, { done: false, message: 'waits', invitation: '' });
  const before = bench.asked(key).length;
  const command = proposalCommand(key, request);
  if (command === undefined) throw new Error(`no command for ${JSON.stringify(request)}`);
  const ran = await bench.run(command);
  expect(ran).toMatchObject({ code: 5 });
  return bench.asked(key).slice(before);
}

it('for a new account', async () => {
  const made = fc.record({
    ...rights,
    id,
    kind: fc.constantFrom('person', 'machine'),
    enabled: fc.constant(true),
  });
  await fc.assert(
    fc.asyncProperty(made, text, async (account, reason) => {
      const asked = await askedBy('createAccount', { account, reason });
      expect(asked).toEqual([{ account: asAsked(account), reason }]);
    }),
    { numRuns: 25 },
  );
});

it('for a change of an account', async () => {
  bench.orchestrator.answers.set('accounts', { accounts: [] });
  const change = fc
    .record({ ...rights, enabled: fc.boolean() }, { requiredKeys: [] })
    .filter((fields) => Object.keys(fields).length > 0);
  await fc.assert(
    fc.asyncProperty(id, change, text, async (account, fields, reason) => {
      const asked = await askedBy('changeAccount', { id: account, change: fields, reason });
      expect(asked).toEqual([{ id: account, change: asAsked(fields), reason }]);
    }),
    { numRuns: 25 },
  );
});

it.each([
  ['inviteAccount', { id: 'bob', reason: 'lost the telephone' }],
  ['unlockAccount', { id: 'bob', reason: 'it was a mistake' }],
  ['rotateKey', { key: 'checkpoint', reason: 'a yearly rotation' }],
  ['startChaos', { scenario: 'brute-force', reason: 'a drill' }],
  ['createToken', { account: 'plc', name: 'the plc', scope: null, lifetimeDays: 7 }],
  [
    'createToken',
    { account: 'plc', name: 'the plc', scope: ['devices', 'audit'], lifetimeDays: 7 },
  ],
])('for %s', async (key, request) => {
  const command = proposalCommand(key, request) ?? [];
  expect(OPERATION_TABLE[key as 'rotateKey'].cli).toContain(command.slice(0, 2).join(' '));
  if (key === 'startChaos') return;
  expect(await askedBy(key as AdministrationKey, request)).toEqual([request]);
});

it('gives no command for what no command line can say', () => {
  const account = { id: 'bob', kind: 'person', enabled: false, name: 'Bob' };
  expect(proposalCommand('createAccount', { account, reason: 'x' })).toBeUndefined();
  const change = { certificateUris: ['urn:dsmil:a,b'] };
  expect(proposalCommand('changeAccount', { id: 'bob', change, reason: 'x' })).toBeUndefined();
  expect(
    proposalCommand('changeAccount', { id: 'bob', change: { news: 1 }, reason: 'x' }),
  ).toBeUndefined();
  expect(proposalCommand('unlockAccount', { id: 'bob', reason: 'x', more: true })).toBeUndefined();
});
