// Accounts, tokens, sessions and rights on the command line: what is sent, what is shown, and what the second person has to type.

import { afterEach, beforeEach, expect, it } from 'vitest';
import { CliBench } from './cli-bench.ts';

let bench: CliBench;

beforeEach(async () => {
  bench = new CliBench();
  await bench.open();
});

afterEach(() => bench.close());

const BOB = {
  id: 'bob',
  name: 'Bob Example',
  kind: 'person',
  clearance: 'CONFIDENTIAL',
  compartments: ['MAINT'],
  devices: [3],
  administrator: false,
  enabled: true,
  underReview: false,
  validFromWallMs: null,
  validUntilWallMs: Date.UTC(2030, 0, 1),
  certificateUris: [],
  localUids: [],
  enrolled: true,
  lockedUntilWallMs: Date.UTC(2029, 0, 1, 12),
  lockedBecause: 'three failed sign-ins',
  sessions: 1,
  tokens: 2,
} as const;
const REASON = ['--reason', 'new in the team'];
const WAITS = { done: false, message: 'one more has to ask within 300 s' };

it('lists accounts with what is worth knowing of each', async () => {
  bench.orchestrator.answers.set('accounts', { accounts: [BOB] });
  const ran = await bench.run(['account', 'list']);
  expect([ran.code, ran.stderr]).toEqual([0, '']);
  expect(ran.stdout.split('\n')[1]).toBe(
    'bob      Bob Example  CONFIDENTIAL  MAINT         0x8003   ' +
      'LOCKED until 2029-01-01 12:00:00Z (three failed sign-ins), until 2030-01-01 00:00:00Z, 1 session, 2 tokens',
  );
});

it('gives a new account nothing that was not said, and tells the second administrator what to type', async () => {
  bench.orchestrator.answers.set('createAccount', { ...WAITS, invitation: '' });
  const words = ['account', 'create', 'carol', '--name', "Carol O'Hara", '--clearance', 'secret'];
  const ran = await bench.run([
    '-o',
    'table',
    ...words,
    '--devices',
    '0x8003,boot-security',
    ...REASON,
  ]);
  expect(ran.code).toBe(5);
  expect(bench.asked('createAccount')).toEqual([
    {
      account: {
        id: 'carol',
        name: "Carol O'Hara",
        kind: 'person',
        clearance: 'SECRET',
        compartments: [],
        devices: [3, 1],
        administrator: false,
        enabled: true,
        underReview: false,
        validFromWallMs: null,
        validUntilWallMs: null,
        certificateUris: [],
        localUids: [],
      },
      reason: 'new in the team',
    },
  ]);
  expect(ran.stdout).toBe('done  message\nno    one more has to ask within 300 s\n');
  expect(ran.stderr).toContain(
    'the second administrator signs in (dsmil login) and types exactly:\n' +
      "  dsmil account create carol --name 'Carol O'\\''Hara' --clearance secret " +
      "--devices 0x8003,boot-security --reason 'new in the team'\n",
  );
});

it('shows each administrator a half of the invitation, and what to do with it', async () => {
  const { answers } = bench.orchestrator;
  answers.set('createAccount', { ...WAITS, invitation: 'AAAA-BBBB-CCCC-DDDD' });
  const first = await bench.run(['account', 'create', 'carol', ...REASON]);
  expect(first.code).toBe(5);
  expect(first.stdout).toBe('account  half of the invitation\ncarol    AAAA-BBBB-CCCC-DDDD\n');
  expect(first.stderr).toContain(WAITS.message);
  expect(first.stderr).toContain('types exactly:\n  dsmil account create carol');
  answers.set('createAccount', {
    done: true,
    message: 'carol is made',
    invitation: 'EEEE-FFFF-GGGG-HHHH',
  });
  const second = await bench.run(['account', 'create', 'carol', ...REASON]);
  expect(second.code).toBe(0);
  expect(second.stdout).toBe('account  half of the invitation\ncarol    EEEE-FFFF-GGGG-HHHH\n');
  expect(second.stderr).toContain('carol is made');
  expect(second.stderr).toContain('with: dsmil enrol');
});

it('shows what changes before and after, and sends only that', async () => {
  bench.orchestrator.answers.set('accounts', { accounts: [BOB] });
  bench.orchestrator.answers.set('changeAccount', WAITS);
  const words = ['--clearance', 'SECRET', '--devices', 'all', '--valid-until', 'none'];
  const ran = await bench.run([
    'account',
    'change',
    'bob',
    ...words,
    '--compartments',
    'none',
    ...REASON,
  ]);
  expect(ran).toMatchObject({ code: 5 });
  const table = ran.stderr.split('\n').slice(0, 5);
  expect(table).toEqual([
    'bob           now                   then',
    'clearance     CONFIDENTIAL          SECRET',
    'compartments  MAINT                 none',
    'devices       0x8003                all',
    'valid until   2030-01-01 00:00:00Z  always',
  ]);
  const change = {
    clearance: 'SECRET',
    compartments: [],
    devices: null,
    validUntilWallMs: null,
  };
  expect(bench.asked('changeAccount')).toEqual([{ id: 'bob', change, reason: 'new in the team' }]);
});

it('sends nothing for a change that is none, and says how to ask for one', async () => {
  bench.orchestrator.answers.set('accounts', { accounts: [BOB] });
  const same = await bench.run(['account', 'change', 'bob', '--name', 'Bob Example', ...REASON]);
  expect([same.code, same.stderr]).toEqual([0, expect.stringContaining('nothing was sent')]);
  const empty = await bench.run(['account', 'change', 'bob', ...REASON]);
  expect([empty.code, empty.stderr]).toEqual([2, expect.stringContaining('say what is to change')]);
  expect(bench.asked('changeAccount')).toEqual([]);
});

it('disables and unlocks at once, and invites with two', async () => {
  const { answers } = bench.orchestrator;
  answers.set('changeAccount', { done: true, message: '2 sessions ended' });
  const off = await bench.run(['account', 'disable', 'bob', ...REASON]);
  expect([off.code, off.stdout]).toEqual([0, 'account  done\nbob      yes\n']);
  expect(off.stderr).toBe('2 sessions ended\n');
  expect(bench.asked('changeAccount')).toEqual([
    { id: 'bob', change: { enabled: false }, reason: 'new in the team' },
  ]);
  answers.set('unlockAccount', { done: true, message: '' });
  expect((await bench.run(['account', 'unlock', 'bob', ...REASON])).code).toBe(0);
  answers.set('inviteAccount', { ...WAITS, invitation: '' });
  const invited = await bench.run(['account', 'invite', 'bob', ...REASON]);
  expect(invited.code).toBe(5);
  expect(invited.stderr).toContain("dsmil account invite bob --reason 'new in the team'");
});

it.each([
  ['an id that is none', ['account', 'create', 'Carol', ...REASON], 'lower-case'],
  [
    'a clearance that is none',
    ['account', 'create', 'c', '--clearance', 'HIGH', ...REASON],
    'SECRET',
  ],
  [
    'a day that is none',
    ['account', 'create', 'c', '--valid-until', '2030-02-31', ...REASON],
    '2027-03-31',
  ],
  [
    'a time without its zone',
    ['account', 'create', 'c', '--valid-from', '2030-01-01T10:00', ...REASON],
    'zone',
  ],
  [
    'a token of unknown scope',
    ['token', 'create', '--name', 'x', '--days', '1', '--scope', 'incident clos'],
    'did you mean incident close?',
  ],
  ['no reason', ['account', 'disable', 'bob'], '--reason'],
])('refuses %s before anything is sent', async (_what, argv, text) => {
  const ran = await bench.run(argv);
  expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining(text)]);
  expect(bench.orchestrator.administered).toEqual([]);
});

it('makes a token for oneself with a scope by verbs, and shows it once', async () => {
  bench.orchestrator.answers.set('createToken', {
    done: true,
    message: '',
    token: 'secret-token',
    id: 't1',
  });
  const words = ['--name', 'logger', '--scope', 'device list,events,AUDIT', '--days', '30'];
  const ran = await bench.run(['token', 'create', ...words]);
  expect(ran.stdout).toBe('id  account     token\nt1  technician  secret-token\n');
  expect(bench.asked('createToken')).toEqual([
    {
      account: 'technician',
      name: 'logger',
      scope: ['devices', 'events', 'audit'],
      lifetimeDays: 30,
    },
  ]);
});

it('makes a token for everything that another account may, which two have to ask for', async () => {
  bench.orchestrator.answers.set('createToken', { ...WAITS, token: '', id: '' });
  const words = ['--name', 'plc', '--scope', 'all', '--days', '7', '--account', 'plc-1'];
  const ran = await bench.run(['token', 'create', ...words]);
  expect(ran.code).toBe(5);
  expect(bench.asked('createToken')).toEqual([
    { account: 'plc-1', name: 'plc', scope: null, lifetimeDays: 7 },
  ]);
});

it('lists and revokes tokens, and lists and ends sessions', async () => {
  const { answers } = bench.orchestrator;
  const at = Date.UTC(2029, 0, 1);
  const token = {
    id: 't1',
    account: 'bob',
    name: 'logger',
    createdWallMs: at,
    expiresAtWallMs: at,
  };
  const scope = ['devices', 'events'];
  answers.set('tokens', {
    tokens: [
      { ...token, scope, revoked: false },
      { ...token, scope: null, revoked: true },
    ],
  });
  const tokens = await bench.run(['token', 'list']);
  expect(tokens.stdout).toContain('devices events  2029-01-01 00:00:00Z  2029-01-01 00:00:00Z\n');
  expect(tokens.stdout).toContain('all             2029-01-01 00:00:00Z  REVOKED\n');
  answers.set('revokeToken', { sessionsEnded: 2 });
  expect((await bench.run(['token', 'revoke', 't1', ...REASON])).stdout).toBe(
    'sessions ended\n2\n',
  );
  const session = {
    handle: 's1',
    account: 'bob',
    way: 'password',
    transport: 'websocket',
    peer: '127.0.0.1:4',
  };
  answers.set('sessions', {
    sessions: [{ ...session, openedWallMs: at, expiresAtWallMs: at, own: true }],
  });
  expect((await bench.run(['session', 'list'])).stdout).toContain(
    'bob (this)  password, websocket',
  );
  answers.set('revokeSession', { sessionsEnded: 1 });
  expect((await bench.run(['session', 'end', 's1'])).code).toBe(0);
  expect(bench.asked('revokeSession')).toEqual([{ handle: 's1' }]);
});

it('says what one may do, what is missing and who could', async () => {
  const rights = [
    {
      operation: 'WRITE',
      permitted: false,
      missing: ['needs SECRET', 'lacks MAINT'],
      who: ['alice', 'dave'],
      conduct: [],
    },
    { operation: 'closeIncident', permitted: true, missing: [], who: [], conduct: ['a reason'] },
  ];
  bench.orchestrator.answers.set('rights', { rights });
  const words = [
    'rights',
    'incident close',
    '--device',
    'boot-security',
    '--device',
    '9',
    '--type',
    'write',
  ];
  const ran = await bench.run(words);
  expect(ran.stdout.split('\n')).toEqual([
    'operation      may  missing or to be done      who could',
    'WRITE          NO   needs SECRET; lacks MAINT  alice dave',
    'closeIncident  yes  a reason',
    '',
  ]);
  expect(bench.asked('rights')).toEqual([
    expect.objectContaining({ operations: ['closeIncident'], devices: [1, 9] }),
  ]);
});

it('keeps tables within the terminal and never cuts a word', async () => {
  bench.orchestrator.answers.set('accounts', {
    accounts: [BOB, { ...BOB, id: 'a-long-account-id' }],
  });
  const ran = await bench.run(['account', 'list'], { columns: 80 });
  const lines = ran.stdout.split('\n');
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(ran.stdout).toContain('a-long-account-id');
});

it('lists what waits for a second administrator, and what that one has to type', async () => {
  const common = {
    digest: 'ab',
    by: 'alice',
    reason: 'new task',
    expiresAtWallMs: Date.UTC(2029, 0, 1),
  };
  bench.orchestrator.answers.set('proposals', {
    proposals: [
      {
        ...common,
        operation: 'inviteAccount',
        what: 'to have bob set a new password',
        request: { id: 'bob', reason: 'new task' },
      },
      {
        ...common,
        operation: 'changeAccount',
        what: 'to give carol more time',
        request: {
          id: 'carol',
          change: { validUntilWallMs: Date.UTC(2031, 0, 1) },
          reason: 'new task',
        },
      },
    ],
  });
  const ran = await bench.run(['account', 'proposals']);
  expect(ran.code).toBe(0);
  expect(ran.stdout).toBe(
    'who    asks                            why       until\n' +
      'alice  to have bob set a new password  new task  2029-01-01 00:00:00Z\n' +
      'alice  to give carol more time         new task  2029-01-01 00:00:00Z\n',
  );
  expect(ran.stderr).toContain("  dsmil account invite bob --reason 'new task'\n");
  expect(ran.stderr).toContain(
    "  dsmil account change carol --valid-until 2031-01-01T00:00:00.000Z --reason 'new task'\n",
  );
  bench.orchestrator.answers.set('proposals', { proposals: [] });
  const none = await bench.run(['account', 'proposals']);
  expect(none.stdout).toBe('no change waits for a second administrator\n');
});
